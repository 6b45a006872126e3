"""Why the vendor could not be looked at, as a problem with what to do about it (contract 4.9, 4.10, 4.11, 6). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keyturn.api import PluginError, Problem
from keyturn_sahamati.session import REFUSED_S

LINE = ("timeout", "cut", "unreachable", "tls-unverified", "http-408")
FOREIGN = ("page-", "not-json", "http-3", "answer-too-long")
"""How codes of answers begin that a gateway, a firewall or a portal gave in the service's place."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What was asked: for which secret and entity, at which URL, from where; `heard`: the vendor answered before.

    `stranded`: the option local_address, where this machine can not call from it.
    """

    secret: str
    entity_id: str
    url: str
    whence: str
    heard: bool
    stranded: str = ""


def problem(error: PluginError, scene: Scene) -> Problem | None:
    """The problem behind an error of a look; None for a reference that does not resolve."""
    code = error.code
    if scene.stranded and code == "unreachable":
        return _stranded(error, scene)
    if not scene.heard and (code in LINE or code.startswith(FOREIGN)):
        return _network(error, scene)
    if code in LINE or code.startswith("http-5"):
        return _unavailable(error, scene)
    if code in KNOWN:
        return KNOWN[code](error, scene)
    if code.startswith((*FOREIGN, "http-2", "http-4")):
        return _broken(error, scene)
    return None


def _network(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="network-or-allow-list",
        text=f"{scene.url} can not be reached or does not let us in, called {scene.whence}: {error.why}",
        passing=True,
        hint="ask Sahamati whether that address (behind NAT: the one it becomes) is registered for this entity and "
        "environment, and port 443 open; else set local_address or proxy to a registered one, or check network and ca",
    )


def _stranded(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="local-address-unusable",
        text=f"no call to {scene.url} can leave from {scene.stranded}, the option local_address: {error.why}",
        passing=True,  # an address that wanders between machines may come back
        hint="set local_address to an address that this machine has (ip -brief address) and that is registered with "
        "Sahamati, or leave it out",
    )


def _authority(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="ca-unusable",
        text=error.why,
        hint="let the option ca name a PEM file with the authority's certificate, or leave it out to trust what this "
        f"machine trusts; then: keyturn check --online {scene.secret}",
    )


def _unavailable(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="vendor-unavailable",
        text=f"the vendor answered before, and now does not: {error.why}" if scene.heard else error.why,
        passing=True,
        hint=f"nothing to do here if it passes; look again with: keyturn check --online {scene.secret}",
    )


def _user(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="user-refused",
        text=f"the designated user is refused: its password is wrong or has expired, the vendor does not say which "
        f"({error.why})",
        hint="log in at the self-service portal as that user; set a new password by mail if it has expired, put it "
        f"where the option password points, then: keyturn check --online {scene.secret}",
        again_s=REFUSED_S,
    )


def _administrator(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="not-administrator",
        text=f"the designated user may not read the secret of {scene.entity_id}, or there is no such entity "
        f"({error.why})",
        hint="check entity_id and environment; ask Sahamati to make that user the entity's designated user",
    )


def _throttled(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="throttled",
        text=error.why,
        passing=True,
        hint=f"wait as long as it says, then: keyturn check --online {scene.secret}",
    )


def _rejected(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="request-rejected",
        text=f"the vendor does not understand the request: {error.why}",
        hint=f"compare entity_id {scene.entity_id} and the options with the contract page; the API may have changed",
    )


def _broken(error: PluginError, scene: Scene) -> Problem:
    return Problem(
        code="contract-broken",
        text=f"the vendor answers otherwise than the contract page says: {error.why}",
        hint=f"check that {scene.url} is the /iam URL of the service; if it is, the API has changed: do not rotate",
    )


KNOWN: dict[str, Callable[[PluginError, Scene], Problem]] = {
    "ca-unusable": _authority,
    "user-refused": _user,
    "not-administrator": _administrator,
    "throttled": _throttled,
    "request-rejected": _rejected,
    "contract-broken": _broken,
}
