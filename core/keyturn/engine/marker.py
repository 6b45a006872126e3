"""Before an issue that ends the old version: show that every place takes a version, with a made-up one (design 3).

A login that can read and not write would else come to light at publish, when the old version is dead already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from keyturn.engine.decisions.looks import SinkLook
from keyturn.engine.effects.driver import Driver
from keyturn.engine.fence import Result
from keyturn.engine.job import BoundSink
from keyturn.mint import make
from keyturn.model import Maker, Problem, Recipe, Traits
from keyturn.plugins.sink import DiscardRequest, SinkVersion, StageRequest
from keyturn.secret import Bundle

META = {"keyturn": "1", "marker": "1"}


def needed(traits: Traits) -> bool:
    """Whether the vendor makes a value, so that nothing is staged before issue, and issue ends the old version."""
    return traits.dies_by_issue and any(field.by is Maker.VENDOR for field in traits.fields)


def try_places(driver: Driver, looks: Mapping[str, SinkLook], *, artefacts: bool = True) -> tuple[Problem, ...]:
    """Stage a made-up version in every place that can be staged, and discard it: what refuses this rotation.

    `artefacts`: also where these are kept.

    No consumer sees it. One that a crash left behind gives way to the next version that is staged there.
    """
    if not needed(driver.job.traits):
        return ()
    tried = [sink for sink in driver.job.sinks if artefacts or not sink.artefact]
    sinks = [sink for sink in tried if sink.stages_empty or _serves(looks[sink.key])]
    version = SinkVersion(id=driver.new_id(), number=driver.state.next_number)
    staged = _ask(driver, sinks, "stage", [_stage(driver, sink, version) for sink in sinks])
    written = [sink for sink in sinks if staged[sink.key].outcome in ("done", "doubt")]
    discards = [DiscardRequest(call=driver.sink_call(sink), version_id=version.id) for sink in written]
    discarded = _ask(driver, written, "discard", discards)
    driver.looks = driver.looks.changed()
    return (*_problems(sinks, staged, "be written"), *_problems(written, discarded, "have a pending version removed"))


def _serves(look: SinkLook) -> bool:
    return look.found is not None and look.found.current is not None


def _stage(driver: Driver, sink: BoundSink, version: SinkVersion) -> StageRequest:
    made = {name: make(Recipe(), driver.bench.entropy) for name in sink.fields}
    return StageRequest(call=driver.sink_call(sink), version=version, bundle=Bundle(made), meta=META)


def _ask(driver: Driver, sinks: Sequence[BoundSink], verb: str, requests: Sequence[object]) -> dict[str, Result]:
    asks = [driver.ask_sink(sink, verb, request) for sink, request in zip(sinks, requests, strict=True)]
    return {sink.key: result for sink, result in zip(sinks, driver.ask(asks), strict=True)}


def _problems(sinks: Iterable[BoundSink], results: Mapping[str, Result], what: str) -> Iterable[Problem]:
    for sink in sinks:
        result = results[sink.key]
        if not result.done:
            why = result.why.removeprefix(f"{sink.key}: ")
            yield Problem(
                code=result.code,
                text=f"{sink.key} can not {what}: {why}",
                hint=result.hint or f"let this user write to {sink.sink} as its page says, then try again",
            )
