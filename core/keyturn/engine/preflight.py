"""Preflight: look at vendor and sinks, change nothing, and judge whether a rotation may begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.decisions.looks import DECOY, SinkLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.sinks import look_at_sinks
from keyturn.engine.effects.vendor import look_at_vendor, probe, shown_by
from keyturn.engine.job import BoundSink
from keyturn.engine.late import judge_given_up
from keyturn.engine.plan import Plan, way_back_to, way_out
from keyturn.engine.record.frozen import Frozen, FrozenSink
from keyturn.engine.record.receipt import artefact_next, unheard
from keyturn.engine.record.state import SecretState, VersionState
from keyturn.model import Mode, Problem, Verdict
from keyturn.plugins.provider import InspectResponse
from keyturn.plugins.sink import Held, ReadRequest
from keyturn.secret import Bundle


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What preflight saw. `value` is the current bundle, where a sink or the escrow has it.

    `excused` are endpoints that do not have to accept that one.
    """

    vendor: InspectResponse | None
    sinks: Mapping[str, SinkLook]
    value: Bundle | None
    problems: tuple[Problem, ...]
    excused: frozenset[str] = frozenset()

    @property
    def fatal(self) -> tuple[Problem, ...]:
        """What refuses the rotation."""
        return tuple(problem for problem in self.problems if problem.fatal)


def preflight(driver: Driver, mode: Mode, *, knowing: bool = False) -> Findings:
    """Look, and judge. Nothing is changed. `knowing`: a value at the vendor that is not ours may be ended."""
    vendor = look_at_vendor(driver, mode=mode, knowing=knowing)
    if vendor is None:
        return Findings(vendor=None, sinks={}, value=None, problems=(not_asked(driver),))
    sinks = look_at_sinks(driver, [sink.key for sink in driver.job.sinks])
    value = current_value(driver)
    current = driver.state.current
    if current and value:
        driver.remember(current.id, value)
    foreign = [*judge_vendor_value(driver, vendor, mode, knowing=knowing)]
    problems = [
        *vendor.problems,
        *judge_source(driver.source_state),
        *foreign,
        *_skew(driver, vendor, sinks),
        *judge_sinks(driver.state, driver.job.sinks, sinks, driver.bench.journal.id, mode),
    ]
    if not any(problem.fatal for problem in vendor.problems):
        # Where the vendor itself has a problem, its endpoints would only say the same once more.
        # Nor does it help to hear that ours is refused where somebody else put another one in its place.
        asked = current if value and not foreign else None
        _probe_controls(driver, vendor, asked)
        problems += _in_force(driver, vendor, value, mode, knowing=knowing) if not foreign else []
        problems += _decoy(driver, vendor)
    problems.sort(key=lambda one: one.code != "journal-behind")  # an older copy takes its own versions for another's
    return Findings(
        vendor=vendor, sinks=sinks, value=value, problems=tuple(problems), excused=_excused(driver, knowing=knowing)
    )


def _in_force(
    driver: Driver, vendor: InspectResponse, value: Bundle | None, mode: Mode, *, knowing: bool
) -> list[Problem]:
    late = judge_given_up(driver, vendor, value, mode, knowing=knowing)
    return [late] if late else [*judge_current(driver, vendor, value, mode, knowing=knowing)]


REFUSED_SOURCE = frozenset({"rotated-outside", "current-refused", "given-up-in-force"})
"""Problems of a secret that make it useless to derive anything from it: the vendor would refuse it each time."""


def judge_source(source: SecretState | None) -> Iterable[Problem]:
    """Nothing is derived from a secret of which the last look showed that the vendor refuses it."""
    for one in source.problems if source else ():
        if source and one["fatal"] and one["code"] in REFUSED_SOURCE:
            text = f"it is derived from {source.secret}, and {one['text']}"
            yield Problem(code="source-refused", text=text, hint=str(one["hint"]))


UNASKED = {
    "reference-unresolved": "make available what it names (variable, file, command, sink), or correct the reference",
    "ca-unusable": "let ca of the account name a PEM file that nobody else may write to, or leave it out",
    "http-429": "wait as long as it says, then try again",
}
"""What to do where a plugin has no better advice."""


