"""Building blocks for plugin options and the configuration: strict pydantic models whose errors never show a value."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

REFERENCE = re.compile(r"^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:.+|exec:.+|[a-z0-9][a-z0-9_-]*:[^#]+#[^#]+)$", re.DOTALL)
DURATION = re.compile(r"(\d+)(ms|s|m|h|d|w)")
PROXY = r"^https?://[^/@\s]+(?:/\S*)?$"
UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604_800.0}


class Options(BaseModel):
    """Base of all option types: unknown keys are errors, nothing is guessed, instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)


def seconds(text: object) -> float:
    """`90s`, `1h30m`, `7d`, `250ms` as seconds. Raises ValueError."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    parts = DURATION.findall(text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = "expected a duration such as 90s, 30m, 12h, 7d"
        raise ValueError(message)
    return sum(int(number) * UNIT_S[unit] for number, unit in parts)


def _reference(text: str) -> str:
    if not REFERENCE.match(text):
        message = "expected a reference: env:NAME, file:PATH, exec:COMMAND or SINK:PATH#FIELD"
        raise ValueError(message)
    return text


def is_loopback(host: str) -> bool:
    """Whether this host name or address is the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        message = "expected an https:// URL"
        raise ValueError(message)
    if parts.username or parts.password:
        message = "expected a URL without user name or password in it; use a reference"
        raise ValueError(message)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        message = "expected https://; http:// is taken for loopback addresses only"
        raise ValueError(message)
    return text.rstrip("/")


def _proxy(url: str) -> str:
    if not re.fullmatch(PROXY, url):
        message = "expected http://HOST:PORT or https://HOST:PORT, without a user and password"
        raise ValueError(message)
    return url


def _base(url: str) -> str:
    if "?" in url or "#" in url:
        message = "expected the URL without ? and #: paths are appended"
        raise ValueError(message)
    parts = urlsplit(url)
    try:
        usual = parts.port == {"https": 443, "http": 80}[parts.scheme]
    except ValueError:
        message = "expected a port up to 65535"
        raise ValueError(message) from None
    return parts._replace(netloc=parts.netloc.lower().removesuffix(f":{parts.port}" if usual else "")).geturl()


def _local(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return Path(folder) / path if folder else path


Seconds = Annotated[float, BeforeValidator(seconds)]
"""A duration; seconds once validated."""

Reference = Annotated[str, AfterValidator(_reference)]
"""Where a value is, never the value. `context.resolve` gives it."""

Url = Annotated[str, AfterValidator(_url)]
"""An https URL (http on loopback only), without credentials and without a trailing slash."""

BaseUrl = Annotated[Url, AfterValidator(_base)]
"""A `Url` that paths are appended to, in one spelling, so that what lies behind it has one name."""

ProxyUrl = Annotated[str, AfterValidator(_proxy), Field(json_schema_extra={"pattern": PROXY})]
"""The URL of an HTTP proxy, without credentials."""

LocalPath = Annotated[Path, AfterValidator(_local)]
"""A path on this machine; relative ones hang on the validation context's `folder` (the configuration's own)."""
