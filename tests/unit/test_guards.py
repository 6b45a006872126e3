"""May the old version be retired now, and is it proven dead: the two judgements, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from keyturn.engine.decisions.actions import LookAtSinks, LookAtVendor, ProbeNow
from keyturn.engine.decisions.guards import Evidence, judge_proof, missing_looks, retire_evidence
from keyturn.engine.decisions.looks import Looks, ProbeLook, SinkLook, VendorLook
from keyturn.engine.decisions.view import View
from keyturn.engine.limits import Limits
from keyturn.engine.record.frozen import Frozen, FrozenSink
from keyturn.engine.record.state import RotationState, SecretState, VersionState
from keyturn.model import Field, Maker, Mode, Problem, Revoke, Traits, Verdict
from keyturn.plugins.provider import Seen
from keyturn.plugins.sink import Held, SinkInspectResponse
from keyturn.states import State

A, R, U = Verdict.ACCEPTED, Verdict.REFUSED, Verdict.UNKNOWN
ANSWERS = (A, R, U, None)
GRID = list(product(ANSWERS, ANSWERS, ANSWERS, (True, False), (True, False)))
Cell = tuple[Verdict | None, Verdict | None, Verdict | None, bool, bool]


def expected(cell: Cell) -> str | None:
    """P7 as a table: the first row that fits."""
    old, new, decoy, with_decoy, time_left = cell
    rows = [
        (new is not A or old is None, None),
        (with_decoy and decoy is A, "unproven"),
        (with_decoy and decoy is not R, None),
        (old is R, "dead"),
        (old is A and not time_left, "contradicted"),
    ]
    return next((verdict for fits, verdict in rows if fits), None)


def judged(cell: Cell) -> str | None:
    old, new, decoy, with_decoy, time_left = cell
    return judge_proof(old=old, new=new, decoy=decoy, with_decoy=with_decoy, time_left=time_left).verdict


@pytest.mark.parametrize("cell", GRID, ids=lambda cell: "-".join(str(part) for part in cell))
def test_proof_is_judged_as_the_table_says(cell: Cell) -> None:
    assert judged(cell) == expected(cell)


def test_dead_is_said_in_these_cells_and_in_no_other() -> None:
    dead = {cell[:4] for cell in GRID if judged(cell) == "dead"}
    assert dead == {(R, A, R, True), *((R, A, decoy, False) for decoy in ANSWERS)}


def test_nothing_is_decided_while_the_new_version_is_not_accepted_at_the_same_endpoint() -> None:
    assert not [cell for cell in GRID if cell[1] is not A and judged(cell)]


# The retire guard

NOW = 1000.0
OLD = VersionState(
    id="v1", number=1, state=State.PREVIOUS, made_at=0.0, handle="h1", fingerprints={"key": "f1"}, published=True
)
NEW = replace(OLD, id="v2", number=2, state=State.CURRENT, handle="h2", fingerprints={"key": "f2"})
PLAN = Frozen(
    provider="vendor",
    overlap="dual",
    why="",
    subject="s",
    steps=(),
    endpoints=("e1", "e2"),
    sinks=(FrozenSink(key="near", sink="near", fields={"key": "key"}),),
    traits=Traits(fields=(Field(name="key", by=Maker.US),), live_max=None, grace_s=None, revoke=Revoke.REFUSE),
)
ROTATION = RotationState(
    id="r1", mode=Mode.NORMAL, started_at=0.0, to="v2", previous="v1", frozen=PLAN, digest="", published_at=10.0
)
VENDOR = VendorLook(at=NOW, endpoints=("e1", "e2"), seen=(Seen(handle="h1"), Seen(handle="h2")))


def sink_serving(fingerprint: str | None, *, at: float = NOW) -> SinkLook:
    held = Held(version_id="v2", journal_id="j", number=2, fingerprints={"key": fingerprint or ""}, revision="1")
    return SinkLook(at=at, found=SinkInspectResponse(place="p", current=held if fingerprint else None))


def accepted(*endpoints: str, verdict: Verdict = A, at: float = NOW) -> dict[tuple[str, str], ProbeLook]:
    return {("v2", endpoint): ProbeLook(at=at, verdict=verdict, evidence="") for endpoint in endpoints}


GOOD = Looks(began_at=0.0, vendor=VENDOR, sinks={"near": sink_serving("f2")}, probes=accepted("e1", "e2"))


def view(looks: Looks) -> View:
    return View(
        state=SecretState(secret="app/main", versions={"v1": OLD, "v2": NEW}, rotation=ROTATION),
        rotation=ROTATION,
        looks=looks,
        limits=Limits(looks_fresh_s=60.0),
        now=NOW,
        configured=frozenset({"near"}),
    )


def seen(*handles: str, **more: object) -> VendorLook:
    return replace(VENDOR, seen=tuple(Seen(handle=handle) for handle in handles), **more)  # type: ignore[arg-type]


def fatal(*, passing: bool) -> VendorLook:
    problem = Problem(code="p", text="authentication is off", hint="turn it on", passing=passing)
    return replace(VENDOR, problems=(problem,))


AGAINST = {
    "new refused at an endpoint": (
        {"probes": accepted("e1") | accepted("e2", verdict=R)},
        "version 2 is refused at e2",
    ),
    "new refused at an endpoint that joined": (
        {
            "vendor": replace(VENDOR, endpoints=("e1", "e2", "e3")),
            "probes": accepted("e1", "e2") | accepted("e3", verdict=R),
        },
        "version 2 is refused at e3",
    ),
    "a sink that serves old": ({"sinks": {"near": sink_serving("f1")}}, "near serves version 1, not version 2"),
    "a sink that serves something else": (
        {"sinks": {"near": sink_serving("foreign")}},
        "near serves something that Keyturn did not write, not version 2",
    ),
    "an empty sink": (
        {"sinks": {"near": sink_serving(None)}},
        "near serves something that Keyturn did not write, not version 2",
    ),
    "new not listed": (
        {"vendor": seen("h1", "h3")},
        "h2 (version 2) is not accepted everywhere at the vendor; the vendor would keep no other version of ours",
    ),
    "new disabled": (
        {"vendor": replace(VENDOR, seen=(Seen(handle="h1"), Seen(handle="h2", enabled=False)))},
        "h2 (version 2) is not accepted everywhere at the vendor; the vendor would keep no other version of ours",
    ),
    "a lasting problem": ({"vendor": fatal(passing=False)}, "authentication is off"),
}
UNSURE = {
    "a silent endpoint": (
        {"probes": accepted("e1") | accepted("e2", verdict=U)},
        "e2 does not say whether it accepts version 2",
    ),
    "an endpoint that was not asked": ({"probes": accepted("e1")}, "e2 does not say whether it accepts version 2"),
    "an answer of yesterday": (
        {"probes": accepted("e1") | accepted("e2", at=NOW - 61)},
        "e2 does not say whether it accepts version 2",
    ),
    "a sink that can not be read": (
        {"sinks": {"near": SinkLook(at=NOW, error="timeout")}},
        "near can not be read: timeout",
    ),
    "a vendor that does not answer": (
        {"vendor": VendorLook(at=NOW, error="503")},
        "the vendor can not be inspected: 503",
    ),
    "a passing problem": ({"vendor": fatal(passing=True)}, "authentication is off"),
}


def evidence(change: dict[str, object]) -> Evidence:
    return retire_evidence(view(replace(GOOD, **change)), OLD)  # type: ignore[arg-type]


def test_with_new_accepted_everywhere_served_everywhere_and_kept_the_old_one_may_go() -> None:
    assert retire_evidence(view(GOOD), OLD) == Evidence()


@pytest.mark.parametrize(("change", "reason"), AGAINST.values(), ids=AGAINST.keys())
def test_a_sure_reason_against_retiring_needs_a_person(change: dict[str, object], reason: str) -> None:
    found = evidence(change)
    assert "; ".join(found.reasons) == reason
    assert found.unknown == ()


@pytest.mark.parametrize(("change", "why"), UNSURE.values(), ids=UNSURE.keys())
def test_what_is_not_known_now_keeps_the_old_version_for_a_later_run(change: dict[str, object], why: str) -> None:
    found = evidence(change)
    assert found.reasons == ()
    assert why in found.unknown


def test_every_reason_is_told_at_once() -> None:
    found = evidence({"sinks": {"near": sink_serving("f1")}, "probes": accepted("e1", "e2", verdict=R)})
    assert len(found.reasons) == 3


def test_the_looks_that_are_missing_or_old_are_asked_for_in_turn() -> None:
    assert missing_looks(view(replace(GOOD, vendor=None))) == LookAtVendor()
    assert missing_looks(view(replace(GOOD, vendor=replace(VENDOR, at=NOW - 61)))) == LookAtVendor()
    old_sink = {"near": sink_serving("f2", at=NOW - 61)}
    assert missing_looks(view(replace(GOOD, sinks=old_sink))) == LookAtSinks(keys=("near",))
    assert missing_looks(view(replace(GOOD, probes=accepted("e1")))) == ProbeNow(pairs=(("v2", "e2"),))
    assert missing_looks(view(GOOD)) is None