def not_asked(driver: Driver) -> Problem:
    """Why the vendor could not be inspected at all."""
    look = driver.looks.vendor
    if look is None:
        return Problem(code="vendor-unreachable", text="the vendor was not asked", hint="keyturn check --online")
    stands = bool(look.hint) or look.code == "reference-unresolved"
    return Problem(
        code=look.code if stands else "vendor-unreachable",
        text=look.error,
        hint=look.hint or UNASKED.get(look.code, "check address, credentials and network"),
    )


def current_value(driver: Driver) -> Bundle | None:
    """The current version's value: from the escrow, or put together from what sinks serve, told by fingerprint."""
    current = driver.state.current
    if current is None:
        return None
    return driver.readable(current.id) or _from_sinks(driver, current)


def _from_sinks(driver: Driver, current: VersionState) -> Bundle | None:
    found: dict[str, str] = {}
    for sink in driver.job.sinks:
        result = driver.ask([driver.ask_sink(sink, "read", ReadRequest(call=driver.sink_call(sink)))])[0]
        stored: Bundle | None = result.answer.bundle if result.done else None
        for name, secret in (stored or Bundle()).items():
            source = sink.fields.get(name)
            if source and current.fingerprints.get(source) == driver.bench.escrow.fingerprint(secret.reveal()):
                found[source] = secret.reveal()
    whole = set(current.fingerprints) - set(driver.job.traits.artefacts)
    return Bundle(found) if found and set(found) >= whole else None


def _probe_controls(driver: Driver, vendor: InspectResponse, current: VersionState | None) -> None:
    ids = [*([current.id] if current else []), *([DECOY] if driver.job.traits.decoy else [])]
    probe(driver, ProbeNow(pairs=tuple((id_, endpoint) for endpoint in vendor.endpoints for id_ in ids)))


def _skew(driver: Driver, vendor: InspectResponse, sinks: Mapping[str, SinkLook]) -> Iterable[Problem]:
    clocks = {"the vendor": vendor.vendor_now}
    clocks |= {key: look.found.sink_now for key, look in sinks.items() if look.found}
    for who, at in clocks.items():
        off_s = abs(driver.now() - at) if at else 0.0
        if off_s > driver.bench.limits.skew_s:
            yield Problem(
                code="clock-skew",
                text=f"the clock of {who} is {off_s:.0f} s off ours",
                hint="set the clocks right (NTP) before rotating",
            )


def unseen(sink: BoundSink, look: SinkLook) -> Problem:
    """Why a place could not be looked at."""
    hint = look.hint or f"make {sink.sink} reachable and writable for this user, then try again"
    return Problem(code=look.code or "sink-unreachable", text=f"{sink.key}: {look.error}", hint=hint)


def judge_sinks(
    state: SecretState, bound: Iterable[BoundSink], sinks: Mapping[str, SinkLook], journal_id: str, mode: Mode
) -> Iterable[Problem]:
    """Sinks must hold nothing foreign: the current version, or nothing.

    What is wrong with the place of an artefact does not keep anybody from an emergency exit.
    """
    for sink in bound:
        excused = sink.artefact and mode is Mode.BREAK_GLASS
        for problem in _judge_sink(state, sink, sinks[sink.key], journal_id, mode):
            yield replace(problem, fatal=False) if excused else problem
    yield from _lacking(state)


def _judge_sink(state: SecretState, sink: BoundSink, look: SinkLook, journal_id: str, mode: Mode) -> Iterable[Problem]:
    if look.found is None:
        yield unseen(sink, look)
        return
    yield from (replace(problem, text=f"{sink.key}: {problem.text}") for problem in look.found.problems)
    held = look.found.current
    pending = look.found.pending
    known = any(problem.code == "sink-pending-foreign" for problem in look.found.problems)
    if pending and pending.journal_id not in (None, journal_id) and not known:
        text = f"{sink.key} holds a pending version of another journal"
        hint = "let that rotation end, or clear its pending version by hand"
        yield Problem(code="sink-pending-foreign", text=text, hint=hint)
    if held is None and state.current and not sink.artefact:
        text = f"{sink.key} serves nothing, though version {state.current.number} is current"
        yield Problem(code="sink-empty", text=text, fatal=False, hint=f"keyturn repair {state.secret}")
    if sink.artefact:
        yield from _stored(state, sink, held)
    if held is None:
        return
    if look.foreign:
        yield Problem(
            code="sink-other-journal",
            text=f"{sink.key} is written by another journal ({held.journal_id})",
            hint="point the configuration at that journal; if it is lost, adopt the value into this one",
        )
        return
    if look.ahead:
        yield Problem(
            code="journal-behind",
            text=f"{sink.key} serves version {held.number}, written by this journal later than all that it knows: "
            "it is an older copy",
            hint="point journal: at the newest copy; if that is lost: how-to/restore",
        )
        return
    yield from _serving(state, sink, state.by_fingerprints(held.fingerprints, sink.fields), mode)


