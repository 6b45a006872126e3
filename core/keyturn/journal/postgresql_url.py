"""The URL of a PostgreSQL journal: what it may say, and that nothing else decides where we connect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from keyturn.errors import UsageError
from keyturn.options import is_loopback

CONNECT_S = 5
UNSET = ("hostaddr", "password", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir")
"""Options without a default of their own: an empty text keeps libpq from asking the environment."""

NO_FILE = "/dev/null/none"
"""In place of ~/.pgpass. A path that can not be, since an empty text means ~/.pgpass, and /dev/null draws a warning."""

FIXED: Mapping[str, str] = {
    "application_name": "keyturn",
    "connect_timeout": str(CONNECT_S),
    # A server that is gone without a word is noticed within half a minute.
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
FORCED: Mapping[str, str] = {"client_encoding": "UTF8"}
"""What no URL changes: chains are made over text."""

SHOWABLE = re.compile(r"[A-Za-z0-9_.,:%/\[\]-]*")
"""A part of a URL that may be printed. A password with an unquoted @ would end up in the host or the database."""

PORTS = re.compile(r"[0-9,]*")
"""In a URL without a host, the password would be read as a port."""

SAFE_MODES = frozenset({"disable", "require", "verify-ca", "verify-full"})
HINT = "write postgresql://USER:PASSWORD@HOST/DATABASE, with % codes for signs such as @ and / in the password"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the database is. `shown` may be printed; `options` (libpq's, complete) hold the password."""

    shown: str
    options: Mapping[str, str] = field(repr=False)

    def scrubbed(self, text: str) -> str:
        """A text of libpq's or the server's on one line, without the password should it stand there."""
        password = self.options.get("password")
        line = " ".join(text.split()).rstrip(".")
        return line.replace(password, "<secret>") if password else line


def parse_url(url: str) -> Address:
    """Read a URL. Raises UsageError `journal-url`, which never quotes it."""
    said = _said(url)
    for name in ("user", "host", "dbname"):
        if not said.get(name):
            raise _wrong(f"expected a URL that names user, host and database, found none for {name}")
    if not all(SHOWABLE.fullmatch(said.get(name, "")) for name in ("user", "host", "dbname", "port")):
        raise _wrong("expected letters, digits and . _ - in user, host and database")
    if not PORTS.fullmatch(said.get("port", "")):
        raise _wrong("expected a number for the port")
    port = f":{said['port']}" if said.get("port") else ""
    shown = f"postgresql://{said['user']}@{said['host']}{port}/{said['dbname']}"
    return Address(shown=shown, options={**_defaults(), **FIXED, **_encryption(said, shown), **said, **FORCED})


def _said(url: str) -> dict[str, str]:
    if not url.startswith(("postgresql://", "postgres://")):
        raise _wrong("expected a URL that begins with postgresql://")
    try:
        found = conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        # Without its cause: libpq's words quote the URL.
        raise _wrong("the URL can not be read") from None
    return {name: str(value) for name, value in found.items()}


def _defaults() -> dict[str, str]:
    """Every option that the environment could set, at libpq's own default: PGHOST and the like do not count."""
    known = {
        option.keyword.decode(): option.compiled.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar and option.compiled is not None
    }
    return {**known, **dict.fromkeys(UNSET, ""), "passfile": NO_FILE, "gssencmode": "disable"}


def _encryption(said: Mapping[str, str], shown: str) -> dict[str, str]:
    """Left alone, libpq falls back to plain text in silence. Raises UsageError where the URL lets it (ADR 0011)."""
    hosts = [said.get("host", ""), *filter(None, [said.get("hostaddr")])]
    if all(host.startswith("/") or is_loopback(host) for one in hosts for host in one.split(",")):
        return {}
    mode = said.get("sslmode", "verify-full")
    if mode not in SAFE_MODES:
        raise _wrong(f"sslmode {mode} falls back to plain text", place=shown)
    trust = {"sslrootcert": "system"} if mode == "verify-full" else {}
    return {"sslmode": mode, **trust}


def _wrong(message: str, place: str = "") -> UsageError:
    hint = "write sslmode=verify-full&sslrootcert=FILE" if place else HINT
    return UsageError("journal-url", message, hint=hint, place=place)
