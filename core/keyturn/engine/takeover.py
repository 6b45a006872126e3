"""The end of what an adoption takes the place of: a rotation, and versions that somebody else's issue has ended."""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.actions import ProbeNow
from keyturn.engine.decisions.guards import judge_proof
from keyturn.engine.decisions.looks import DECOY
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.vendor import probe
from keyturn.engine.preflight import current_value
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import ended
from keyturn.engine.record.state import RotationState, VersionState
from keyturn.model import Verdict
from keyturn.states import Move
from keyturn.steps import Step


def taken_over(
    driver: Driver, way: Sequence[ev.Body], adopted: ev.Adopted, endpoints: tuple[str, ...]
) -> list[ev.Body]:
    """The adoption, with the end of what it replaces. `way` is how a stuck rotation is given up.

    A version that an endpoint still accepts stays `previous`: runs ask for it until it ends.
    """
    state, bodies = driver.state, list(way)
    if state.rotation and state.rotation.open and not any(isinstance(body, ev.Ended) for body in way):
        bodies.append(ended(state, "superseded", f"by the adoption of version {adopted.number}"))
    current = [state.current] if state.current else []
    stranded = [state.versions[b.version] for b in way if isinstance(b, ev.Moved) and b.move == Move.STRAND]
    olds = [*current, *state.previous, *stranded]
    bodies += [ev.Moved(version=old.id, move=Move.REPLACE.value) for old in current]
    bodies.append(adopted)
    return bodies + _endings(driver, olds, adopted, endpoints)


def _endings(
    driver: Driver, olds: Sequence[VersionState], adopted: ev.Adopted, endpoints: tuple[str, ...]
) -> list[ev.Body]:
    """What each endpoint shows of the old versions now (P7); where it shows nothing, the vendor's word stands."""
    published = [old for old in olds if old.published]
    _ask(driver, published, endpoints)
    rotation = driver.state.rotation
    asked = tuple(dict.fromkeys((*endpoints, *(rotation.plan.endpoints if rotation else ()))))
    bodies: list[ev.Body] = []
    for old in olds:
        if rotation and old.published and _stays(driver, rotation, old, asked):
            bodies += _alive(driver, rotation, old, asked)
            continue
        bodies.append(ev.Moved(version=old.id, move=Move.RETIRE.value))
        bodies += [_proof(driver, old, adopted.version, endpoint) for endpoint in asked if old.published]
    return bodies


def _ask(driver: Driver, olds: Sequence[VersionState], endpoints: Sequence[str]) -> None:
    current, value = driver.state.current, current_value(driver)
    if current and value:
        driver.keep(current.id, value)  # runs may have to ask for it again
    probe(driver, ProbeNow(pairs=tuple((old.id, endpoint) for old in olds for endpoint in endpoints)))


def _stays(driver: Driver, rotation: RotationState, old: VersionState, endpoints: Sequence[str]) -> bool:
    """Whether it is accepted, and a run will ask for it again: that goes by what the latest rotation froze."""
    return Step.PROVE in rotation.frozen.steps and any(_accepts(driver, old, endpoint) for endpoint in endpoints)


def _accepts(driver: Driver, old: VersionState, endpoint: str) -> bool:
    return driver.looks.verdict(old.id, endpoint, since=0.0) is Verdict.ACCEPTED


def _alive(driver: Driver, rotation: RotationState, old: VersionState, endpoints: Sequence[str]) -> list[ev.Body]:
    """Where it was seen accepted, and until when the vendor may go on with that."""
    traits, now = rotation.frozen.traits, driver.now()
    ends = (old.replaced_at or now) + max(traits.grace_s or 0.0, traits.grace_max_s)
    return [
        ev.Proved(
            version=old.id,
            endpoint=endpoint,
            verdict="accepted",
            why=driver.looks.probes[old.id, endpoint].evidence,
            until=ends if ends > now else None,
        )
        for endpoint in endpoints
        if _accepts(driver, old, endpoint)
    ]


def _proof(driver: Driver, old: VersionState, new_id: str, endpoint: str) -> ev.Proved:
    seen = {id_: driver.looks.verdict(id_, endpoint, since=0.0) for id_ in (old.id, new_id, DECOY)}
    with_decoy = driver.job.traits.decoy
    proof = judge_proof(old=seen[old.id], new=seen[new_id], decoy=seen[DECOY], with_decoy=with_decoy, time_left=True)
    if proof.verdict == "dead":
        return ev.Proved(version=old.id, endpoint=endpoint, verdict="dead", why=proof.why)
    why = f"the vendor ends it when it makes another one; {proof.why}"
    return ev.Proved(version=old.id, endpoint=endpoint, verdict="by-contract", why=why)