def _stored(state: SecretState, sink: BoundSink, held: Held | None) -> Iterable[Problem]:
    """Whether the place has the artefact of the current version, where we ever had it."""
    current, names = state.current, sink.fields.values()
    if current is None or any(name not in current.fingerprints for name in names):
        return
    if held is None or dict(held.fingerprints) != {
        key: current.fingerprints[name] for key, name in sink.fields.items()
    }:
        text = f"{sink.key} does not have the {' and '.join(names)} of version {current.number}"
        yield Problem(code="artefact-not-stored", text=text, fatal=False, hint=f"keyturn repair {state.secret}")


def _lacking(state: SecretState) -> Iterable[Problem]:
    """What belongs to the current version and never reached us."""
    for name in state.current.lacks if state.current else ():
        number = state.current.number if state.current else 0
        text = f"version {number} has no {name}: without it the secret can not be recovered once it is lost"
        yield Problem(code="artefact-missing", text=text, fatal=False, hint=artefact_next(state.secret, name))


def _serving(state: SecretState, sink: BoundSink, ours: VersionState | None, mode: Mode) -> Iterable[Problem]:
    if mode is Mode.FIRST or ours is None:
        yield Problem(
            code="sink-foreign",
            text=f"{sink.key} serves a value that Keyturn did not write",
            hint=f"move that value away, then: keyturn repair {state.secret}"
            if state.current
            else f"keyturn adopt {state.secret} --from-sink {sink.sink}, or clear the place",
        )
    elif sink.artefact:
        return  # one that stayed behind stays the last one stored, until the current one is
    elif ours and state.current and ours.id != state.current.id and mode in (Mode.NORMAL, Mode.FIRST):
        yield Problem(
            code="sink-behind",
            text=f"{sink.key} serves version {ours.number}, not {state.current.number}",
            hint=f"keyturn repair {state.secret}",
        )


def judge_vendor_value(
    driver: Driver, vendor: InspectResponse, mode: Mode, *, knowing: bool = False
) -> Iterable[Problem]:
    """Where the vendor shows its value: is it one of ours, and may issue end it.

    Somebody who resets it elsewhere uses what he got: ending that is never done silently. So a first rotation is
    refused where there is a value already, and any other one where the value is not ours. `--current-dead` says only
    that *ours* is dead, so it is refused too. `knowing` goes on, told and recorded: after `--force`, or for a
    compromised secret, which an attacker may have reset.
    """
    traits, current, name = driver.job.traits, driver.state.current, driver.job.name
    shown = shown_by(traits, vendor)
    if not shown:
        return
    if current is None and mode is Mode.FIRST and traits.dies_by_issue:
        yield Problem(
            code="vendor-has-one",
            text="the vendor holds a value already, and making another one would end it",
            fatal=not knowing,
            hint=f"keyturn adopt {name} --from-vendor; if nobody uses it: "
            f"keyturn rotate {name} --first --force --reason TEXT",
        )
    judged = (Mode.NORMAL, Mode.CURRENT_DEAD) if traits.dies_by_issue else (Mode.NORMAL,)
    if current and mode in judged and not driver.state.knows(driver.fingerprints(shown)):
        adopts = f"keyturn adopt {name} --from-vendor"
        yield Problem(
            code="rotated-outside",
            text=f"the vendor holds another secret than version {current.number}: somebody else rotated it",
            fatal=not knowing,
            hint=adopts if traits.dies_by_issue else way_out(name, traits),
        )


