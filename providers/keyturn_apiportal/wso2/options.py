"""What a configuration says of one WSO2 API Manager, and the pure facts that follow from it.

What the contract (contract 9) does not say and a set-up may have otherwise is an option, with the assumption as its
default.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field as Rule

from keyturn.api import BaseUrl, Field, Maker, Options, Repeat, Revoke, Seconds, Traits
from keyturn_apiportal.flavour import Flavour, Tells, Times, traits_of
from keyturn_apiportal.options import GatewayAccount

ID, VALUE = "client_id", "client_secret"
"""The fields of the bundle: the consumer key stays, the secret changes."""

UrlPath = Annotated[str, Rule(pattern=r"^/[^\s?#]*$")]
Uuid = Annotated[str, Rule(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class Account(GatewayAccount):
    """One API Manager in multi-secret mode (4.7, or 4.3.0 from update 99). Durations are seconds."""

    url: BaseUrl = Rule(description="base URL of the developer portal, https://HOST:9443")
    scope: str = Rule(
        default="apim:subscribe apim:app_manage", description="scopes of the login; enough to manage keys (ASSUMED)"
    )
    login_url: BaseUrl | None = Rule(
        default=None, description="base URL of the token endpoint that keyturn logs in at (url unless set)"
    )
    token_path: UrlPath = Rule(default="/oauth2/token", description="path of the token endpoint, here and at gateways")
    api_path: UrlPath = Rule(default="/api/am/devportal/v3", description="path of the developer portal's API")
    revoke_path: str = Rule(
        default="", description="path where the tokens of probes are revoked (only dropped unless set)"
    )
    labels: bool = Rule(
        default=True,
        description="whether lists show descriptions; without them the secret of a lost answer is not known as ours",
    )
    secrets_max: int | None = Rule(
        default=None,
        ge=3,
        description="how many secrets the server allows under one key; one is kept free (not counted unless set)",
    )
    sync: Seconds = Rule(
        default=60.0, description="longest time until every gateway has heard of a change; 1 min (ASSUMED)"
    )
    token_life: Seconds = Rule(
        default=0.0,
        description="added to the hold; 0 (ASSUMED: tokens of a revoked secret live to their end)",
    )


class Target(Options):
    """One key of one application."""

    application: Uuid = Rule(description="UUID of the application")
    key_mapping: Uuid = Rule(description="UUID of its key mapping: of the production or the sandbox key")
    client_id: str = Rule(pattern=r"^[!-~]{1,255}$", description="the consumer key, which stays")


def flavour(account: Account, target: Target | None) -> Flavour:
    """Several secrets under one id (contract 9). The id is public."""
    client_id = target.client_id if target else ""
    return Flavour(
        name="several secrets under one id",
        fields=(
            Field(name=ID, by=Maker.FIXED, value=client_id, sensitive=False),
            Field(name=VALUE, by=Maker.VENDOR),
        ),
        tells=Tells.LABEL if account.labels else Tells.SEAL,
        # The newest secret is revoked only once there is a newer one.
        live_max=account.secrets_max - 1 if account.secrets_max else None,
        repeat=Repeat.DUPLICATES,
        revoke=Revoke.REFUSE,
    )


def traits(account: Account, target: Target | None) -> Traits:
    """What a consumer secret can do."""
    times = Times(sync_s=account.sync, settle_s=account.settle, derived_s=account.token_life)
    leaves = "nothing" if account.revoke_path else "an access token that nobody keeps"
    return traits_of(flavour(account, target), times, probe_leaves=leaves)


def subject(account: Account, target: Target) -> str:
    """What is locked: the consumer key."""
    return f"wso2-am:{account.url}:{target.application}/{target.key_mapping}".lower()
