"""Taking over what exists: adopt a value as current, and bring sinks up to the current version (repair)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from keyturn.engine.bench import Bench
from keyturn.engine.custody import told
from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.decisions.looks import DECOY, SinkLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import holding
from keyturn.engine.effects.sinks import announced, look_at_sinks
from keyturn.engine.effects.vendor import look_at_vendor, probe
from keyturn.engine.entry import carry_on, claim_subject, given_up, refusal, refuse_in_flight, unpublished
from keyturn.engine.job import BoundSink, Job
from keyturn.engine.late import in_force, sealed
from keyturn.engine.operator import WAIT_S, quiet
from keyturn.engine.outcome import Outcome
from keyturn.engine.plan import way_out
from keyturn.engine.preflight import not_asked, resume_what_is_in_doubt, unseen
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.engine.serving import bring_up, journal_behind, not_all
from keyturn.engine.takeover import taken_over
from keyturn.errors import RefusedError, StuckError
from keyturn.mint import given
from keyturn.model import Problem, Revoke, Verdict, Version
from keyturn.plugins.provider import InspectResponse
from keyturn.plugins.sink import ReadRequest
from keyturn.secret import Bundle
from keyturn.steps import Step

PENDING_FOREIGN = frozenset({"pending-foreign", "sink-pending-foreign"})
"""What stops a rotation and no adoption: a lost journal may have left it, and nothing pending is touched."""

HEARS_LATE_S = 3600.0
"""How long an endpoint may refuse what the vendor has just made before that counts as a fault of the value."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Adoption:
    """Take over what is there: the value from a sink, the vendor, or `bundle`; `handle` is its name at the vendor.

    `from_escrow`: a version of ours that was given up and is in force all the same.
    """

    sink: str | None = None
    from_vendor: bool = False
    from_escrow: bool = False
    bundle: Bundle | None = None
    handle: str | None = None
    slot: str | None = None


def adopt(bench: Bench, job: Job, adoption: Adoption) -> Outcome:
    """Record an existing value as current, once it was seen accepted everywhere. Adoption never rotates.

    Over a current version only where issue ends the old one: then somebody else has ended it, and what the vendor
    holds is taken over and published. A rotation that is stuck because of that is given up by it. May be repeated.
    """
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        if driver.state.current and not (job.traits.dies_by_issue and adoption.sink is None):
            return _label(driver, f"version {driver.state.current.number} is current already")
        way = _given_up(driver)
        found = _vendor(driver)
        broken = tuple(problem for problem in found.problems if problem.fatal)
        if broken:
            raise refusal(job.name, broken)
        late = _given_up_in_force(driver, found) if adoption.from_escrow else None
        adoption = replace(adoption, handle=adoption.handle or late.handle, slot=late.slot) if late else adoption
        bundle = (driver.bundle(late.id) if late else None) or _value(driver, adoption, found)
        version_id = driver.new_id()
        driver.remember(version_id, bundle)
        adoption = _named(driver, adoption, version_id)
        looks = look_at_sinks(driver, [sink.key for sink in job.sinks])
        problems = [*_older_copy(driver, looks), *_put_back(driver, bundle), *_handle_problems(driver, adoption, found)]
        problems += _sink_problems(driver, bundle, looks)
        problems += _value_problems(driver, adoption, found, version_id)
        fatal = tuple(problem for problem in problems if problem.fatal)
        if fatal:
            raise refusal(job.name, fatal)
        known = _known_already(driver, bundle) if late is None else None
        if known:
            return known
        claim_subject(driver, found.subject)
        driver.keep(version_id, bundle)
        driver.append(*taken_over(driver, way, _adopted(driver, adoption, found, version_id), found.endpoints))
        return _published(driver)


def _adopted(driver: Driver, adoption: Adoption, found: InspectResponse, version_id: str) -> ev.Adopted:
    bundle = driver.bundle(version_id) or Bundle()
    by = "from the vendor" if adoption.from_vendor else "from the escrow" if adoption.from_escrow else "given"
    return ev.Adopted(
        version=version_id,
        number=driver.state.next_number,
        handle=adoption.handle or _only_name(driver, found),
        slot=adoption.slot,
        fingerprints=driver.fingerprints(bundle),
        expires_at=found.expires_at,
        how=f"from sink {adoption.sink}" if adoption.sink else by,
        sinks=tuple(sink.key for sink in driver.job.sinks if sink.stored(bundle)) if driver.state.current else (),
        tell=tuple(one.name for one in driver.job.consumers if one.announce) if driver.state.current else (),
        artefacts=driver.job.traits.wanted,
    )


