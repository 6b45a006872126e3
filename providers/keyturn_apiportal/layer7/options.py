"""What a configuration says of a Layer7 API Developer Portal, and the pure facts that follow from it.

What the contract page (docs/contracts/apiportal.md) marks ASSUMED and a portal may do otherwise is an option here, with
the assumption as its default.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field as Rule
from pydantic import model_validator

from keyturn.api import (
    BaseUrl,
    Field,
    LocalPath,
    Maker,
    Options,
    ProxyUrl,
    Recipe,
    Reference,
    Repeat,
    Revoke,
    Seconds,
    Traits,
)
from keyturn_apiportal.flavour import Flavour, Tells, Times, traits_of

CLIENT_ID = "client_id"
CLIENT_SECRET = "client_secret"  # noqa: S105 - a field's name
"""The fields of the bundle."""

HEX = Recipe(alphabet="0123456789abcdef", length=32)
"""Contract 2, way d: what the portal's own front end made."""

DAY_S = 86_400.0
Path = Annotated[str, Rule(pattern=r"^/[^?#\s]*$")]
"""A path on the portal; `{tenant}` and the like are filled in."""

Meaning = Literal["accepted", "refused", "unknown", "bug", "unsuited"]
State = Literal["deployed", "pending", "failed"]
STATES: dict[str, State] = {
    "DEPLOYED": "deployed",
    "PENDING_DEPLOYMENT": "pending",
    "PENDING_UNDEPLOYMENT": "pending",
    "NOT_DEPLOYED": "failed",
    "ERROR": "failed",
    "VALIDATION_ERROR": "failed",
}
"""Contract 3."""


class Proxy(Options):
    """One proxy that takes the credentials."""

    url: BaseUrl = Rule(description="URL that its token path hangs on")
    name: str = Rule(default="", description="what the portal calls it, to say how keys get there")


class Probe(Options):
    """How a proxy is asked whether it accepts a client id and secret."""

    kind: Literal["token", "resource"] = Rule(
        default="token", description="ask for a token, or (ASSUMED) call a protected test API with HTTP Basic"
    )
    grant: str = Rule(default="client_credentials", description="grant type to ask with")
    scope: str = Rule(default="", description="scope to ask for (none unless set)")
    path: Path | None = Rule(default=None, description="path of the test API, with kind resource")
    basic: bool = Rule(default=True, description="whether id and secret go by HTTP Basic, else as fields of the form")

    @model_validator(mode="after")
    def _path_with_resource(self) -> Self:
        if (self.kind == "resource") != (self.path is not None):
            message = "expected path with kind resource, and only there"
            raise ValueError(message)
        return self


class SecretCall(Options):
    """The call by which the portal makes a new secret (contract 2, way a)."""

    method: Literal["PATCH", "POST", "PUT"] = Rule(default="PATCH", description="its method")
    path: str = Rule(
        default="/{application}/api-keys/{key}/secret", description="its path, after that of the applications"
    )
    value_field: str = Rule(default="keySecret", min_length=1, description="member with the secret, empty in the body")
    hashed_field: str = Rule(default="keySecretHashed", min_length=1, description="member that asks for a hashed one")


class Hashing(Options):
    """The tenant's setting about hashed secrets (contract 2)."""

    path: Path = Rule(
        default="/{tenant}/tenant-admin/1.0/settings/APP_SECRET_HASHING_METADATA", description="where it is read"
    )


class Legacy(Options):
    """The older, OData-like calls (contract 2, way d)."""

    prefix: Path = Rule(default="/{tenant}", description="what stands before Applications('UUID')")


class Deployments(Options):
    """The state of a key on each proxy: no such call was found, so it is off unless a path is set (contract 3)."""

    path: Path | None = Rule(
        default=None, description="where it is read, with {tenant}, {application} and {key} (ASSUMED; off unless set)"
    )
    states: dict[str, State] = Rule(default=STATES, description="what the portal's words mean (ASSUMED)")


