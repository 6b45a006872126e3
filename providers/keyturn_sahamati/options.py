"""What a configuration says of Sahamati's IAM service, and the pure facts that follow from it.

What the contract page (docs/contracts/sahamati.md) marks ASSUMED and a participant may meet otherwise is an option
here, with the assumption as its default.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator
from pydantic import Field as Rule

from keyturn.api import (
    BaseUrl,
    Field,
    LocalPath,
    Maker,
    Options,
    ProxyUrl,
    Reference,
    Repeat,
    Revoke,
    Seconds,
    Traits,
    Url,
)

ENTITY_ID = "entity_id"
ENTITY_SECRET = "entity_secret"  # noqa: S105 - a field's name
ACCESS_TOKEN = "access_token"  # noqa: S105 - a field's name
EXPIRES_AT = "expires_at"
"""The fields of the two bundles."""

HOUR_S, DAY_S = 3_600.0, 86_400.0

BASES = {
    "production": "https://api.sahamati.org.in/iam",
    "uat": "https://api.uat.sahamati.org.in/iam",
    "sandbox": "https://api.sandbox.sahamati.org.in/iam",
}
"""Contract 1."""

ENTITY = r"^\S{1,200}$"


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        message = "expected an IP address of this machine"
        raise ValueError(message) from None


def _without_version(url: str) -> str:
    if url.endswith("/v1"):
        message = "expected the URL without /v1, which is appended"
        raise ValueError(message)
    return url


def _entity(text: str) -> str:
    if not re.fullmatch(ENTITY, text):
        message = "expected an id without spaces, of 200 characters at most"
        raise ValueError(message)
    return text


def _whole_days(seconds: float) -> float:
    if seconds < DAY_S or seconds % DAY_S:
        message = "expected whole days, such as 90d"
        raise ValueError(message)
    return seconds


ServiceUrl = Annotated[BaseUrl, AfterValidator(_without_version)]
LocalAddress = Annotated[str, AfterValidator(_address)]
Days = Annotated[Seconds, AfterValidator(_whole_days)]
EntityId = Annotated[str, AfterValidator(_entity), Rule(json_schema_extra={"pattern": ENTITY})]
SecretName = Annotated[str, Rule(min_length=1)]


class Account(Options):
    """One designated user at one environment. Durations are seconds."""

    environment: Literal["production", "uat", "sandbox"] | None = Rule(
        default=None, description="which of the vendor's environments; exactly one of environment and base_url"
    )
    base_url: ServiceUrl | None = Rule(
        default=None, description="the /iam URL of another address of the service, without /v1 (it moved once already)"
    )
    username: Reference = Rule(description="reference to the designated user's email address")
    password: Reference = Rule(description="reference to that user's password, read whenever a user token is minted")
    ca: LocalPath | None = Rule(
        default=None, description="PEM file of the authority to trust (the machine's trust store unless set)"
    )
    proxy: ProxyUrl | None = Rule(
        default=None,
        description="URL of a proxy with a registered address (none unless set; the environment's is not used)",
    )
    local_address: LocalAddress | None = Rule(
        default=None, description="address of this machine to call from, where only that one is registered"
    )
    check_every: Seconds = Rule(
        default=7 * DAY_S, gt=0, description="how often user and secret are looked at although nothing is due"
    )
    activation: Seconds = Rule(
        default=60.0, description="longest time until a new secret is accepted (ASSUMED: at once)"
    )
    settle: Seconds = Rule(default=120.0, description="how long a lost reset may still take effect (ASSUMED)")
    settle_every: Seconds = Rule(
        default=24.0, gt=0, description="time between two looks after a lost reset: five of them in settle"
    )
    overlap: Seconds = Rule(
        default=0.0, description="how long the old secret is relied on after a reset; the vendor's sources differ"
    )
    grace: Seconds = Rule(
        default=5 * DAY_S, description="how long the vendor may go on accepting the old secret: observed only"
    )
    token_life: Seconds = Rule(default=24 * HOUR_S, description="life of an entity token that does not state it")
    min_reset_interval: Seconds = Rule(
        default=24 * HOUR_S, description="shortest time between two resets of one entity, unless forced (ASSUMED)"
    )
    check_claims: bool = Rule(
        default=True, description="whether an entity token's own claims must name the entity and a time ahead (ASSUMED)"
    )

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.environment is None) == (self.base_url is None):
            message = "expected exactly one of environment and base_url"
            raise ValueError(message)
        return self

    @property
    def url(self) -> str:
        """The /iam URL."""
        return self.base_url or BASES[self.environment or ""]


class Target(Options):
    """The secret of one entity, or the entity token that is derived from such a secret."""

    entity_id: EntityId | None = Rule(
        default=None, description="the entity whose secret this is; exactly one of entity_id and token_of"
    )
    expiry: Days = Rule(default=180 * DAY_S, description="validity to ask for, whole days; 180 days are the maximum")
    validity_min: Seconds | None = Rule(
        default=None, description="a shorter granted validity is alerted (half of expiry unless set)"
    )
    token_of: SecretName | None = Rule(
        default=None, description="name of the entity secret that the entity token is minted with"
    )
    token_probe_url: Url | None = Rule(
        default=None, description="URL that answers 401 to a bad entity token (its own claims are trusted unless set)"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.entity_id is None) == (self.token_of is None):
            message = "expected exactly one of entity_id and token_of"
            raise ValueError(message)
        foreign = {"token_probe_url"} if self.entity_id else {"expiry", "validity_min"}
        for name in sorted(foreign & self.model_fields_set):
            message = f"{name} goes with {'token_of' if self.entity_id else 'entity_id'}"
            raise ValueError(message)
        if self.life_min_s > self.expiry:
            message = "expected validity_min to be no longer than expiry"
            raise ValueError(message)
        return self

    @property
    def life_min_s(self) -> float:
        """The shortest validity that is not alerted (contract 4.2)."""
        return self.expiry / 2 if self.validity_min is None else self.validity_min


def traits(account: Account, target: Target) -> Traits:
    """What an entity secret, or an entity token, can do."""
    return _token_traits(account) if target.token_of else _secret_traits(account, target)


def _secret_traits(account: Account, target: Target) -> Traits:
    """Made by the vendor, readable, replaced by each reset (contract 2.3, 2.4, 4.3). Designed for no overlap."""
    return Traits(
        fields=(
            Field(name=ENTITY_ID, by=Maker.FIXED, value=target.entity_id or "", sensitive=False),
            Field(name=ENTITY_SECRET, by=Maker.VENDOR),
        ),
        live_max=2 if account.overlap else 1,
        grace_s=account.overlap,
        grace_max_s=max(account.grace, account.overlap),
        repeat=Repeat.DESTROYS,
        readable=True,
        answer_is_commit=True,
        revoke=Revoke.NONE,
        decoy=False,  # a made-up secret may lock the account (contract 6, ASSUMED)
        probe_leaves="an entity token that lives a day",
        activation_s=account.activation,
        settle_s=account.settle,
        settle_every_s=account.settle_every,
        derived_s=account.token_life,
        min_age_s=account.min_reset_interval,
        life_min_s=target.life_min_s,
        check_every_s=account.check_every,
    )


def _token_traits(account: Account) -> Traits:
    """As many as one likes, each until its own expiry (contract 2.2, 4.3)."""
    return Traits(
        fields=(
            Field(name=ENTITY_ID, by=Maker.VENDOR, sensitive=False),
            Field(name=ACCESS_TOKEN, by=Maker.VENDOR),
            Field(name=EXPIRES_AT, by=Maker.VENDOR, sensitive=False),
        ),
        live_max=None,
        grace_s=None,
        own_expiry=True,
        repeat=Repeat.SAFE,
        revoke=Revoke.NONE,
        decoy=False,
        activation_s=account.activation,
        settle_s=0.0,
        derived_s=account.token_life,
    )


def subject(account: Account, target: Target) -> str:
    """What is locked: the entity's secret at this address, or the token of that configured secret."""
    what = f"token-of:{target.token_of}" if target.token_of else target.entity_id
    return f"sahamati:{account.url}:{what}"


def source(account: Account, target: Target) -> str | None:  # noqa: ARG001 - the seam's shape
    """The secret that an entity token is derived from."""
    return target.token_of
