"""Artefacts that a person hands in (design 1): checked and sealed; from then on they are put where they are kept."""

from __future__ import annotations

import re
from dataclasses import replace

from keyturn.engine.effects.driver import Driver
from keyturn.engine.outcome import Outcome
from keyturn.engine.preflight import current_value
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import artefact_next
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.errors import RefusedError, UsageError
from keyturn.model import Mode
from keyturn.secret import Bundle, Secret
from keyturn.steps import Step


def check_supplied(driver: Driver) -> str:
    """The id of the version that what was handed in is for; see that it may have come out of it. Nothing is changed.

    Raises UsageError `not-an-artefact`; RefusedError `artefact-unowned`, `artefact-malformed`, `artefact-wrong`,
    `artefact-older` or `artefact-differs`.
    """
    names = driver.job.traits.artefacts
    for name, secret in driver.supplied.items():
        if name not in names:
            hint = f"one of: {', '.join(names)}" if names else "leave --supply out"
            message = f"{name} is nothing that the vendor gives out with a version of this secret"
            raise UsageError("not-an-artefact", message, hint=hint, place=driver.job.name)
        if not _resetting(driver.state):
            _fits(driver, _owner(driver), name, secret)
    return driver.to.id if _resetting(driver.state) else _owner(driver).id if driver.supplied else ""


def hand_in(driver: Driver, owner: str) -> str:
    """Seal what was handed in with the version `owner` that it came out of; what was done, for people.

    While that version is in doubt, or is set by what was handed in, nothing is done yet. Raises what `check_supplied`
    raises.
    """
    if not driver.supplied or not driver.state.versions[owner].issued:
        return ""
    version, offered = driver.state.versions[owner], _offered(driver)
    driver.supplied = Bundle()
    for name, secret in offered.items():
        _fits(driver, version, name, secret)
    news = offered.only(name for name in offered if name not in version.fingerprints)
    if news:
        known = driver.bundle(version.id) or current_value(driver) or Bundle()
        driver.keep(version.id, known.with_(news))
        prints = driver.fingerprints(news)
        driver.append(ev.Supplied(version=version.id, fingerprints=prints, sinks=_late(driver, version, news)))
    return f"version {version.number} has its {' and its '.join(offered)}" if offered else ""


def told(driver: Driver, outcome: Outcome, said: str) -> Outcome:
    """The outcome, with what was handed in, and what to do about an artefact that is missing still."""
    current, name = driver.state.current, driver.job.name
    if driver.supplied and _resetting(driver.state) and driver.rotation.by_person:
        text = f"what was handed in is not used: whoever attends uploads the {' and '.join(driver.supplied)} himself"
        return replace(outcome, text=f"{outcome.text}; {text}")
    if driver.supplied and not _resetting(driver.state):
        text = f"what was handed in was not taken: version {driver.to.number} is not known to be in force"
        return replace(outcome, text=f"{outcome.text}; {text}")
    if outcome.status != "quiet":
        return outcome
    if current and current.lacks:
        text = f"{outcome.text}; version {current.number} has no {' and no '.join(current.lacks)}"
        return replace(outcome, text=text, next=outcome.next or artefact_next(name, current.lacks[0]))
    return replace(outcome, text=f"{said}; {outcome.text}") if said else outcome


def _resetting(state: SecretState) -> bool:
    """Whether a version is being set by something older that was handed in, which proves the right to it."""
    rotation, to = state.rotation, state.under_way
    return bool(rotation and rotation.open and rotation.mode is Mode.BREAK_GLASS and to and not to.issued)


def _owner(driver: Driver) -> VersionState:
    """The version that what is handed in now came out of: the one under way once it was sent, else the current one."""
    to = driver.state.under_way
    version = to if to and (to.sent or to.issued) and not to.gone else driver.state.current
    if version is None:
        text = "there is no version that it could have come out of"
        raise _refused(driver, "artefact-unowned", text, f"keyturn status {driver.job.name}")
    return version


def _used(driver: Driver) -> frozenset[str]:
    """Fingerprints of what the latest rotation made a reset by: that is void, and came out of no version since."""
    rotation = driver.state.rotation
    attempts = rotation.attempts if rotation and rotation.mode is Mode.BREAK_GLASS else ()
    return frozenset(one for attempt in attempts for one in attempt.supplied.values())


def _offered(driver: Driver) -> Bundle:
    """What was handed in, less what a reset was made by on the way: nobody meant that for the new version."""
    used, prints = _used(driver), driver.fingerprints(driver.supplied)
    return driver.supplied.only(name for name, one in prints.items() if one not in used)


def _fits(driver: Driver, version: VersionState, name: str, secret: Secret) -> None:
    """Raises RefusedError where this can not be it: by its form, or since we know it as something else."""
    field = next(one for one in driver.job.traits.fields if one.name == name)
    if field.pattern and not re.fullmatch(field.pattern, secret.reveal()):
        raise _refused(driver, "artefact-malformed", f"this has not the form of a {name}", "hand in the file unchanged")
    fingerprint = driver.bench.escrow.fingerprint(secret.reveal())
    right = f"hand in the {name} that the vendor gave out when version {version.number} was set"
    if fingerprint in _used(driver):
        raise _refused(driver, "artefact-older", f"a reset was made by this {name}, which voided it", right)
    _unlike_others(driver, version, name, fingerprint, right)
    if version.fingerprints.get(name, fingerprint) != fingerprint:
        text = f"version {version.number} has another {name} already"
        hint = f"if that one is wrong: keyturn rotate {driver.job.name}, which makes another"
        raise _refused(driver, "artefact-differs", text, hint)


def _unlike_others(driver: Driver, version: VersionState, name: str, fingerprint: str, right: str) -> None:
    """Raises RefusedError where it is another field's value, or came out of another version."""
    for other in driver.state.versions.values():
        names = [known for known, one in other.fingerprints.items() if one == fingerprint]
        if names and name not in names:
            text = f"this is the {names[0]} of version {other.number}, not a {name}"
            raise _refused(driver, "artefact-wrong", text, right)
        if names and other.id != version.id:
            text = f"this is the {name} of version {other.number}, void since another version was set"
            raise _refused(driver, "artefact-older", text, right)


def _late(driver: Driver, version: VersionState, news: Bundle) -> tuple[str, ...]:
    """The places to put them that no rotation of this version does: it was adopted, or they were configured later."""
    rotation = driver.state.rotation
    own = rotation is not None and rotation.to == version.id and Step.STORE in rotation.frozen.steps
    planned = {sink.key for sink in rotation.plan.sinks} if rotation and own else set()
    return tuple(s.key for s in driver.job.sinks if s.artefact and s.stored(news) and s.key not in planned)


def _refused(driver: Driver, code: str, text: str, hint: str) -> RefusedError:
    return RefusedError(code, text, hint=hint, place=driver.job.name)
