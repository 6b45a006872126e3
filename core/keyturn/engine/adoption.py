"""Taking over what exists: adopt a value as current, and bring sinks up to the current version (repair)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keyturn.engine.bench import Bench
from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.decisions.looks import DECOY, SinkLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import holding
from keyturn.engine.effects.sinks import look_at_sinks
from keyturn.engine.effects.vendor import look_at_vendor, probe
from keyturn.engine.entry import carry_on, claim_subject, refusal, refuse_in_flight
from keyturn.engine.job import BoundSink, Job
from keyturn.engine.loop import Outcome
from keyturn.engine.operator import WAIT_S, quiet
from keyturn.engine.preflight import current_value, not_asked, unseen
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.errors import KeyturnError, RefusedError, StuckError
from keyturn.model import Problem, Revoke, Verdict
from keyturn.plugins.provider import InspectRequest, InspectResponse
from keyturn.plugins.sink import PromoteRequest, ReadRequest, SinkVersion
from keyturn.secret import Bundle

PENDING_FOREIGN = frozenset({"pending-foreign", "sink-pending-foreign"})
"""What stops a rotation and no adoption: a lost journal may have left it, and nothing pending is touched."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adoption:
    """Take over what is there: the value from a sink, the vendor, or `bundle`; `handle` is its name at the vendor."""

    sink: str | None = None
    from_vendor: bool = False
    bundle: Bundle | None = None
    handle: str | None = None
    slot: str | None = None


def adopt(bench: Bench, job: Job, adoption: Adoption) -> Outcome:
    """Record an existing value as current, once it was seen accepted everywhere. Adoption never rotates."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        if driver.state.current:
            return _label(driver, f"version {driver.state.current.number} is current already")
        refuse_in_flight(driver)
        found = _vendor(driver)
        bundle = _value(driver, adoption)
        version_id = driver.new_id()
        driver.remember(version_id, bundle)
        looks = look_at_sinks(driver, [sink.key for sink in job.sinks])
        problems = [*_handle_problems(driver, adoption, found), *_sink_problems(driver, bundle, looks)]
        problems += _value_problems(driver, found, version_id)
        fatal = [problem for problem in (*found.problems, *problems) if problem.fatal]
        if fatal:
            raise refusal(job.name, tuple(fatal))
        claim_subject(driver, found.subject)
        driver.keep(version_id, bundle)
        driver.append(
            ev.Adopted(
                version=version_id,
                number=driver.state.next_number,
                handle=adoption.handle,
                slot=adoption.slot,
                fingerprints=driver.fingerprints(bundle),
                expires_at=found.expires_at,
                how=f"from sink {adoption.sink}"
                if adoption.sink
                else "from the vendor"
                if adoption.from_vendor
                else "given",
            )
        )
        number = driver.state.current.number if driver.state.current else 1
        try:
            return _label(driver, f"adopted as version {number}; it is not rotated by that")
        except (RefusedError, StuckError) as error:
            raise _not_all(driver, [error], f"adopted as version {number}, but not every sink has it") from None


def _label(driver: Driver, text: str) -> Outcome:
    """Write the version's id into sinks that hold the value without it, or nothing."""
    _bring_up(driver)
    return quiet(driver.job, text, f"keyturn plan {driver.job.name}")


def _vendor(driver: Driver) -> InspectResponse:
    found = look_at_vendor(driver)
    if found is None:
        raise refusal(driver.job.name, (not_asked(driver),))
    return found


def _value(driver: Driver, adoption: Adoption) -> Bundle:
    if adoption.bundle is not None:
        return adoption.bundle
    bundle = _read_vendor(driver) if adoption.from_vendor else _read_sinks(driver, adoption.sink)
    wanted = {field.name for field in driver.job.traits.fields if not field.artefact}
    missing = sorted(wanted - set(bundle))
    if missing:
        raise RefusedError(
            "adopt-incomplete",
            f"no value was found for {', '.join(missing)}",
            hint="name a sink that holds all fields, or give them with --from-stdin",
            place=driver.job.name,
        )
    return bundle


def _read_vendor(driver: Driver) -> Bundle:
    within_s = driver.bench.limits.call_s
    request = InspectRequest(call=driver.call(within_s=within_s), want_value=True)
    result = driver.ask([driver.ask_provider("inspect", request, within_s)])[0]
    return (result.answer.bundle if result.done else None) or Bundle()


def _read_sinks(driver: Driver, name: str | None) -> Bundle:
    bundle = Bundle()
    for sink in driver.job.sinks:
        if name not in (None, sink.sink):
            continue
        result = driver.ask([driver.ask_sink(sink, "read", ReadRequest(call=driver.sink_call(sink)))])[0]
        stored: Bundle = (result.answer.bundle if result.done else None) or Bundle()
        bundle = bundle.with_({sink.fields[field]: value for field, value in stored.items() if field in sink.fields})
    return bundle


