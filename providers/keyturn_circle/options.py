"""What a configuration says of Circle, and the pure facts that follow from it.

What the contract page (docs/contracts/circle.md) marks ASSUMED is an option here, with the assumption as its default
(contract 9).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator
from pydantic import Field as Rule

from keyturn.api import (
    BaseUrl,
    Field,
    LocalPath,
    Maker,
    Options,
    ProxyUrl,
    Rate,
    Recipe,
    Reference,
    Repeat,
    Revoke,
    Seconds,
    Traits,
)

ENTITY_SECRET = "entity_secret"  # noqa: S105 - a field's name
RECOVERY_FILE = "recovery_file"
"""The fields of the bundle."""

HOUR_S, DAY_S = 3_600.0, 86_400.0
HEX = "0123456789abcdef"
HEX_CHARS = 64
BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"
PROBE_EVERY_S = 10.0
"""How often a value that was refused is asked about again: each time counts as an attempt with a bad secret."""

CALLS_PER_S = 3
"""Contract 1: of one entity, at one endpoint."""

HERE = "/v1/w3s/config/entity/entitySecret"
PATH, FIELD, ID = r"^/[^\s?#]+$", r"^[A-Za-z][A-Za-z0-9_]{0,63}$", r"^\S{1,100}$"

ProbeKind = Literal["sign-message", "wallet-set", "none"]
Method = Literal["PUT", "POST", "PATCH"]
CodeClass = Literal[
    "not-active",
    "not-set",
    "reused",
    "already-set",
    "recovery-refused",
    "rotate-first",
    "no-evidence",
    "doubt",
    "operator",
    "bug",
]


def _without_version(url: str) -> str:
    if "/v1" in urlsplit(url).path:
        message = "expected the URL without /v1, which is appended"
        raise ValueError(message)
    return url


def _path(text: str) -> str:
    if not re.fullmatch(PATH, text):
        message = "expected a path that begins with /, without spaces, ? and #"
        raise ValueError(message)
    return text


def _field(text: str) -> str:
    if not re.fullmatch(FIELD, text):
        message = "expected the name of a JSON member: a letter, then letters, digits and _"
        raise ValueError(message)
    return text


def _id(text: str) -> str:
    if not re.fullmatch(ID, text):
        message = "expected an id without spaces, as the Console or the API shows it"
        raise ValueError(message)
    return text


def _message(text: str) -> str:
    if not text.strip() or not text.isprintable():
        message = "expected a text on one line to sign"
        raise ValueError(message)
    return text


ServiceUrl = Annotated[BaseUrl, AfterValidator(_without_version)]
ApiPath = Annotated[str, AfterValidator(_path), Rule(json_schema_extra={"pattern": PATH})]
FieldName = Annotated[str, AfterValidator(_field), Rule(json_schema_extra={"pattern": FIELD})]
Id = Annotated[str, AfterValidator(_id), Rule(json_schema_extra={"pattern": ID})]
Message = Annotated[str, AfterValidator(_message)]


def _differ(one: str, other: str, names: str) -> None:
    if one == other:
        message = f"expected two different names in {names}"
        raise ValueError(message)


class RegisterCall(Options):
    """The first secret of an entity (contract 2.2)."""

    path: ApiPath = Rule(default=HERE, description="where the first secret is registered, by POST")
    field: FieldName = Rule(default="entitySecretCiphertext", description="member with its ciphertext")


class RotateCall(Options):
    """The next secret, with the current one (contract 2.3)."""

    method: Method = Rule(default="PUT", description="method of the call (ASSUMED)")
    path: ApiPath = Rule(default=f"{HERE}/rotate", description="where a secret is rotated (ASSUMED)")
    current_field: FieldName = Rule(
        default="entitySecretCiphertext", description="member with the current secret's ciphertext (ASSUMED)"
    )
    new_field: FieldName = Rule(
        default="newEntitySecretCiphertext", description="member with the new secret's ciphertext (ASSUMED)"
    )

    @model_validator(mode="after")
    def _two_fields(self) -> Self:
        _differ(self.current_field, self.new_field, "current_field and new_field")
        return self


class ResetCall(Options):
    """The next secret, with the recovery file (contract 2.4)."""

    method: Method = Rule(default="PUT", description="method of the call (ASSUMED)")
    path: ApiPath = Rule(default=f"{HERE}/reset", description="where a secret is reset (ASSUMED)")
    file_field: FieldName = Rule(default="recoveryFile", description="member with the recovery file (ASSUMED)")
    new_field: FieldName = Rule(
        default="newEntitySecretCiphertext", description="member with the new secret's ciphertext (ASSUMED)"
    )

    @model_validator(mode="after")
    def _two_fields(self) -> Self:
        _differ(self.file_field, self.new_field, "file_field and new_field")
        return self


class Account(Options):
    """One API key of one entity in one environment. Durations are seconds."""

    environment: Literal["test", "live"] = Rule(description="the API key's environment; each has a secret of its own")
    api_key: Reference = Rule(description="reference to the API key, which has three parts with colons between them")
    base_url: ServiceUrl = Rule(default="https://api.circle.com", description="the service, without /v1/w3s")
    way: Literal["console", "api"] = Rule(
        default="console",
        description="how a secret is replaced: by a person in the Console, or by the calls rotate and reset, of which "
        "no public documentation exists",
    )
    app_id: Id | None = Rule(
        default=None, description="id of the entity that the API key must belong to (not compared unless set)"
    )
    ca: LocalPath | None = Rule(
        default=None, description="PEM file of the authority to trust (the machine's trust store unless set)"
    )
    proxy: ProxyUrl | None = Rule(
        default=None, description="URL of a proxy (none unless set; the environment's is not used)"
    )
    check_every: Seconds = Rule(
        default=DAY_S, gt=0, description="how often key, entity and secret are looked at although nothing is due"
    )
    activation: Seconds = Rule(default=60.0, ge=0, description="longest time until a new secret is accepted (ASSUMED)")
    settle: Seconds = Rule(default=60.0, ge=0, description="how long a lost call may still take effect (ASSUMED)")
    patience: Seconds = Rule(default=7 * DAY_S, gt=0, description="how long a person in the Console is waited for")
    probe: ProbeKind = Rule(
        default="sign-message",
        description="how is asked which secret is active: sign a text with the canary wallet; make a wallet set, which "
        "stays for good; or not at all",
    )
    probe_message: Message = Rule(
        default="keyturn: rotation probe, no meaning", max_length=200, description="the harmless text that is signed"
    )
    probes_max: int = Rule(default=5, ge=1, le=100, description="how often a new secret is asked about at most")
    canary_chain: Id | None = Rule(
        default=None,
        description="chain of the wallet that the command canary makes (ETH-SEPOLIA with a test key, ETH with a live "
        "one: a live key is refused on testnets)",
    )
    key_bits: int = Rule(default=4096, ge=2048, le=16384, description="size of the public key that is expected")
    recovery_file: Literal["required", "optional"] = Rule(
        default="required", description="whether a rotation without a renewed recovery file leaves something to do"
    )
    register_call: RegisterCall = Rule(
        default=RegisterCall(), alias="register", description="the call that registers the first secret"
    )
    rotate: RotateCall = Rule(default=RotateCall(), description="the call that rotates, for way: api (ASSUMED)")
    reset: ResetCall = Rule(default=ResetCall(), description="the call that resets, for way: api (ASSUMED)")
    answer_field: FieldName = Rule(default="recoveryFile", description="member of an answer with the recovery file")
    codes: dict[int, CodeClass] = Rule(
        default_factory=dict, description="error codes whose meaning differs from the contract page's table"
    )

    @model_validator(mode="after")
    def _a_person_is_noticed(self) -> Self:
        if self.way == "console" and self.probe == "none":
            message = "with way: console something must tell that a person acted: expected another probe than none"
            raise ValueError(message)
        return self

    @property
    def endpoint(self) -> str:
        """The one place where a secret is accepted or not."""
        return urlsplit(self.base_url).netloc

    @property
    def chain(self) -> str:
        """Where the canary wallet is made (contract 3: a LIVE key is refused on testnets)."""
        return self.canary_chain or {"test": "ETH-SEPOLIA", "live": "ETH"}[self.environment]


class Target(Options):
    """The one secret of that entity and environment."""

    canary_wallet: Id | None = Rule(
        default=None,
        description="id of an empty wallet that nobody uses, to ask with (see keyturn plugin circle canary NAME)",
    )


def traits(account: Account, target: Target) -> Traits:  # noqa: ARG001 - the seam's shape
    """Replaced in place, dead at once, never readable (contract 0, 6)."""
    leaves = {"sign-message": "a signed text, kept nowhere", "wallet-set": "a wallet set, for good", "none": "nothing"}
    return Traits(
        fields=(
            Field(name=ENTITY_SECRET, by=Maker.US, recipe=Recipe(alphabet=HEX, length=HEX_CHARS)),
            Field(
                name=RECOVERY_FILE,
                by=Maker.VENDOR,
                artefact=True,
                required=account.recovery_file == "required",
                pattern=BASE64,
            ),
        ),
        live_max=1,
        grace_s=0.0,
        repeat=Repeat.DESTROYS,
        readable=False,
        needs_current=True,
        answer_is_commit=True,
        revoke=Revoke.NONE,
        decoy=False,  # a made-up secret counts as an attempt with a bad one (contract 2.5)
        probes_max=account.probes_max,
        probe_leaves=leaves[account.probe],
        probe_every_s=PROBE_EVERY_S,
        activation_s=account.activation,
        revocation_s=account.activation,
        settle_s=account.settle,
        check_every_s=account.check_every,
        attended=account.way == "console",
        patience_s=account.patience,
        reset_by=(RECOVERY_FILE,),
        rates=(Rate(calls=CALLS_PER_S, per_s=1.0, burst=CALLS_PER_S),),
    )


def subject(account: Account, target: Target) -> str:  # noqa: ARG001 - the seam's shape
    """What is locked: an entity's secret in one environment. The key's own place stands in for an entity not named."""
    return named(account.app_id or account.api_key, account)


def named(entity: str, account: Account) -> str:
    """The subject of this entity."""
    return f"circle:{entity}:{account.environment}"
