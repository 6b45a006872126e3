"""Versions that were given up and are in force all the same: a late commit, or a shown pair that was used afterwards.

Their values stay sealed until a later version is proven, so that nothing is lost by giving up too early.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.vendor import probe
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.model import Mode, Problem, Verdict
from keyturn.plugins.provider import InspectResponse
from keyturn.secret import Bundle
from keyturn.states import State

ASKED_MAX = 2
"""How many of them a look asks for: each one that is refused is an attempt with a bad secret."""

MODES = (Mode.NORMAL, Mode.FIRST, Mode.BREAK_GLASS)


def candidates(state: SecretState) -> list[VersionState]:
    """Versions of which an issue was sent or a pair shown, and that were never published, newest first. Pure."""
    stuck = state.rotation is not None and state.rotation.stuck is not None
    return [
        version
        for version in reversed(list(state.versions.values()))
        if version.sent and not version.published and (stuck or version.state is not State.PENDING)
    ]


def in_force(driver: Driver, endpoints: Sequence[str], *, most: int) -> VersionState | None:
    """The newest given-up version that an endpoint accepts now; each is asked for only where no newer one is it."""
    for version in sealed(driver)[:most]:
        probe(driver, ProbeNow(pairs=tuple((version.id, endpoint) for endpoint in endpoints)))
        if any(driver.looks.probes[version.id, endpoint].verdict is Verdict.ACCEPTED for endpoint in endpoints):
            return version
    return None


def sealed(driver: Driver) -> list[VersionState]:
    """The given-up versions whose whole value is at hand, but for one that was taken over since."""
    wanted = {field.name for field in driver.job.traits.fields if not field.artefact}
    known = [v.fingerprints for v in driver.state.versions.values() if v.published]
    found = []
    for version in candidates(driver.state):
        value = driver.readable(version.id) or Bundle()
        prints = driver.fingerprints(value.only(wanted))
        if wanted <= set(value) and not any(prints.items() <= other.items() for other in known):
            found.append(version)
    return found


def judge_given_up(
    driver: Driver, vendor: InspectResponse, value: Bundle | None, mode: Mode, *, knowing: bool
) -> Problem | None:
    """What is in force in place of a current version that is refused, unknown, or not there.

    Only a vendor that holds one version at a time can make a given-up one current by itself. `knowing`: a recovery ends
    whatever is there.
    """
    traits, current = driver.job.traits, driver.state.current
    insists = knowing and mode is Mode.BREAK_GLASS
    if insists or mode not in MODES or not traits.dies_by_issue or traits.own_expiry:
        return None
    verdicts = [driver.looks.verdict(current.id, e, since=0.0) for e in vendor.endpoints] if current and value else []
    if verdicts and Verdict.REFUSED not in verdicts:
        return None
    version = in_force(driver, vendor.endpoints, most=ASKED_MAX)
    if version is None:
        return None
    return Problem(
        code="given-up-in-force",
        text=f"version {version.number}, which was given up, is in force at the vendor",
        hint=f"keyturn adopt {driver.job.name} --from-escrow",
    )