class Account(Options):
    """One client of PAPI at one portal, and the proxies of it. Durations are seconds."""

    url: BaseUrl = Rule(description="URL of the portal's ingress gateway (ssg), with its port")
    tenant: str = Rule(pattern=r"^[A-Za-z0-9._-]+$", description="the tenant's id")
    client_id: Reference = Rule(description="reference to the id of an api key made for PAPI")
    client_secret: Reference = Rule(description="reference to its secret, read whenever a token is fetched")
    token_path: Path = Rule(default="/auth/oauth/v2/token", description="where a token for PAPI is fetched")
    scope: str = Rule(default="OOB", description="scope of that token")
    token_by_form: bool = Rule(default=False, description="whether id and secret go as fields of the form there")
    repeat_401: bool = Rule(
        default=True, description="whether a change that is answered 401 counts as not done and is sent again (ASSUMED)"
    )
    api_prefix: Path = Rule(
        default="/{tenant}/api-management/1.0", description="what stands before applications in PAPI's paths"
    )
    ca: LocalPath | None = Rule(
        default=None, description="PEM file of the authority to trust (the machine's trust store unless set)"
    )
    proxy: ProxyUrl | None = Rule(default=None, description="URL of an HTTP proxy towards the portal (none unless set)")
    proxies: tuple[BaseUrl | Proxy, ...] = Rule(
        min_length=1, description="every API proxy that has to accept a new secret: its URL, or its url and name"
    )
    proxy_ca: LocalPath | None = Rule(default=None, description="PEM file of the proxies' authority (ca unless set)")
    proxy_token_path: Path = Rule(default="/auth/oauth/v2/token", description="the token endpoint of each proxy")
    proxies_path: Path = Rule(
        default="/{tenant}/deployments/1.0/proxies", description="where the portal lists its proxies"
    )
    probe: Probe = Rule(default=Probe(), description="how a proxy is asked")
    revoke_path: Path | None = Rule(
        default=None, description="where a proxy revokes the token of a probe (ASSUMED; off unless set)"
    )
    codes: dict[str, Meaning] = Rule(default={}, description="what an x-ca-err means, where it differs (ASSUMED)")
    sync: Seconds = Rule(default=300.0, gt=0, description="longest time until every proxy has heard of a change")
    settle: Seconds = Rule(
        default=60.0, description="how long a lost call may still take effect (ASSUMED); in place at least sync"
    )
    settle_every: Seconds = Rule(default=5.0, gt=0, description="time between two looks after a lost answer")
    token_life: Seconds = Rule(default=3_600.0, description="how long a consumer's token may outlive its secret")
    watch: Seconds = Rule(
        default=DAY_S, ge=0, description="way second-key: how long a disabled key is kept before it is deleted"
    )
    check_every: Seconds = Rule(
        default=DAY_S, gt=0, description="how often the key is looked at although nothing is due"
    )
    deployments: Deployments = Rule(default=Deployments(), description="deployment state of a key")
    hashing: Hashing = Rule(default=Hashing(), description="the tenant's setting about hashed secrets")
    secret_call: SecretCall = Rule(default=SecretCall(), description="the call that makes a new secret")
    legacy: Legacy = Rule(default=Legacy(), description="the older calls")
    mark_field: str = Rule(
        default="modifyTs", min_length=1, description="member of a key that a new secret moves (ASSUMED)"
    )
    workflow_path: Path = Rule(
        default="/{tenant}/Settings('{name}')", description="where the settings of the approval work-flow are read"
    )
    approval: Literal["refuse", "wait", "administrator"] = Rule(
        default="refuse",
        description="what to do where a person approves changes; administrator: our client's wait for nobody",
    )
    approval_patience: Seconds = Rule(default=7 * DAY_S, gt=0, description="how long an approval is waited for")

    @model_validator(mode="after")
    def _each_proxy_once(self) -> Self:
        urls = [one.url for one in self.places]
        if len(set(urls)) != len(urls):
            message = "expected each proxy once"
            raise ValueError(message)
        return self

    @property
    def places(self) -> tuple[Proxy, ...]:
        """The proxies, each with its name where it has one."""
        return tuple(one if isinstance(one, Proxy) else Proxy(url=one) for one in self.proxies)

    def filled(self, template: str, **names: str) -> str:
        """A path template with the tenant and these names in it."""
        for name, text in {"tenant": self.tenant, **names}.items():
            template = template.replace(f"{{{name}}}", text)
        return template