def _only_name(driver: Driver, found: InspectResponse) -> str | None:
    """What the value is called at a vendor that holds one, and has one name for it."""
    names = {seen.handle for seen in found.seen}
    return names.pop() if driver.job.traits.live_max == 1 and len(names) == 1 else None


def _published(driver: Driver) -> Outcome:
    """Every place is given what was adopted just now."""
    olds = [v.number for v in driver.state.versions.values() if v.published and v is not driver.state.current]
    number = driver.state.current.number if driver.state.current else 1
    text = f"adopted as version {number}" + (f" in place of version {max(olds)}" if olds else "")
    try:
        return _label(driver, f"{text}; it is not rotated by that")
    except (RefusedError, StuckError) as error:
        raise not_all(driver, [error], f"{text}, but not every sink has it") from None


def _label(driver: Driver, text: str) -> Outcome:
    """Write the version's id into sinks that hold the value without it, an older one, or nothing; then tell of it."""
    bring_up(driver)
    deaf = announced(driver)
    said = f"{text}; not told: {'; '.join(deaf)}" if deaf else text
    done = Outcome(
        secret=driver.job.name, status="quiet", text=said, next=f"keyturn run {driver.job.name}" if deaf else ""
    )
    lacking = told(driver, done, "")
    return lacking if lacking.next else replace(done, next=f"keyturn plan {driver.job.name}")


# Over a current version, where somebody else's issue has ended it


def _given_up(driver: Driver) -> tuple[ev.Body, ...]:
    """How a rotation that is stuck unpublished ends. Raises RefusedError where it may go on."""
    way = given_up(driver) if unpublished(driver) else ()
    if not way:
        refuse_in_flight(driver)
    return way


def _given_up_in_force(driver: Driver, found: InspectResponse) -> VersionState:
    """The given-up version that the vendor accepts. Raises RefusedError where none is."""
    version = in_force(driver, found.endpoints, most=driver.job.traits.probes_max)
    if version:
        return version
    asked = ", ".join(str(one.number) for one in sealed(driver))
    raise RefusedError(
        "none-given-up-in-force",
        f"no version that was given up is accepted ({f'asked for: {asked}' if asked else 'the escrow holds none'})",
        hint=resume_what_is_in_doubt(driver) or f"keyturn check --online {driver.job.name}",
        place=driver.job.name,
    )


def _known_already(driver: Driver, bundle: Bundle) -> Outcome | None:
    """What is current, or under way, already: nothing is recorded anew."""
    state, name = driver.state, driver.job.name
    if unpublished(driver) and _has(driver, driver.to, bundle):
        return carry_on(driver)
    if state.current is None or not _has(driver, state.current, bundle):
        return None
    kept = driver.readable(state.current.id) or Bundle()
    driver.keep(state.current.id, kept.with_(_plain(driver, bundle)))  # it may have been lost all but at the vendor
    said = _label(driver, f"version {state.current.number} is current already, with this very value")
    return replace(said, next=f"keyturn resume {name}") if state.rotation and state.rotation.open else said


def _has(driver: Driver, version: VersionState, bundle: Bundle) -> bool:
    return driver.fingerprints(_plain(driver, bundle)).items() <= version.fingerprints.items()


def _plain(driver: Driver, bundle: Bundle) -> Bundle:
    """The value without what came out of issue beside it."""
    return bundle.only(name for name in bundle if name not in driver.job.traits.artefacts)


def _older_copy(driver: Driver, looks: Mapping[str, SinkLook]) -> Iterator[Problem]:
    """Whether a place shows that this journal is an older copy: what it does not know may be a version of its own.

    A secret that was renamed looks so too, and has no current version yet.
    """
    ahead = next((key for key, look in looks.items() if look.ahead), None)
    if ahead and driver.state.current:
        yield journal_behind(ahead)


def _put_back(driver: Driver, bundle: Bundle) -> Iterator[Problem]:
    """What one of our own later versions has replaced is not put back: whoever shows it has not heard of that yet."""
    state, name = driver.state, driver.job.name
    older = [v for v in state.versions.values() if v.published and v is not state.current and _has(driver, v, bundle)]
    if state.current and older and not _has(driver, state.current, bundle):
        yield Problem(
            code="version-replaced",
            text=f"this is the value of version {older[-1].number}, which version {state.current.number} replaced",
            hint=f"what the vendor shows may lag behind: keyturn check --online {name} later; "
            f"if version {state.current.number} stays refused: {way_out(name, driver.job.traits)}",
        )


# What is there


def _vendor(driver: Driver) -> InspectResponse:
    found = look_at_vendor(driver)
    if found is None:
        raise refusal(driver.job.name, (not_asked(driver),))
    return found


