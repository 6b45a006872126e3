"""Effects at the vendor: inspect, issue, settle, probe, retire. Record, call, record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from keyturn.engine.decisions.actions import ProbeNow, RetireNow
from keyturn.engine.decisions.attending import to_upload
from keyturn.engine.decisions.looks import DECOY, ProbeLook, SettleLook, VendorLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.proof import has_proof
from keyturn.engine.fence import Result
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import AttemptState, VersionState
from keyturn.mint import decoy, given, ours
from keyturn.model import Half, Maker, Mode, Settled, Traits, Verdict, Version
from keyturn.plugins.provider import (
    Attempt,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    MakeRequest,
    ProbeRequest,
    ResetRequest,
    RetireRequest,
    SettleRequest,
    SettleResponse,
    Waiting,
)
from keyturn.secret import Bundle
from keyturn.steps import Step


def look_at_vendor(
    driver: Driver, *, mode: Mode = Mode.NORMAL, knowing: bool = False, adopting: Version | None = None
) -> InspectResponse | None:
    """Inspect the vendor, and read its value where it shows it; the answer is kept as this run's look.

    `adopting` is what is about to become the current version, if that is why it is looked.
    """
    within_s = driver.bench.limits.call_s
    current = driver.state.current
    request = InspectRequest(
        call=driver.call(within_s=within_s),
        current=adopting or (driver.version(current) if current else None),
        known=tuple(v.handle for v in driver.state.versions.values() if v.handle),
        want_value=driver.job.traits.readable,
        mode=mode,
        knowing=knowing,
    )
    result = driver.ask([driver.ask_provider("inspect", request, within_s)])[0]
    driver.looks = replace(driver.looks, vendor=_vendor_look(driver, result))
    return result.answer if result.done else None


def _vendor_look(driver: Driver, result: Result) -> VendorLook:
    if not result.done:
        return VendorLook(at=driver.now(), error=result.why, code=result.code, hint=result.hint)
    found: InspectResponse = result.answer
    return VendorLook(
        at=driver.now(),
        endpoints=found.endpoints,
        seen=found.seen,
        problems=found.problems,
        witness=found.witness,
        shows=bool(shown_by(driver.job.traits, found)),
        foreign=_foreign(driver, found),
    )


def _foreign(driver: Driver, found: InspectResponse) -> bool:
    shown = shown_by(driver.job.traits, found)
    return bool(shown) and not driver.state.knows(driver.fingerprints(shown))


def shown_by(traits: Traits, found: InspectResponse) -> Bundle:
    """What a readable vendor shows of the fields that are made anew with each version; empty where it holds none."""
    made = {field.name for maker in (Maker.US, Maker.VENDOR) for field in traits.made_by(maker)}
    shown = (found.bundle or Bundle()).only(made) if traits.readable else Bundle()
    return shown if any(shown.values()) else Bundle()


def mint(driver: Driver) -> None:
    """Make our fields, seal them, then say so."""
    if "make" in driver.job.account.plugin.extras:
        bundle = _made_by_plugin(driver)
    else:
        bundle = ours(driver.job.traits, driver.to.slot, driver.bench.entropy)
    if bundle is None:
        return
    driver.keep(driver.to.id, bundle)
    driver.append(ev.Minted(version=driver.to.id, fingerprints=driver.fingerprints(bundle)))


def _made_by_plugin(driver: Driver) -> Bundle | None:
    within_s = driver.bench.limits.call_s
    request = MakeRequest(call=driver.call(within_s=within_s), slot=driver.to.slot)
    result = driver.ask([driver.ask_provider("make", request, within_s)])[0]
    if not result.done:
        driver.append(ev.Undoing(code="mint-failed", reason=result.why, hint=result.hint))
        return None
    return Bundle(given(driver.job.traits, driver.to.slot)).with_(result.answer.bundle)


def issue(driver: Driver) -> None:
    """Send issue (or reset) once: intent first, then the call, then what came of it; a value is sealed in between."""
    verb = _verb(driver)
    if verb == "reset" and not has_proof(driver):
        return
    within_s = driver.bench.limits.call_s
    call = driver.call(within_s=within_s, attempt=driver.new_id())
    witness = _witness(driver)
    driver.held.renew()  # not in the gap
    driver.bench.answers.expect(call.attempt_id, driver.job.name, driver.to.id)
    driver.append(
        ev.Sent(
            step=Step.ISSUE.value,
            verb=verb,
            target="vendor",
            attempt=call.attempt_id,
            version=driver.to.id,
            deadline_at=call.deadline_at,
            witness=witness,
            supplied=driver.fingerprints(driver.proof),
        )
    )
    new = driver.version(driver.to)
    request: object = IssueRequest(call=call, new=new, current=_current(driver), witness=witness)
    if verb == "reset":
        request = ResetRequest(call=call, new=new, supplied=driver.proof, witness=witness)
    result = driver.ask([driver.ask_provider(verb, request, within_s)])[0]
    ends = result.done and driver.rotation.frozen.traits.dies_by_issue
    driver.looks = driver.looks.issued() if ends else driver.looks.changed()
    _issue_answered(driver, verb, call.attempt_id, result)


def _verb(driver: Driver) -> str:
    return "reset" if driver.rotation.mode is Mode.BREAK_GLASS else "issue"


def _issue_answered(driver: Driver, verb: str, attempt: str, result: Result) -> None:
    answer: IssueResponse | None = result.answer if result.done else None
    outcome = "waiting" if answer and answer.waiting else result.outcome
    bundle = _sealed_whole(driver, answer.bundle) if answer and not answer.waiting else Bundle()
    bodies: list[ev.Body] = [
        ev.Answered(
            step=Step.ISSUE.value,
            verb=verb,
            target="vendor",
            attempt=attempt,
            version=driver.to.id,
            outcome=outcome,
            why=result.why,
            code=result.code,
            hint=result.hint,
            handle=answer.handle if answer else None,
            expires_at=answer.expires_at if answer else None,
            fingerprints=driver.fingerprints(bundle),
        )
    ]
    if not result.done:
        driver.looks = driver.looks.failed(
            "issue", "vendor", outcome=result.outcome, why=result.why, code=result.code, at=driver.now()
        )
    if answer and answer.waiting:
        driver.append(*bodies, _offered(driver, answer.waiting))
        if driver.rotation.by_person:
            _show(driver, attempt, answer.waiting)
    elif answer:
        _journal_issued(driver, *bodies)
    else:
        driver.append(*bodies)


def _show(driver: Driver, attempt: str, waiting: Waiting) -> None:
    """From here on whoever saw it may use it, and the journal has it already."""
    driver.looks = replace(driver.looks, shown=driver.looks.shown | {attempt})
    driver.show(replace(waiting, text=f"{waiting.text}{to_upload(driver.state, driver.rotation)}"))


def _offered(driver: Driver, waiting: Waiting) -> ev.WaitingFor:
    """What is waited for. Who attends reads the steps where the values are shown, everybody else that he attends."""
    text, wants = waiting.text, waiting.wants
    if not driver.rotation.by_person:
        seen_at = driver.now() if driver.rotation.frozen.traits.dies_by_issue else None
        return ev.WaitingFor(
            step=Step.ISSUE.value, kind="vendor", text=text, until=waiting.until, wants=wants, seen_at=seen_at
        )
    if driver.attending:
        text, wants = f"somebody attends, and was shown what sets version {driver.to.number} at the vendor", ()
    return ev.WaitingFor(step=Step.ISSUE.value, kind="person", text=text, until=waiting.until, wants=wants)


def _journal_issued(driver: Driver, *bodies: ev.Body) -> None:
    """Where issue opens a gap, what became of it is journaled with the first promotes; it is sealed already."""
    journal = driver.hold_back if driver.rotation.frozen.traits.dies_by_issue else driver.append
    journal(*bodies)


def _sealed_whole(driver: Driver, made: Bundle) -> Bundle:
    """The whole value of the new version, sealed before the journal says that it is there."""
    have = driver.bundle(driver.to.id) or Bundle(given(driver.job.traits, driver.to.slot))
    whole = have.with_(made)
    driver.keep(driver.to.id, whole)
    return whole


def _witness(driver: Driver) -> dict[str, str]:
    """What the vendor looked like before the first attempt of this version."""
    first = next((a for a in driver.rotation.attempts if a.version == driver.to.id), None)
    if first:
        return dict(first.witness)
    return dict(driver.looks.vendor.witness) if driver.looks.vendor else {}


def _current(driver: Driver) -> Version | None:
    """What issue replaces, where the vendor needs it; None once a lost issue of this rotation has ended it."""
    current = driver.state.current
    needed = driver.job.traits.needs_current and not driver.rotation.forward_only
    return driver.version(current) if current and needed else None


def settle(driver: Driver, *, final: bool = False) -> None:
    """Look what became of the attempts; only a final answer is journaled, by `decide`, except for `applied`.

    That what was sent turned out to be a request is journaled as its answer.
    """
    within_s, asked_at = driver.bench.limits.call_s, driver.now()
    attempts = [a for a in driver.rotation.attempts if a.version == driver.to.id]
    raws = tuple(raw for _, raw in driver.bench.escrow.open_answers(driver.job.name, driver.to.id))
    request = SettleRequest(
        call=driver.call(within_s=within_s),
        new=driver.version(driver.to),
        current=_current(driver),
        witness=_witness(driver),
        attempts=tuple(Attempt(id=a.id, sent_at=a.sent_at, deadline_at=a.deadline_at) for a in attempts),
        raws=raws,
        # What a reset is made by did not come out of it.
        supplied=Bundle() if driver.rotation.mode is Mode.BREAK_GLASS else driver.supplied,
        final=final,
        mode=driver.rotation.mode,
    )
    result = driver.ask([driver.ask_provider("settle", request, within_s)])[0]
    unheard = SettleResponse(outcome=Settled.UNKNOWN, note=result.why)
    found = _not_again(driver, result.answer) if result.done else unheard
    if found.outcome is Settled.NOT_APPLIED:
        driver.looks = replace(driver.looks, old_at=asked_at)
    _settled(driver, found)


def _not_again(driver: Driver, found: SettleResponse) -> SettleResponse:
    """What the vendor shows may be an earlier version of ours, by a copy that lags behind: that is not the new one."""
    shown = driver.fingerprints(found.bundle)
    others = [v for v in driver.state.versions.values() if v.id != driver.to.id and v.fingerprints]
    earlier = next((v for v in others if shown and shown.items() <= v.fingerprints.items()), None)
    if found.outcome is not Settled.APPLIED or earlier is None:
        return found
    note = f"the vendor shows version {earlier.number}"
    return SettleResponse(outcome=Settled.NOT_APPLIED, note=note)


def _settled(driver: Driver, found: SettleResponse) -> None:
    now, before = driver.now(), driver.looks.settle
    look = SettleLook(
        at=now,
        outcome=found.outcome,
        since=before.since if before and before.outcome is found.outcome else now,
        handle=found.handle,
        note=found.note,
        waiting=found.waiting,
        rejected=found.rejected,
    )
    driver.looks = replace(driver.looks, settle=look)
    if (found.waiting or found.rejected) and not driver.rotation.by_person:
        _journal_request(driver)
    if found.outcome is Settled.APPLIED:
        bundle = _sealed_whole(driver, found.bundle)
        _journal_issued(
            driver,
            ev.SettledAs(
                version=driver.to.id,
                outcome=found.outcome.value,
                handle=found.handle,
                expires_at=found.expires_at,
                fingerprints=driver.fingerprints(bundle),
                note=found.note,
                since=_old_seen_at(driver),
            ),
        )
    elif found.outcome is Settled.APPLIED_GONE:
        driver.append(
            ev.SettledAs(
                version=driver.to.id,
                outcome=found.outcome.value,
                handle=found.handle,
                note=found.note,
                since=_old_seen_at(driver),
            )
        )


def _old_seen_at(driver: Driver) -> float | None:
    """When the old version was last seen in force; after a lost issue of this rotation that was over before."""
    return None if driver.rotation.forward_only else driver.looks.old_at


def _journal_request(driver: Driver) -> None:
    """Attempts whose answer was lost are known to have been requests: they ended nothing by being sent."""
    mine = [one for one in driver.rotation.attempts if one.version == driver.to.id and not one.settled]
    lost = [one for one in mine if one.outcome not in ("waiting", "not_sent")]
    if lost:
        driver.append(*(_answered_waiting(one, _verb(driver)) for one in lost))


def _answered_waiting(attempt: AttemptState, verb: str) -> ev.Answered:
    return ev.Answered(
        step=Step.ISSUE.value,
        verb=verb,
        target="vendor",
        attempt=attempt.id,
        version=attempt.version,
        outcome="waiting",
    )


def reissue(driver: Driver) -> None:
    """Go on with another new version in the same rotation."""
    driver.append(ev.Reissuing(version=driver.new_id(), number=driver.state.next_number, slot=driver.to.slot))
    driver.looks = driver.looks.changed()


def retire(driver: Driver, action: RetireNow) -> None:
    """Make the vendor refuse or remove one version; what was seen just before goes into the intent."""
    old = driver.state.versions[action.version]
    within_s = driver.bench.limits.call_s
    call = driver.call(within_s=within_s)
    driver.append(
        ev.Sent(
            step=action.step.value,
            verb=action.half.value,
            target=old.handle or "",
            attempt=call.attempt_id,
            version=old.id,
            deadline_at=call.deadline_at,
            witness=_evidence(driver, action.half),
        )
    )
    stays = _successor(driver, old)
    request = RetireRequest(
        call=call,
        handle=old.handle or "",
        slot=old.slot,
        half=action.half,
        successor=stays.handle if stays else None,
    )
    result = driver.ask([driver.ask_provider("retire", request, within_s)])[0]
    driver.looks = driver.looks.changed()
    if not result.done:
        driver.looks = driver.looks.failed(
            action.half.value, old.id, outcome=result.outcome, why=result.why, code=result.code, at=driver.now()
        )
    already = result.done and result.answer.already
    driver.append(
        ev.Answered(
            step=action.step.value,
            verb=action.half.value,
            target=old.handle or "",
            attempt=call.attempt_id,
            version=old.id,
            outcome="already" if already else result.outcome,
            why=result.why,
            code=result.code,
        )
    )


def _successor(driver: Driver, old: VersionState) -> VersionState | None:
    """The version that stays: the one rotated to, but where that one is withdrawn itself the current one."""
    return driver.to if old.id != driver.to.id else driver.state.current


def _evidence(driver: Driver, half: Half) -> dict[str, str]:
    if half is Half.REMOVE:
        return {}
    new = driver.to.id
    return {
        endpoint: f"new {look.verdict.value}"
        for (version, endpoint), look in driver.looks.probes.items()
        if version == new
    }


def probe(driver: Driver, action: ProbeNow) -> None:
    """Probe side by side; an endpoint that accepts the version under way is journaled, once."""
    pairs = [pair for pair in action.pairs if _value(driver, pair[0]) is not None]
    silent = {pair: "its value is not known" for pair in action.pairs if pair not in pairs}
    driver.looks = replace(driver.looks, valueless=driver.looks.valueless | {version for version, _ in silent})
    within_s, asked_at = action.within_s or driver.bench.limits.probe_s, driver.now()
    results = driver.ask(
        [driver.ask_provider("probe", _probe_request(driver, *pair, within_s), within_s) for pair in pairs]
    )
    now = driver.now()
    seen = {pair: ProbeLook(at=now, verdict=Verdict.UNKNOWN, evidence=why) for pair, why in silent.items()}
    seen |= {pair: _probe_look(now, result) for pair, result in zip(pairs, results, strict=True)}
    driver.looks = driver.looks.with_probes(seen)
    _seen_in_force(driver, seen, asked_at)
    _journal_accepted(driver, seen)


def _seen_in_force(driver: Driver, seen: Mapping[tuple[str, str], ProbeLook], asked_at: float) -> None:
    current = driver.state.current
    asked = [look.verdict for (id_, _), look in seen.items() if current and id_ == current.id]
    if asked and all(verdict is Verdict.ACCEPTED for verdict in asked):
        driver.looks = replace(driver.looks, old_at=asked_at)


def _probe_look(now: float, result: Result) -> ProbeLook:
    if not result.done:
        return ProbeLook(at=now, verdict=Verdict.UNKNOWN, evidence=result.why)
    return ProbeLook(at=now, verdict=result.answer.verdict, evidence=result.answer.evidence)


def _probe_request(driver: Driver, version_id: str, endpoint: str, within_s: float) -> ProbeRequest:
    state = driver.state.versions.get(version_id)
    return ProbeRequest(
        call=driver.call(within_s=within_s),
        endpoint=endpoint,
        bundle=_value(driver, version_id) or Bundle(),
        handle=state.handle if state else None,
    )


def _value(driver: Driver, version_id: str) -> Bundle | None:
    if version_id != DECOY:
        return driver.readable(version_id)
    if driver.decoy is None:
        like = next((b for b in map(driver.readable, reversed(list(driver.state.versions))) if b), Bundle())
        driver.decoy = decoy(driver.job.traits, like, driver.bench.entropy)
    return driver.decoy


def _journal_accepted(driver: Driver, seen: dict[tuple[str, str], ProbeLook]) -> None:
    target = driver.state.under_way
    if target is None:
        return
    news = [
        ev.Accepted(
            version=target.id,
            endpoint=endpoint,
            evidence=look.evidence,
            probes=driver.looks.probe_counts.get((target.id, endpoint), 1),
        )
        for (version, endpoint), look in seen.items()
        if version == target.id and look.verdict is Verdict.ACCEPTED and endpoint not in target.accepted
    ]
    if news:
        driver.append(*news)
