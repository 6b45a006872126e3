"""Bringing sinks up to the current version outside a rotation: after an adoption, and for repair."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.looks import SinkLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.sinks import look_at_sinks
from keyturn.engine.job import BoundSink
from keyturn.engine.plan import way_out
from keyturn.engine.preflight import current_value, unseen
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.errors import KeyturnError, RefusedError, StuckError
from keyturn.model import Problem
from keyturn.plugins.sink import PromoteRequest, SinkVersion
from keyturn.secret import Bundle


def bring_up(driver: Driver, *, name: str | None = None) -> list[str]:
    """Bring the places (of the sink called `name`) up to the current version; the keys of those that needed it.

    Raises RefusedError over a foreign value, StuckError where some were repaired and others could not be.
    """
    current = driver.state.current
    value = current_value(driver)
    if current is None or value is None:
        raise RefusedError(
            "current-value-unknown",
            "no sink and no escrow holds the current version",
            hint=way_out(driver.job.name, driver.job.traits),
            place=driver.job.name,
        )
    sinks = [sink for sink in driver.job.sinks if name in (None, sink.sink) and sink.stored(value)]
    looks = look_at_sinks(driver, [sink.key for sink in sinks])
    repaired: list[str] = []
    failed: list[KeyturnError] = []
    for sink in sinks:
        try:
            repaired += [sink.key] if _given(driver, sink, looks[sink.key], current, value) else []
        except (RefusedError, StuckError) as error:
            failed.append(error)  # one failing place does not keep the others from being repaired
    if failed:
        raise not_all(driver, failed, f"repaired: {', '.join(repaired)}" if repaired else "")
    _forget_unconfigured(driver)
    return repaired


def _given(driver: Driver, sink: BoundSink, look: SinkLook, current: VersionState, value: Bundle) -> bool:
    """Whether this place needed it. One that owes an adopted version may have it already: a crash kept that unsaid."""
    needed = _promote(driver, sink, look, current, value)
    if needed or sink.key in driver.state.unserved:
        driver.append(ev.Repaired(version=current.id, target=sink.key))
    return needed


def _forget_unconfigured(driver: Driver) -> None:
    """A place that the configuration no longer names is not owed an adopted version."""
    gone = sorted(driver.state.unserved - driver.job.configured)
    if gone:
        driver.append(*(ev.Dropped(what=key, reason="no longer configured") for key in gone))


def not_all(driver: Driver, failed: Sequence[KeyturnError], did: str) -> KeyturnError:
    """What could not be done, as one error. Refused means that nothing was changed: it is not, once something was."""
    kind = StuckError if did or any(isinstance(error, StuckError) for error in failed) else RefusedError
    texts = [*([did] if did else []), *(error.message for error in failed)]
    return kind(failed[0].code, "; ".join(texts), hint=failed[0].hint, place=driver.job.name)


def _promote(driver: Driver, sink: BoundSink, look: SinkLook, current: VersionState, value: Bundle) -> bool:
    """Bring one place up to the current version; whether that was needed. Raises RefusedError over foreign values."""
    if look.found is None:
        problem = unseen(sink, look)
        raise RefusedError(problem.code, problem.text, hint=problem.hint, place=driver.job.name)
    held = look.found.current
    serving = driver.state.by_fingerprints(held.fingerprints, sink.fields) if held else None
    is_current = serving is not None and serving.id == current.id
    if held and held.version_id == current.id and is_current:
        return False
    if held and serving is None:
        text = f"{sink.key} serves a value that Keyturn did not write"
        raise _refused(driver, "sink-foreign", text, "move that value away by hand, then repair again")
    if look.foreign and not is_current:
        text = f"{sink.key} is written by another journal"
        raise _refused(
            driver, "sink-other-journal", text, "point the configuration at that journal, or at another place"
        )
    if look.ahead:
        problem = journal_behind(sink.key)
        raise _refused(driver, "journal-behind", problem.text, problem.hint)
    request = PromoteRequest(
        call=driver.sink_call(sink),
        version=SinkVersion(id=current.id, number=current.number),
        bundle=sink.stored(value),
        expects=held,
        keep_previous=sink.keep_previous,
        meta={"keyturn": "1"},
    )
    result = driver.ask([driver.ask_sink(sink, "promote", request)])[0]
    if not result.done:
        # Whether an answer that was lost changed something only looking again tells.
        kind = StuckError if result.outcome == "doubt" else RefusedError
        hint = result.hint or f"keyturn repair {driver.job.name}"
        raise kind("repair-failed", result.why, hint=hint, place=driver.job.name)
    driver.looks = driver.looks.changed()
    return True


def journal_behind(key: str) -> Problem:
    """What to do where the place `key` knows more than the journal."""
    return Problem(
        code="journal-behind",
        text=f"{key} was written by this journal later than all that it knows: it is an older copy",
        hint="point journal: at the newest copy; if that is lost: how-to/restore",
    )


def _refused(driver: Driver, code: str, message: str, hint: str) -> RefusedError:
    return RefusedError(code, message, hint=hint, place=driver.job.name)
