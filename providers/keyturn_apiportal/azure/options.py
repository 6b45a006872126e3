"""What a configuration says of one Azure API Management service, and the pure facts that follow from it.

What the contract (contract 9) does not say and a set-up may have otherwise is an option, with the assumption as its
default.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field as Rule

from keyturn.api import BaseUrl, Field, Maker, Options, Repeat, Revoke, Seconds, Traits
from keyturn_apiportal.flavour import Flavour, Tells, Times, traits_of
from keyturn_apiportal.options import GatewayAccount

VALUE = "subscription_key"
"""The one field of the bundle."""

# The vendor's reference allows spaces and more; a slash or a question mark would lead to another resource.
Name = Annotated[str, Rule(pattern=r"^[A-Za-z0-9][A-Za-z0-9._() -]{0,255}$")]

FLAVOUR = Flavour(
    name="two slots",
    fields=(Field(name=VALUE, by=Maker.VENDOR),),
    tells=Tells.CHANGE,
    slots=("primary", "secondary"),
    live_max=2,
    readable=True,
    repeat=Repeat.DUPLICATES,
    revoke=Revoke.REFUSE,
)
"""Contract 9: regenerate the other slot; a 204 means read by listSecrets. A repeat renews the idle slot once more."""


class Account(GatewayAccount):
    """One service, and the application that may regenerate its keys. Durations are seconds."""

    url: BaseUrl = Rule(default="https://management.azure.com", description="base URL of the resource manager")
    login_url: BaseUrl = Rule(
        default="https://login.microsoftonline.com", description="base URL that tokens come from, without the tenant"
    )
    tenant: Name = Rule(description="tenant id of the application that rotates")
    scope: str = Rule(
        default="https://management.azure.com/.default", description="scope of the token; other clouds have another"
    )
    subscription: Name = Rule(description="id of the cloud subscription that the service is in")
    resource_group: Name = Rule(description="its resource group")
    service: Name = Rule(description="name of the API Management service")
    api_version: str = Rule(
        default="2022-08-01", pattern=r"^\d{4}-\d\d-\d\d(-preview)?$", description="api-version of every call"
    )
    sync: Seconds = Rule(
        default=600.0, description="longest time until every gateway has heard of a new key; 10 min (ASSUMED)"
    )


class Target(Options):
    """One subscription: a named pair of keys."""

    name: Name = Rule(description="name of the API Management subscription (its sid)")
    probe_path: str = Rule(
        pattern=r"^/[^\s?#]*$",
        description="path of a harmless GET that this subscription may call at every gateway, answered with a 2xx",
    )
    header: str = Rule(
        default="Ocp-Apim-Subscription-Key",
        pattern=r"^[A-Za-z0-9-]+$",
        description="header that the API reads the key from; an API may have renamed it",
    )
    in_use: Literal["primary", "secondary"] = Rule(
        default="primary", description="slot that consumers use when it is adopted"
    )


def traits(account: Account, target: Target | None) -> Traits:  # noqa: ARG001 - the seam's shape
    """What a subscription's key can do."""
    times = Times(sync_s=account.sync, settle_s=account.settle)
    return traits_of(FLAVOUR, times, probe_leaves="a call to the API at the probe path")


def subject(account: Account, target: Target) -> str:
    """What is locked: the pair of keys. Azure takes no notice of case in these names."""
    place = f"{account.subscription}/{account.resource_group}/{account.service}/{target.name}"
    return f"azure-apim:{place.lower()}"