def judge_current(
    driver: Driver, vendor: InspectResponse, value: Bundle | None, mode: Mode, *, knowing: bool = False
) -> Iterable[Problem]:
    """In a normal rotation the current value must be known, and accepted at every endpoint now; in a recovery not.

    Only told where each version ends by its own expiry: making another one touches nothing, and is what helps.
    """
    current, fatal = driver.state.current, not driver.job.traits.own_expiry
    if current and value and mode is Mode.BREAK_GLASS and not knowing:
        yield from _still_good(driver, vendor, current)
    if current is None or mode not in (Mode.NORMAL, Mode.ROLLBACK):
        return
    dead, excused = way_out(driver.job.name, driver.job.traits), _excused(driver, knowing=knowing)
    if value is None:
        yield Problem(
            code="current-value-unknown",
            text=f"no sink and no escrow holds version {current.number}",
            fatal=fatal,
            hint=f"put it back into a sink, or: {dead}",
        )
        return
    for endpoint in vendor.endpoints:
        look = driver.looks.probes[current.id, endpoint]
        if look.verdict is Verdict.REFUSED:
            text = f"version {current.number} is refused at {endpoint}"
            # A vendor that shows this very value and refuses it (it expired) has nothing else to be made right.
            hint = dead if vendor.bundle else f"make it accepted there again, or: {dead}"
            older = driver.state.fallback if mode is Mode.NORMAL else None
            hint = f"{way_back_to(driver.state, older)}; or {hint}" if older else hint
            hint = resume_what_is_in_doubt(driver) or hint
            yield Problem(code="current-refused", text=text, fatal=fatal and endpoint not in excused, hint=hint)
        elif look.verdict is Verdict.UNKNOWN:
            text = f"{endpoint} does not say whether it accepts version {current.number}: {look.evidence}"
            hint = "do what it says, or check that endpoint; then try again"
            if endpoint in _excused(driver, knowing=True):
                rotates = f"keyturn rotate {driver.job.name} --compromised --reason TEXT"
                hint += f"; where the secret is known to others: {rotates}"
            yield Problem(code="endpoint-silent", text=text, fatal=fatal and endpoint not in excused, hint=hint)


def _excused(driver: Driver, *, knowing: bool) -> frozenset[str]:
    """Endpoints that hold nobody up, while another one accepts the current version.

    Those that never heard of it: the next one is theirs too, as soon as they are synchronised. And, where an operator
    said that the secret is known to others, those that are silent: it is used elsewhere meanwhile.
    """
    current = driver.state.current
    seen = {e: look.verdict for (id_, e), look in driver.looks.probes.items() if current and id_ == current.id}
    accepting = {e for e, verdict in seen.items() if verdict is Verdict.ACCEPTED}
    silent = {e for e, verdict in seen.items() if verdict is Verdict.UNKNOWN and knowing}
    return (unheard(driver.state) | silent) - accepting if accepting else frozenset()


def resume_what_is_in_doubt(driver: Driver) -> str:
    """What to type where the rotation in flight may have taken effect, or what a person was shown; else empty."""
    rotation = driver.state.rotation
    if rotation is None or not rotation.open or not any(one.in_doubt for one in rotation.attempts):
        return ""
    return f"keyturn resume {driver.job.name}, since version {driver.to.number} may be in force"


def _still_good(driver: Driver, vendor: InspectResponse, current: VersionState) -> Iterable[Problem]:
    """Who has a value that is accepted rotates: that needs no artefact, and can be undone."""
    if Verdict.ACCEPTED in [driver.looks.probes[current.id, endpoint].verdict for endpoint in vendor.endpoints]:
        text = f"version {current.number} is accepted: a rotation does not use up what a reset is made by"
        hint = f"keyturn rotate {driver.job.name}; if it has to be: add --force, or --compromised"
        yield Problem(code="current-accepted", text=text, hint=hint)


def _decoy(driver: Driver, vendor: InspectResponse) -> Iterable[Problem]:
    for endpoint in vendor.endpoints if driver.job.traits.decoy else ():
        if driver.looks.probes[DECOY, endpoint].verdict is Verdict.ACCEPTED:
            yield Problem(
                code="decoy-accepted",
                text=f"{endpoint} accepts a made-up value, so nothing it says proves anything",
                hint="authentication seems to be off there; turn it on first",
            )


def freeze(plan: Plan, findings: Findings) -> Frozen:
    """The plan with what preflight found: endpoints, and which places are still empty."""
    endpoints = findings.vendor.endpoints if findings.vendor else ()

    def with_empty(sink: FrozenSink) -> FrozenSink:
        found = findings.sinks[sink.key].found
        return replace(sink, empty=found is None or found.current is None)

    excused = tuple(endpoint for endpoint in endpoints if endpoint in findings.excused)
    return replace(
        plan.frozen, endpoints=endpoints, excused=excused, sinks=tuple(with_empty(sink) for sink in plan.frozen.sinks)
    )