def _value(driver: Driver, adoption: Adoption, found: InspectResponse) -> Bundle:
    """The value to adopt, whole. Fields whose value is fixed need not be given."""
    read = found.bundle if adoption.from_vendor else adoption.bundle
    bundle = _read_sinks(driver, adoption.sink) if adoption.sink else read or Bundle()
    fixed = {name: text for name, text in given(driver.job.traits, None).items() if name not in bundle}
    wanted = {field.name for field in driver.job.traits.fields if not field.artefact}
    missing = sorted(wanted - set(bundle) - set(fixed))
    if missing:
        raise RefusedError(
            "adopt-incomplete",
            f"no value was found for {', '.join(missing)}",
            hint=_instead(driver, adoption),
            place=driver.job.name,
        )
    return _with_artefacts(driver, Bundle(fixed).with_(bundle))


def _with_artefacts(driver: Driver, bundle: Bundle) -> Bundle:
    """The value with those artefacts that are where they are kept, unless they came out of another version of ours."""
    stored = _read_sinks(driver, None, artefacts=True)
    known = {one for version in driver.state.versions.values() for one in version.fingerprints.values()}
    prints = driver.fingerprints(stored)
    return bundle.with_(stored.only(n for n, one in prints.items() if n not in bundle and one not in known))


def _instead(driver: Driver, adoption: Adoption) -> str:
    vendor = driver.looks.vendor
    nothing_there = vendor is None or not vendor.seen
    if adoption.from_vendor and driver.job.traits.dies_by_issue and driver.state.current is None and nothing_there:
        return f"if the vendor holds none yet: keyturn rotate {driver.job.name} --first"
    if adoption.from_vendor and driver.job.traits.own_expiry:
        return f"keyturn rotate {driver.job.name} --first"
    hidden = "the vendor does not show it (any more): " if adoption.from_vendor and not nothing_there else ""
    return f"{hidden}name a sink that holds all fields, or give them with --from-stdin"


def _read_sinks(driver: Driver, name: str | None, *, artefacts: bool = False) -> Bundle:
    bundle = Bundle()
    for sink in driver.job.sinks:
        if name not in (None, sink.sink) or sink.artefact is not artefacts:
            continue
        result = driver.ask([driver.ask_sink(sink, "read", ReadRequest(call=driver.sink_call(sink)))])[0]
        stored: Bundle = (result.answer.bundle if result.done else None) or Bundle()
        bundle = bundle.with_({sink.fields[field]: value for field, value in stored.items() if field in sink.fields})
    return bundle


def _named(driver: Driver, adoption: Adoption, version_id: str) -> Adoption:
    """With the name and the slot of the value at the vendor, where the vendor tells them by the value itself.

    Raises RefusedError `handle-differs` where that is another name than the operator's: retiring goes by it. What is
    never retired by itself has the vendor's name, whatever was typed.
    """
    retired = driver.job.traits.revoke is not Revoke.NONE
    if not retired and adoption.handle is None:
        return adoption
    value = Version(id=version_id, number=driver.state.next_number, bundle=driver.bundle(version_id) or Bundle())
    found = look_at_vendor(driver, adopting=value)
    if found is None or found.named is None:
        return adoption
    if retired and adoption.handle not in (None, found.named):
        raise RefusedError(
            "handle-differs",
            f"at the vendor this value is {found.named}, not {adoption.handle}",
            hint="leave out --handle, or give the value that it names",
            place=driver.job.name,
        )
    slot = next((seen.slot for seen in found.seen if seen.handle == found.named), None)
    if slot and adoption.slot not in (None, slot):
        raise RefusedError(
            "handle-differs",
            f"at the vendor this value is in the slot {slot}, not in {adoption.slot}",
            hint="leave out --slot: the next version goes into the other one",
            place=driver.job.name,
        )
    return replace(adoption, handle=found.named, slot=slot or adoption.slot)


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
    slots = [slot.name for slot in driver.job.traits.slots]
    if slots and adoption.slot not in slots:
        what = f"is not {adoption.slot}" if adoption.slot else "can not be told: the vendor has none with this value"
        hint = f"give a value that the vendor has, or add --slot NAME, one of {', '.join(slots)}"
        return [Problem(code="slot-needed", text=f"the slot that this value is in {what}", hint=hint)]
    return []