class Target(Options):
    """The client secret of one application, and how it is replaced."""

    application: str = Rule(
        pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", description="UUID of the application"
    )
    api_key: str | None = Rule(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,255}$",
        description="the api key (client id); with way second-key the one to begin with (the default key unless set)",
    )
    way: Literal["patch", "put", "legacy", "second-key"] = Rule(
        default="second-key",
        description="in place by patch (the portal makes it), put or legacy (we do): an outage; second-key: none",
    )
    hashed: Literal["prefer", "always", "as-is"] = Rule(
        default="prefer", description="hashed where the tenant allows it, always, or as the key is; never to plaintext"
    )
    keys_max: int | None = Rule(
        default=None, ge=2, description="most keys that the application may have (no limit unless set)"
    )
    default_key: Literal["move", "keep"] = Rule(
        default="move", description="whether the default key becomes the new one before the old one is disabled"
    )

    @model_validator(mode="after")
    def _fits_the_way(self) -> Self:
        if self.in_place and self.api_key is None:
            message = f"expected api_key with way {self.way}"
            raise ValueError(message)
        for name in sorted({"keys_max", "default_key"} & self.model_fields_set if self.in_place else ()):
            message = f"{name} goes with way second-key"
            raise ValueError(message)
        return self

    @property
    def in_place(self) -> bool:
        """Whether the secret is replaced under one client id."""
        return self.way != "second-key"

    @property
    def theirs(self) -> bool:
        """Whether the portal makes the secret."""
        return self.way in ("patch", "second-key")


def flavour(target: Target) -> Flavour:
    """Contract 5: L1, L2 and L3."""
    readable = target.hashed != "always"
    if target.way == "second-key":
        fields = (Field(name=CLIENT_ID, by=Maker.VENDOR, sensitive=False), Field(name=CLIENT_SECRET, by=Maker.VENDOR))
        return Flavour(
            name=target.way,
            fields=fields,
            tells=Tells.LABEL,
            live_max=target.keys_max,
            readable=readable,
            repeat=Repeat.DUPLICATES,
            revoke=Revoke.REFUSE_REMOVE,
        )
    secret = Field(name=CLIENT_SECRET, by=Maker.VENDOR) if target.theirs else _our_secret()
    return Flavour(
        name=target.way,
        fields=(Field(name=CLIENT_ID, by=Maker.FIXED, value=target.api_key or "", sensitive=False), secret),
        tells=Tells.CHANGE if target.theirs else Tells.VALUE,
        in_place=True,
        readable=readable,
        repeat=Repeat.DESTROYS if target.theirs else Repeat.SAFE,
    )


def _our_secret() -> Field:
    return Field(name=CLIENT_SECRET, by=Maker.US, recipe=HEX)


def traits(account: Account, target: Target) -> Traits:
    """What the secret can do, by its way.

    In place a change that nobody saw is known by the proxies alone, in the end: they have to have heard of it.
    """
    times = Times(
        sync_s=account.sync,
        settle_s=max(account.settle, account.sync) if target.in_place else account.settle,
        derived_s=account.token_life,
        check_every_s=account.check_every,
        patience_s=account.approval_patience,
        settle_every_s=account.settle_every,
        watch_s=account.watch,
    )
    token = "an access token, revoked at once" if account.revoke_path else "an access token that lives to its end"
    leaves = token if account.probe.kind == "token" else "a call of the test API"
    return traits_of(flavour(target), times, probe_leaves=leaves)


def subject(account: Account, target: Target) -> str:
    """What is locked: in place the key, else the application, whose keys come and go."""
    what = target.api_key if target.in_place else target.application.lower()
    return f"apiportal:{urlsplit(account.url).netloc}/{account.tenant}:{what}"
