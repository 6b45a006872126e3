"""Effects at sinks, consumers and derived secrets, side by side.

Stage, promote, discard, look; quiesce, release, announce; renew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from keyturn.config.model import Consumer, Notify
from keyturn.engine.decisions.actions import Effects
from keyturn.engine.decisions.draining import drain_until
from keyturn.engine.decisions.looks import SinkLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.notify import NotifyRequest
from keyturn.engine.effects.renew import RenewRequest
from keyturn.engine.fence import Ask, Result
from keyturn.engine.job import BoundSink
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import VersionState
from keyturn.plugins.sink import (
    DiscardRequest,
    PromoteRequest,
    ReadRequest,
    SinkInspectRequest,
    SinkInspectResponse,
    SinkVersion,
    StageRequest,
)
from keyturn.secret import Bundle

SLACK_S = 5.0


def look_at_sinks(driver: Driver, keys: Sequence[str]) -> Mapping[str, SinkLook]:
    """Inspect these places; the answers are kept as this run's looks."""
    sinks = [driver.job.sink(key) for key in keys]
    results = driver.ask(
        [driver.ask_sink(sink, "inspect", SinkInspectRequest(call=driver.sink_call(sink))) for sink in sinks]
    )
    now = driver.now()
    seen = {
        sink.key: SinkLook(
            at=now,
            found=result.answer,
            error="" if result.done else result.why.removeprefix(f"{sink.key}: "),
            code=_code(result),
            hint=result.hint,
            foreign=result.done and _foreign(driver, result.answer),
            ahead=result.done and _ahead(driver, sink, result.answer),
        )
        for sink, result in zip(sinks, results, strict=True)
    }
    driver.looks = replace(driver.looks, sinks={**driver.looks.sinks, **seen})
    return seen


def _code(result: Result) -> str:
    """The sink's own where it knows what is wrong, and not only that nothing was heard."""
    if result.done:
        return ""
    return result.code if result.hint or result.outcome == "refused" else "sink-unreachable"


def _foreign(driver: Driver, found: SinkInspectResponse) -> bool:
    return found.current is not None and found.current.journal_id not in (None, driver.bench.journal.id)


def _ahead(driver: Driver, sink: BoundSink, found: SinkInspectResponse) -> bool:
    """Whether the place was written by this journal after the last event that we can read."""
    held, state = found.current, driver.state
    if held is None or held.journal_id != driver.bench.journal.id:
        return False
    if held.version_id in state.versions:
        chain = found.meta.get("chain", "")
        return chain.isdecimal() and int(chain) > state.seq
    known = state.by_fingerprints(held.fingerprints, sink.fields)  # of a secret that was renamed and adopted
    return known is None and held.number is not None and held.number >= state.next_number


def carry_out(driver: Driver, action: Effects) -> None:
    """Journal the intents in one transaction, call all targets side by side, journal each answer as it comes."""
    asks = [_ASKS[action.verb](driver, action.verb, target) for target in action.targets]
    attempts = [driver.new_id() for _ in asks]
    driver.append(
        *(
            ev.Sent(
                step=action.step.value,
                verb=action.verb,
                target=target,
                attempt=attempt,
                version=driver.to.id,
                deadline_at=driver.now() + ask.within_s,
                witness={"until": f"{ask.request.until}"} if action.verb == "quiesce" else {},
            )
            for target, attempt, ask in zip(action.targets, attempts, asks, strict=True)
        )
    )

    def landed(index: int, result: Result) -> None:
        _answered(driver, action, action.targets[index], attempts[index], result)

    driver.ask(asks, landed=landed)
    if action.verb in ("stage", "promote"):
        _read_back(driver, action, attempts)
    hidden_in_the_gap = action.verb == "stage" and driver.rotation.frozen.traits.dies_by_issue and driver.to.issued
    driver.looks = driver.looks.issued() if hidden_in_the_gap else driver.looks.changed()


def _answered(driver: Driver, action: Effects, target: str, attempt: str, result: Result) -> None:
    if not result.done:
        driver.looks = driver.looks.failed(
            action.verb, target, outcome=result.outcome, why=result.why, code=result.code, at=driver.now()
        )
    already = result.done and getattr(result.answer, "already", False)
    driver.append(
        ev.Answered(
            step=action.step.value,
            verb=action.verb,
            target=target,
            attempt=attempt,
            version=driver.to.id,
            outcome="already" if already else result.outcome,
            why=result.why,
            code=result.code,
        )
    )


def _read_back(driver: Driver, action: Effects, attempts: Sequence[str]) -> None:
    """What was written must read back as written; else the write counts as in doubt."""
    written = [
        (target, attempt)
        for target, attempt in zip(action.targets, attempts, strict=True)
        if driver.rotation.finished(action.verb, target)
    ]
    sinks = [_bound(driver, target) for target, _ in written]
    by_id = driver.to.id if action.verb == "stage" else None
    results = driver.ask(
        [driver.ask_sink(s, "read", ReadRequest(call=driver.sink_call(s), version_id=by_id)) for s in sinks]
    )
    for sink, (target, attempt), result in zip(sinks, written, results, strict=True):
        if not _as_written(driver, sink, result):
            why = result.why or "what was written does not read back"
            doubt = Result(outcome="doubt", why=f"{sink.key}: {why}", code="read-back")
            _answered(driver, action, target, attempt, doubt)