def _sink_problems(driver: Driver, bundle: Bundle, looks: Mapping[str, SinkLook]) -> list[Problem]:
    problems = []
    for sink in driver.job.sinks:
        look, stored = looks[sink.key], driver.fingerprints(sink.stored(bundle))
        if look.found is None and driver.state.current is None:
            problems.append(unseen(sink, look))  # else it is given the value later: the old one is dead already
        elif look.found and look.found.current and not _replaceable(driver, sink, look, stored):
            text = f"{sink.key} serves another value than the one to adopt"
            problems.append(Problem(code="sink-differs", text=text, hint="clear that place, or adopt what it serves"))
        found = look.found.problems if look.found else ()
        wrong = [one for one in found if one.fatal and one.code not in PENDING_FOREIGN]
        problems += [replace(one, text=f"{sink.key}: {one.text}") for one in wrong]
    return problems


def _replaceable(driver: Driver, sink: BoundSink, look: SinkLook, stored: Mapping[str, str]) -> bool:
    """Whether a place serves the value to adopt, or one of ours that it takes the place of."""
    held = look.found.current if look.found else None
    if held is None or dict(held.fingerprints) == stored:
        return True
    ours = driver.state.by_fingerprints(held.fingerprints, sink.fields) is not None
    return driver.state.current is not None and ours and not (look.foreign or look.ahead)


def _value_problems(driver: Driver, adoption: Adoption, found: InspectResponse, version_id: str) -> list[Problem]:
    ids = [version_id, *([DECOY] if driver.job.traits.decoy else [])]
    probe(driver, ProbeNow(pairs=tuple((id_, endpoint) for endpoint in found.endpoints for id_ in ids)))
    problems = _differs(driver, found, version_id)
    for endpoint in found.endpoints:
        seen = driver.looks.probes[version_id, endpoint]
        if seen.verdict is not Verdict.ACCEPTED:
            said = "refused" if seen.verdict is Verdict.REFUSED else "not shown to be accepted"
            hint = _other_way(driver, adoption, seen.verdict, version_id)
            text = f"the value is {said} at {endpoint}{f': {seen.evidence}' if seen.evidence else ''}"
            problems.append(Problem(code="value-not-accepted", text=text, hint=hint))
        decoy = driver.looks.probes.get((DECOY, endpoint))
        if decoy and decoy.verdict is Verdict.ACCEPTED:
            hint = "authentication seems to be off there; turn it on first"
            problems.append(Problem(code="decoy-accepted", text=f"{endpoint} accepts a made-up value", hint=hint))
    return problems


def _differs(driver: Driver, found: InspectResponse, version_id: str) -> list[Problem]:
    """Where the vendor shows its one value, no other one is adopted: it would be dead, or die soon."""
    bundle = driver.bundle(version_id) or Bundle()
    held = driver.fingerprints((found.bundle or Bundle()).only(bundle))
    if not driver.job.traits.dies_by_issue or held.items() <= driver.fingerprints(bundle).items():
        return []
    hint = f"keyturn adopt {driver.job.name} --from-vendor"
    return [Problem(code="vendor-differs", text="the vendor holds another value than this one", hint=hint)]


def _other_way(driver: Driver, adoption: Adoption, verdict: Verdict, version_id: str) -> str:
    """What to do where the value is not accepted: one that the vendor itself holds can only be replaced."""
    if not adoption.from_vendor or verdict is not Verdict.REFUSED:
        return "adopt the value that the vendor accepts"
    bundle = driver.bundle(version_id) or Bundle()
    if _just_issued(driver, bundle):
        return f"keyturn resume {driver.job.name}"
    if driver.state.current is None:
        return f"keyturn rotate {driver.job.name} --first --force --reason TEXT"
    ours = driver.state.knows(driver.fingerprints(bundle))
    return way_out(driver.job.name, driver.job.traits, *([] if ours else ["--force"]))


def _just_issued(driver: Driver, bundle: Bundle) -> bool:
    """Whether it is the value of a rotation in flight that no endpoint may have heard of yet."""
    rotation = driver.state.rotation
    if rotation is None or not rotation.open or rotation.issued_at is None or Step.VERIFY in rotation.done:
        return False
    return _has(driver, driver.to, bundle) and driver.now() < rotation.issued_at + HEARS_LATE_S


def repair(bench: Bench, job: Job, *, sink: str | None = None) -> Outcome:
    """Copy the journal's current version into sinks that are empty or older and ours; never over a foreign value."""
    with holding(bench, job.name, wait_s=WAIT_S) as held:
        driver = Driver(bench, job, held)
        if driver.state.current is None:
            raise RefusedError(
                "unmanaged", "there is no current version yet", hint=f"keyturn adopt {job.name}", place=job.name
            )
        repaired = bring_up(driver, name=sink)
        outcome = carry_on(driver)
        said = f"repaired: {', '.join(repaired)}" if repaired else "every sink serves the current version"
        return outcome if outcome.status != "quiet" else quiet(job, said, f"keyturn status {job.name}")