def _handle_problems(driver: Driver, adoption: Adoption, found: InspectResponse) -> list[Problem]:
    if driver.job.traits.revoke is Revoke.NONE:
        return []
    enabled = [seen.handle for seen in found.seen if seen.enabled]
    if adoption.handle is None or (enabled and adoption.handle not in enabled):
        what = "is needed" if adoption.handle is None else f"is not {adoption.handle!r}: that one is not there"
        return [
            Problem(
                code="handle-needed",
                text=f"the name of this value at the vendor {what}",
                hint=f"add --handle NAME; the vendor accepts: {', '.join(enabled) or 'none'}",
            )
        ]
    return []


def _sink_problems(driver: Driver, bundle: Bundle, looks: Mapping[str, SinkLook]) -> list[Problem]:
    problems = []
    for sink in driver.job.sinks:
        look = looks[sink.key]
        if look.found is None:
            problems.append(unseen(sink, look))
        elif look.found.current and dict(look.found.current.fingerprints) != driver.fingerprints(sink.stored(bundle)):
            text = f"{sink.key} serves another value than the one to adopt"
            problems.append(Problem(code="sink-differs", text=text, hint="clear that place, or adopt what it serves"))
        found = look.found.problems if look.found else ()
        wrong = [one for one in found if one.fatal and one.code not in PENDING_FOREIGN]
        problems += [replace(one, text=f"{sink.key}: {one.text}") for one in wrong]
    return problems


def _value_problems(driver: Driver, found: InspectResponse, version_id: str) -> list[Problem]:
    ids = [version_id, *([DECOY] if driver.job.traits.decoy else [])]
    probe(driver, ProbeNow(pairs=tuple((id_, endpoint) for endpoint in found.endpoints for id_ in ids)))
    problems = []
    for endpoint in found.endpoints:
        verdict = driver.looks.probes[version_id, endpoint].verdict
        if verdict is not Verdict.ACCEPTED:
            said = "refused" if verdict is Verdict.REFUSED else "not shown to be accepted"
            hint = "adopt the value that the vendor accepts"
            problems.append(Problem(code="value-not-accepted", text=f"the value is {said} at {endpoint}", hint=hint))
        decoy = driver.looks.probes.get((DECOY, endpoint))
        if decoy and decoy.verdict is Verdict.ACCEPTED:
            hint = "authentication seems to be off there; turn it on first"
            problems.append(Problem(code="decoy-accepted", text=f"{endpoint} accepts a made-up value", hint=hint))
    return problems


def repair(bench: Bench, job: Job, *, sink: str | None = None) -> Outcome:
    """Copy the journal's current version into sinks that are empty or older and ours; never over a foreign value."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        if driver.state.current is None:
            raise RefusedError(
                "unmanaged", "there is no current version yet", hint=f"keyturn adopt {job.name}", place=job.name
            )
        repaired = _bring_up(driver, name=sink)
        outcome = carry_on(driver)
        said = f"repaired: {', '.join(repaired)}" if repaired else "every sink serves the current version"
        return outcome if outcome.status != "quiet" else quiet(job, said, f"keyturn status {job.name}")


def _bring_up(driver: Driver, *, name: str | None = None) -> list[str]:
    current = driver.state.current
    value = current_value(driver)
    if current is None or value is None:
        raise RefusedError(
            "current-value-unknown",
            "no sink and no escrow holds the current version",
            hint=f"keyturn rotate {driver.job.name} --current-dead --reason TEXT",
            place=driver.job.name,
        )
    sinks = [sink for sink in driver.job.sinks if name in (None, sink.sink) and sink.stored(value)]
    looks = look_at_sinks(driver, [sink.key for sink in sinks])
    repaired: list[str] = []
    failed: list[KeyturnError] = []
    for sink in sinks:
        try:
            repaired += [sink.key] if _promote(driver, sink, looks[sink.key], current, value) else []
        except (RefusedError, StuckError) as error:
            failed.append(error)  # one failing place does not keep the others from being repaired
    if failed:
        raise _not_all(driver, failed, f"repaired: {', '.join(repaired)}" if repaired else "")
    return repaired


def _not_all(driver: Driver, failed: Sequence[KeyturnError], did: str) -> KeyturnError:
    """What could not be done, as one error. Refused means that nothing was changed: it is not, once something was."""
    kind = StuckError if did or any(isinstance(error, StuckError) for error in failed) else RefusedError
    texts = [*([did] if did else []), *(error.message for error in failed)]
    return kind(failed[0].code, "; ".join(texts), hint=failed[0].hint, place=driver.job.name)


def _promote(driver: Driver, sink: BoundSink, look: SinkLook, current: VersionState, value: Bundle) -> bool:
    """Bring one place up to the current version; whether that was needed. Raises RefusedError over foreign values."""
    if look.found is None:
        raise refusal(driver.job.name, (unseen(sink, look),))
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
        text = f"{sink.key} was written by this journal later than all that it knows: it is an older copy"
        raise _refused(
            driver, "journal-behind", text, "point journal: at the newest copy; if that is lost: how-to/restore"
        )
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
    driver.append(ev.Repaired(version=current.id, target=sink.key))
    return True


def _refused(driver: Driver, code: str, message: str, hint: str) -> RefusedError:
    return RefusedError(code, message, hint=hint, place=driver.job.name)