def _as_written(driver: Driver, sink: BoundSink, result: Result) -> bool:
    if not result.done or result.answer.bundle is None:
        return False
    return driver.fingerprints(result.answer.bundle) == driver.fingerprints(_stored(driver, sink))


def _bound(driver: Driver, key: str) -> BoundSink:
    """The place as the rotation froze it: a changed field map touches the next rotation."""
    frozen = next(sink for sink in driver.rotation.frozen.sinks if sink.key == key)
    return replace(driver.job.sink(key), fields=frozen.fields)


def _stored(driver: Driver, sink: BoundSink) -> Bundle:
    return sink.stored(driver.bundle(driver.to.id) or Bundle())


def _meta(driver: Driver) -> dict[str, str]:
    return {"keyturn": "1", "rotation": driver.rotation.id, "chain": str(driver.state.seq)}


def _stage(driver: Driver, verb: str, target: str) -> Ask:
    sink = _bound(driver, target)
    request = StageRequest(
        call=driver.sink_call(sink),
        version=SinkVersion(id=driver.to.id, number=driver.to.number),
        bundle=_stored(driver, sink),
        meta=_meta(driver),
    )
    return driver.ask_sink(sink, verb, request)


def _promote(driver: Driver, verb: str, target: str) -> Ask:
    sink = _bound(driver, target)
    found = driver.looks.sinks[target].found
    request = PromoteRequest(
        call=driver.sink_call(sink),
        version=SinkVersion(id=driver.to.id, number=driver.to.number),
        bundle=_stored(driver, sink),
        expects=found.current if found else None,
        keep_previous=sink.keep_previous,
        meta=_meta(driver),
    )
    return driver.ask_sink(sink, verb, request)


def _discard(driver: Driver, verb: str, target: str) -> Ask:
    sink = _bound(driver, target)
    return driver.ask_sink(sink, verb, DiscardRequest(call=driver.sink_call(sink), version_id=driver.to.id))


def announced(driver: Driver) -> list[str]:
    """Tell consumers of an adopted version that took another one's place, until they heard; who did not, and why."""
    current, untold = driver.state.current, driver.state.untold
    if current is None or not untold:
        return []
    todo = [one for one in driver.job.consumers if one.announce and one.name in untold]
    gone = sorted(untold - {one.name for one in todo})
    if gone:
        driver.append(*(ev.Told(version=current.id, consumer=name, reason="no longer configured") for name in gone))

    def landed(index: int, result: Result) -> None:
        if result.done:
            driver.append(ev.Told(version=current.id, consumer=todo[index].name))

    results = driver.ask([_told(driver, _adoption_told(driver, one, current)) for one in todo], landed=landed)
    whys = {one.name: result.why for one, result in zip(todo, results, strict=True) if not result.done}
    return [f"{name} ({why.removeprefix(f'consumer {name}: ')})" for name, why in whys.items()]


def _adoption_told(driver: Driver, consumer: Consumer, current: VersionState) -> NotifyRequest:
    return NotifyRequest(
        event="announce",
        notify=consumer.announce,
        secret=driver.job.name,
        consumer=consumer.name,
        rotation="",
        version=current.id,
        number=current.number,
        bundle=driver.readable(current.id),
    )


def _told(driver: Driver, request: NotifyRequest) -> Ask:
    return Ask(
        plugin=f"consumer {request.consumer}",
        target=driver.bench.notifier,
        verb="notify",
        request=request,
        within_s=_telling_s(driver, request.notify),
        public=driver.public,
    )


def _telling_s(driver: Driver, notify: Notify | None) -> float:
    """How long one try takes at most; what bounds itself is given time to say so."""
    return (notify.timeout_s if notify else driver.bench.limits.notify_s) + SLACK_S


def _drain_until(driver: Driver) -> float:
    """When those who are told to drain now go on by themselves (epoch s): the slowest of them counts."""
    telling_s = max(_telling_s(driver, one.quiesce) for one in driver.job.consumers if one.quiesce)
    return drain_until(driver.bench.limits, driver.rotation.frozen.traits, driver.now(), telling_s)


def _notify(driver: Driver, verb: str, target: str) -> Ask:
    consumer = next(one for one in driver.job.consumers if one.name == target)
    notify = {"announce": consumer.announce, "quiesce": consumer.quiesce}.get(verb, consumer.release)
    request = NotifyRequest(
        event=verb.removesuffix("-early"),
        notify=notify,
        secret=driver.job.name,
        consumer=target,
        rotation=driver.rotation.id,
        version=driver.to.id,
        number=driver.to.number,
        until=_drain_until(driver) if verb == "quiesce" else None,
        bundle=driver.bundle(driver.to.id) if verb == "announce" else None,
    )
    return _told(driver, request)


def _renew(driver: Driver, verb: str, target: str) -> Ask:
    request = RenewRequest(
        secret=target,
        source=driver.job.name,
        rotation=driver.rotation.id,
        since=driver.now() - driver.bench.limits.bridge_fresh_s,
    )
    within_s = driver.bench.limits.renew_s
    return Ask(plugin=f"secret {target}", target=driver.bench.renewer, verb=verb, request=request, within_s=within_s)


_ASKS: dict[str, Callable[[Driver, str, str], Ask]] = {
    "stage": _stage,
    "promote": _promote,
    "discard": _discard,
    "quiesce": _notify,
    "release": _notify,
    "release-early": _notify,
    "announce": _notify,
    "renew": _renew,
}
