"""What a configuration says of one PingAuthorize cluster, and the pure facts that follow from it.

What the contract page (docs/contracts/pingauthorize.md) marks ASSUMED and a set-up may have otherwise is an option
here, with the assumption as its default.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field as Rule
from pydantic import model_validator

from keyturn.api import Field, Maker, Options, Recipe, Reference, Repeat, Revoke, Seconds, Traits, Url

VALUE = "shared_secret"
"""The one field of the bundle."""

LETTERS_AND_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

# Contract 9: no comma, TAB, colon or quotes in our names.
NamePrefix = Annotated[str, Rule(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]

WebUrl = Annotated[str, Rule(pattern=r"^https?://[^/@\s]+(?:/\S*)?$")]
"""A URL that is only named to somebody, or a proxy, through which TLS goes end to end."""


class Account(Options):
    """One cluster: `servers` are base URLs (the Configuration API is at `<server>/config`). Durations are seconds."""

    servers: tuple[Url, ...] = Rule(
        min_length=1,
        description="base URL of every server, https://HOST:PORT; the list of secrets is per server (ASSUMED)",
    )
    username: Reference = Rule(description="reference to the administrator's DN, or an id the identity mapper knows")
    password: Reference = Rule(description="reference to the administrator's password")
    ca: Path | None = Rule(
        default=None, description="PEM file of the authority to trust (the machine's trust store unless set)"
    )
    proxy: WebUrl | None = Rule(
        default=None, description="URL of a proxy (none unless set; the environment's is not used)"
    )
    extension: str = Rule(
        default="Sideband API",
        min_length=1,
        description="name of the servlet extension; the default is the vendor's own name",
    )
    sideband: tuple[Url, ...] | None = Rule(
        default=None,
        description="base URL of each server's Sideband API, in the order of servers (the servers unless set)",
    )
    header: str | None = Rule(
        default=None,
        description="header the gateways send; a server that reads another is refused (not compared unless set)",
    )
    probe_url: WebUrl = Rule(
        default="https://keyturn.invalid/rotation-probe",
        description="URL that a probe asks a decision about (ASSUMED design); the default can belong to nobody",
    )
    treat_4xx_as_accepted: bool = Rule(
        default=False,
        description="whether 400 and 413 prove acceptance; they come probably after the secret was checked (ASSUMED)",
    )
    apply_change_to: Literal["single-server", "none"] = Rule(
        default="single-server",
        description="applyChangeTo to send: required in a server group, harmless elsewhere (ASSUMED); none: omitted",
    )
    dialect: Literal["go", "documented"] = Rule(
        default="go",
        description="form of PATCH: as the vendor's Go client sends it, which ships, or as its documentation shows",
    )
    urn_prefix: Literal["pingidentity", "unboundid"] = Rule(
        default="pingidentity",
        description="prefix of schema URNs sent: the Go client's, or the documentation's older one; both are read",
    )
    name_prefix: NamePrefix = Rule(
        default="keyturn", description="what names of new secret objects begin with; a target's wins"
    )
    mirror_timeout: Seconds = Rule(
        default=30.0,
        description="longest wait until every server sees a change; 30 s (ASSUMED) are six polls of the vendor",
    )
    poll: Seconds = Rule(
        default=0.5, gt=0, description="time between two looks while waiting; short against the vendor's poll of 5 s"
    )
    settle: Seconds = Rule(
        default=30.0,
        description="how long a lost call may still take effect; 30 s (ASSUMED), as long as mirroring may take",
    )
    activation: Seconds = Rule(
        default=30.0,
        description="longest time until a listed secret is accepted; 30 s (ASSUMED: at once, without a restart)",
    )
    revocation: Seconds = Rule(
        default=30.0,
        description="longest time until an unlisted secret is refused; 30 s (ASSUMED: at once, without a restart)",
    )

    @model_validator(mode="after")
    def _servers_make_sense(self) -> Self:
        if len(set(self.servers)) != len(self.servers):
            message = "expected every server once in servers"
            raise ValueError(message)
        if self.sideband is not None and len(self.sideband) != len(self.servers):
            message = "expected one sideband URL for each server, in the same order"
            raise ValueError(message)
        return self

    def sideband_of(self, server: str) -> str:
        """The base URL of this server's Sideband API. Raises KeyError for a server that is not configured."""
        return dict(zip(self.servers, self.sideband or self.servers, strict=True))[server]


class Target(Options):
    """One secret. `name_prefix` begins the names of its objects; two secrets of one extension need different ones."""

    name_prefix: NamePrefix | None = Rule(
        default=None,
        description="what names of this secret's objects begin with (the account's name_prefix unless set)",
    )


def traits(account: Account, target: Target | None) -> Traits:  # noqa: ARG001 - the seam's shape
    """What a Sideband API shared secret can do (contract 1, 7, 8)."""
    # Letters and digits only: a value that begins with "-" reads as an option, one that begins with "AA" as the
    # server's own obscured form (contract 1). 43 of 62 characters are 256 bits.
    recipe = Recipe(alphabet=LETTERS_AND_DIGITS, length=43, forbid_prefix="AA")
    return Traits(
        fields=(Field(name=VALUE, by=Maker.US, recipe=recipe),),
        live_max=None,
        grace_s=None,
        repeat=Repeat.SAFE,
        readable=False,
        revoke=Revoke.REFUSE_REMOVE,
        decoy=True,
        probe_leaves="a policy decision and a line in the decision log",
        activation_s=account.activation,
        revocation_s=account.revocation,
        settle_s=account.settle,
    )


def subject(account: Account, target: Target | None) -> str:
    """What is locked: the extension on these servers; with a name prefix, that gateway's share of it."""
    own = prefix(account, target)
    share = f"#{own}" if own != account.name_prefix else ""
    return f"pingauthorize:{','.join(sorted(account.servers))}:{account.extension}{share}"


def prefix(account: Account, target: Target | None) -> str:
    """What the names of this secret's objects begin with."""
    return (target.name_prefix if target else None) or account.name_prefix


def name_for(version_id: str, prefix: str) -> str:
    """The object name of a version: unique, and found again by `settle` without any answer (contract 8).

    `<prefix>-<day of the UUIDv7>-<its last 12 hex digits>`, so `[a-z0-9-]` only.
    """
    made = UUID(version_id)
    day = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    return f"{prefix}-{day:%Y%m%d}-{made.hex[-12:]}"


def is_ours(name: str, prefix: str) -> bool:
    """Whether `name_for` could have made this name with this prefix."""
    return re.fullmatch(rf"{re.escape(prefix)}-\d{{8}}-[0-9a-f]{{12}}", name) is not None
