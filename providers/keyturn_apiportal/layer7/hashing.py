"""The tenant's setting about hashed secrets, and what follows from it for the next one (contract 2, 7.7). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from keyturn.api import Problem
from keyturn_apiportal.layer7.answers import member, text

WEAK = frozenset({"SHA1", "MD5"})
HASHED, PLAIN = "hashed", "plaintext"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the tenant allows. `algorithm` is empty where nothing is hashed; `broken`: it can not be understood."""

    algorithm: str = ""
    plain: bool = True
    broken: bool = False

    @property
    def shown(self) -> str:
        """As a fact for the witness."""
        if self.broken:
            return "not to be understood"
        return " or ".join(filter(None, (self.algorithm, "plaintext" if self.plain else "")))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the next secret is to be, and what stands against it."""

    hashed: bool
    problems: tuple[Problem, ...] = ()


def setting_of(body: object) -> Setting:
    """The setting in an answer; missing or empty means plaintext only."""
    value = member(body, "value")
    if value is None or (isinstance(value, str) and not value.strip()):
        return Setting()
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return Setting(broken=True)
    plain = member(found, "plaintextAllowed")
    if not isinstance(found, dict) or not isinstance(plain, bool | None):
        return Setting(broken=True)
    algorithm = text(member(found, "algorithm"))
    return Setting(algorithm=algorithm, plain=plain is not False or not algorithm)


def policy(setting: Setting, wish: str, *, now_hashed: bool) -> Policy:
    """Hashed where the tenant allows it (`prefer`), `always`, or `as-is`; never from hashed to plaintext."""
    if setting.broken:
        text_ = "the tenant's setting about hashed secrets can not be understood"
        hint = "have APP_SECRET_HASHING_METADATA set right in the portal, or set hashing.path of the account"
        return Policy(hashed=now_hashed, problems=(Problem(code="hash-setting", text=text_, hint=hint),))
    may_hash = bool(setting.algorithm)
    hashed = {"prefer": may_hash, "always": True}.get(wish, now_hashed)
    why = _against(setting, hashed=hashed, now_hashed=now_hashed)
    if why:
        hint = "have the tenant allow what hashed: of the target asks for, or set hashed: to what it allows"
        return Policy(hashed=hashed, problems=(Problem(code="hash-policy", text=why, hint=hint),))
    return Policy(hashed=hashed, problems=_weak(setting) if hashed else ())


def _against(setting: Setting, *, hashed: bool, now_hashed: bool) -> str:
    if now_hashed and not hashed:
        return "the key's secret is hashed, and the tenant allows plaintext only: a new one would be readable"
    if hashed and not setting.algorithm:
        return "a hashed secret is asked for, and the tenant allows plaintext only"
    if not hashed and not setting.plain:
        return "a plaintext secret is asked for, and the tenant allows hashed ones only"
    return ""


def _weak(setting: Setting) -> tuple[Problem, ...]:
    if setting.algorithm.upper().replace("-", "") not in WEAK:
        return ()
    hint = "have the tenant's algorithm set to SHA-256 or better"
    return (Problem(code="weak-hash", text=f"secrets are hashed with {setting.algorithm}", fatal=False, hint=hint),)
