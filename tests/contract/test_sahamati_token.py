"""The entity token: minted with its source's current secret, asked for again where an answer is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.sahamati_kit import SHORT_S, Bench, account_of, running_bench
from keyturn.api import (
    Bundle,
    Call,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    NotSent,
    ProbeRequest,
    ProbeResponse,
    Refused,
    Verdict,
    Version,
)
from keyturn_sahamati.options import Target
from keyturn_sahamati.simulator import ENTITY, SECRET

TARGET = Target(token_of=SECRET)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with running_bench() as bench:
        yield bench


def call(bench: Bench, source: Bundle | None, target: Target = TARGET) -> Call:
    version = Version(id="s1", number=1, bundle=source) if source is not None else None
    return bench.call(target=target, source=version)


def inspect(bench: Bench, source: Bundle | None) -> InspectResponse:
    answer = bench.provider.inspect(InspectRequest(call=call(bench, source)))
    assert isinstance(answer, InspectResponse)
    return answer


def mint(bench: Bench, source: Bundle | None = None) -> IssueResponse:
    request = IssueRequest(call=call(bench, source or bench.current()), new=Version(id="t2", number=2))
    answer = bench.provider.issue(request)
    assert isinstance(answer, IssueResponse)
    return answer


def probe(bench: Bench, token: Bundle, target: Target = TARGET) -> ProbeResponse:
    endpoint = target.token_probe_url or "claims"
    request = ProbeRequest(call=call(bench, None, target), endpoint=endpoint, bundle=token)
    answer = bench.provider.probe(request)
    assert isinstance(answer, ProbeResponse)
    return answer


def test_a_token_comes_with_its_entity_and_its_end(bench: Bench) -> None:
    made = mint(bench)
    assert set(made.bundle) == {"entity_id", "access_token", "expires_at"}
    assert made.bundle["entity_id"].reveal() == ENTITY
    assert made.bundle["expires_at"].reveal() == "2027-01-16T08:00:00Z"
    assert made.expires_at == bench.clock.now() + 86_400
    assert bench.sim.accepts(made.bundle.reveal())


def test_a_token_needs_neither_the_designated_user_nor_a_reset(bench: Bench) -> None:
    bench.sim.switch(password_expired=True)
    inspect(bench, bench.old)
    mint(bench)
    assert (bench.asked("user-token"), bench.asked("reset")) == (0, 0)


@pytest.mark.parametrize("source", [None, Bundle(), Bundle({"entity_id": ENTITY})])
def test_without_a_source_there_is_a_problem_and_nothing_is_asked(bench: Bench, source: Bundle | None) -> None:
    (problem,) = inspect(bench, source).problems
    assert (problem.code, problem.fatal) == ("source-missing", True)
    assert f"keyturn adopt {SECRET}" in problem.hint
    with pytest.raises(Refused):
        bench.provider.issue(IssueRequest(call=call(bench, source), new=Version(id="t2", number=2)))
    assert bench.asked("entity-token") == 0


def test_a_source_that_is_refused_is_named(bench: Bench) -> None:
    bench.sim.portal_reset()
    with pytest.raises(Refused) as told:
        mint(bench, bench.old)
    assert told.value.code == "source-refused"
    assert SECRET in told.value.why


def test_a_source_in_its_grace_still_serves_and_is_noted(bench: Bench) -> None:
    bench.sim.expire(in_s=-1.0)
    assert mint(bench).expires_at
    ((event, fields),) = bench.context.notes
    assert event == "source-in-grace"
    assert fields["source"] == SECRET
    assert "grace period" in fields["message"]


@pytest.mark.parametrize(
    "how",
    ["timeout-after", "reset-after", "cut-json", "502-after:html", "503:html", "429:none", "401:html", "403:empty"],
)
def test_a_lost_answer_was_nothing_and_is_asked_for_again(bench: Bench, how: str) -> None:
    bench.sim.fault("entity-token", how)
    bench.patience_s = SHORT_S if how.startswith("timeout") else bench.patience_s
    with pytest.raises(NotSent):
        mint(bench)
    assert bench.sim.accepts(mint(bench).bundle.reveal())


def test_a_token_of_another_entity_is_never_published(bench: Bench) -> None:
    bench.sim.switch(other_entity=True)
    with pytest.raises(Refused):
        mint(bench)
    bench.account = account_of(bench.sim, check_claims=False)
    bench.fresh()
    assert mint(bench).bundle


def test_a_token_is_told_by_its_own_claim_whatever_stands_beside_it(bench: Bench) -> None:
    made = mint(bench).bundle
    lying = made.with_(Bundle({"expires_at": "2020-01-01T00:00:00Z"}))
    seen = probe(bench, lying)
    assert (seen.verdict, seen.until) == (Verdict.ACCEPTED, bench.clock.now() + 86_400)
    bench.clock.advance(86_400.0)
    assert probe(bench, made).verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ("expires_at", "verdict"),
    [
        ("2027-01-16T08:00:00Z", Verdict.ACCEPTED),
        ("2027-01-14T08:00:00Z", Verdict.REFUSED),
        ("2027-01-16T08:00:00", Verdict.UNKNOWN),
    ],
)
def test_a_token_without_claims_is_told_by_what_was_stored_with_it(
    bench: Bench, expires_at: str, verdict: Verdict
) -> None:
    token = Bundle({"entity_id": ENTITY, "access_token": "opaque", "expires_at": expires_at})
    assert probe(bench, token).verdict is verdict


def test_a_place_that_takes_tokens_outranks_the_claims(bench: Bench) -> None:
    target = Target.model_validate({"token_of": SECRET, "token_probe_url": f"{bench.sim.network_url}?a=b"})
    bench.sim.switch(revoke_tokens=True)
    token = mint(bench).bundle
    assert probe(bench, token, target).verdict is Verdict.ACCEPTED
    bench.sim.portal_reset()
    assert probe(bench, token).verdict is Verdict.ACCEPTED
    assert probe(bench, token, target).verdict is Verdict.REFUSED
    bench.sim.stop()
    assert probe(bench, token, target).verdict is Verdict.UNKNOWN
    bench.sim.start()
