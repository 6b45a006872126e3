"""What every provider promises, as one importable suite.

A provider's test module inherits `ProviderContract` and hands it a world: its plugin, and a vendor to misuse.

    class TestMyProvider(ProviderContract):
        @pytest.fixture
        def world(self) -> Iterator[World]: ...

Cases look at the declared traits: what a provider does not declare is not asked of it.
"""
# ruff: noqa: D102 - the names of the cases are the promises

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from keyturn.api import (
    Bundle,
    Doubt,
    Half,
    InspectRequest,
    InspectResponse,
    IssueResponse,
    NotSent,
    ProbeResponse,
    Refused,
    Repeat,
    ResetRequest,
    RetireResponse,
    Revoke,
    Settled,
    Traits,
    Verdict,
)
from keyturn.testing.provider_rotation import DerivedWorld, Rotation, World
from keyturn.traits import validate_traits

__all__ = ["DerivedWorld", "ProviderContract", "Rotation", "World"]

LOST = ["before", "after", "late"]
POINTS = [1, 2, 3, 4]
"""Which of the calls that change something inside one `issue` is hit; where there are fewer, nothing is."""


class ProviderContract:
    """Inherit, and give a `world` fixture."""

    @pytest.fixture
    def rotation(self, world: World) -> Rotation:
        return Rotation(world)

    def test_traits_are_sound_and_pure(self, world: World) -> None:
        traits, subject = world.plugin.traits, world.plugin.subject
        assert traits
        assert subject
        made = traits(world.account, world.target)
        assert isinstance(made, Traits)
        assert validate_traits(made) == []
        assert made == traits(world.account, world.target)
        assert subject(world.account, world.target) == subject(world.account, world.target)

    def test_extras_are_declared_and_undeclared_ones_are_absent(self, rotation: Rotation) -> None:
        for verb in ("make", "reset"):
            assert hasattr(rotation.provider, verb) == (verb in rotation.plugin.extras)

    def test_unknown_options_are_refused(self, world: World) -> None:
        for options in (world.plugin.account, world.plugin.target):
            if options is not None:
                with pytest.raises(ValueError, match="nonsense"):
                    options.model_validate({"nonsense": "1"})

    def test_inspect_names_subject_endpoints_and_the_live_credential(self, rotation: Rotation) -> None:
        seen = rotation.before
        assert rotation.plugin.subject
        assert seen.subject == rotation.plugin.subject(rotation.world.account, rotation.world.target)
        assert seen.endpoints
        assert len(set(seen.endpoints)) == len(seen.endpoints)
        handles = {found.handle for found in seen.seen}
        if rotation.retirable or handles:
            assert rotation.current.handle in handles
        else:
            assert rotation.current.handle is None
        assert not [problem for problem in seen.problems if problem.fatal]

    def test_inspect_reads_a_value_only_where_it_is_readable_and_asked_for(self, rotation: Rotation) -> None:
        assert rotation.inspect().bundle is None
        bundle = rotation.inspect(want_value=True).bundle
        assert (bundle is not None) == rotation.traits.readable
        if bundle is not None:
            assert rotation.everywhere(replace(rotation.current, bundle=bundle))

    def test_looking_changes_nothing(self, rotation: Rotation) -> None:
        for _ in range(2):
            again = rotation.inspect()
            assert (again.seen, again.witness) == (rotation.before.seen, rotation.before.witness)
            rotation.settle()
        assert rotation.everywhere(rotation.current)

    def test_an_unreachable_vendor_is_not_sent_or_a_problem_that_may_pass(self, rotation: Rotation) -> None:
        rotation.world.misbehave("inspect", "unavailable")
        answer = rotation.ask("inspect", InspectRequest(call=rotation.call(), current=rotation.current))
        problems = answer.problems if isinstance(answer, InspectResponse) else ()
        told = isinstance(answer, NotSent) or any(problem.fatal and problem.passing for problem in problems)
        assert told or rotation.nobody_was_asked()

    def test_issued_is_accepted_everywhere_and_seen(self, rotation: Rotation) -> None:
        new = rotation.rotate()
        assert set(rotation.traits.artefacts) <= set(new.bundle)
        if rotation.retirable:
            assert new.handle in {found.handle for found in rotation.inspect().seen}

    def test_old_stays_accepted_until_retired_where_both_coexist(self, rotation: Rotation) -> None:
        new, traits = rotation.rotate(), rotation.traits
        if traits.coexist:
            assert rotation.everywhere(rotation.current)
        if rotation.retirable:
            assert isinstance(rotation.retire(rotation.current), RetireResponse)
        if not traits.own_expiry:
            ends_s = traits.revocation_s + max(traits.grace_s or 0.0, traits.grace_max_s)
            assert rotation.eventually(lambda: rotation.nowhere(rotation.current), ends_s)
        assert rotation.everywhere(new)

    def test_what_ends_by_its_own_expiry_says_when_and_is_refused_from_then_on(self, rotation: Rotation) -> None:
        if rotation.traits.own_expiry:
            answer = rotation.issue()
            assert isinstance(answer, IssueResponse)
            assert answer.expires_at is not None
            new = rotation.finish(answer)
            rotation.world.clock.wait(answer.expires_at - rotation.world.clock.now() + rotation.world.tick_s)
            assert rotation.eventually(lambda: rotation.nowhere(new), rotation.traits.revocation_s)
            for endpoint in rotation.before.endpoints:
                probed = rotation.probe(new.bundle, endpoint)
                assert isinstance(probed, ProbeResponse)
                assert probed.verdict is Verdict.REFUSED

    def test_what_is_derived_asks_for_its_source_and_changes_nothing_without(self, rotation: Rotation) -> None:
        if rotation.source is not None:
            rotation.source = None
            assert [problem for problem in rotation.inspect().problems if problem.fatal]
            assert isinstance(rotation.issue(), NotSent | Refused)
            assert rotation.everywhere(rotation.current)

    def test_issue_again_changes_nothing_where_repeat_is_safe(self, rotation: Rotation) -> None:
        if rotation.traits.repeat is Repeat.SAFE:
            new = rotation.rotate()
            seen = rotation.inspect().seen
            again = rotation.rotate()
            assert again.handle == new.handle
            assert rotation.inspect().seen == seen

    @pytest.mark.parametrize("point", POINTS)
    @pytest.mark.parametrize("fault", LOST)
    def test_a_lost_answer_is_settled_truthfully_and_leads_on(self, world: World, fault: str, point: int) -> None:
        rotation = Rotation(world)
        rotation.lose("issue", fault, point)
        answer = rotation.issue()
        if isinstance(answer, IssueResponse):
            assert point > 1 or answer.waiting, "the world did not misbehave"
            rotation.finish(answer)
            return
        if isinstance(answer, NotSent) and rotation.traits.own_expiry:
            # One more of these ends nothing: asking counts as no change, and is done again.
            assert rotation.everywhere(rotation.current)
            rotation.recover(rotation.settle())
            return
        assert isinstance(answer, Doubt)
        settled = rotation.settle()
        rotation.judge(settled)
        if fault == "after":
            assert settled.outcome is not Settled.NOT_APPLIED
        if fault == "late":
            rotation.outlast()
            settled = rotation.settle()
            rotation.judge(settled)
            assert settled.outcome is not Settled.NOT_APPLIED
        new = rotation.recover(settled)
        assert rotation.everywhere(new)
        assert not rotation.traits.coexist or rotation.everywhere(rotation.current)

    @pytest.mark.parametrize("point", POINTS)
    @pytest.mark.parametrize("fault", ["unavailable", "refused"])
    def test_not_sent_and_refused_mean_that_nothing_changed(self, world: World, fault: str, point: int) -> None:
        rotation = Rotation(world)
        world.misbehave("issue", fault, point)
        answer = rotation.issue()
        if isinstance(answer, IssueResponse):
            assert point > 1 or answer.waiting, "the world did not misbehave"
            rotation.finish(answer)
            return
        settled = rotation.settle()
        rotation.judge(settled)
        if isinstance(answer, NotSent | Refused):
            # Where one more ends nothing, none that was made in vain needs to be known.
            unknowable = {Settled.PARTLY} if rotation.traits.own_expiry else set()
            assert settled.outcome in {Settled.NOT_APPLIED, *unknowable}
        rotation.recover(settled)

    def test_retiring_twice_says_already(self, rotation: Rotation) -> None:
        if rotation.retirable:
            rotation.rotate()
            halves = [Half.REFUSE]
            if rotation.traits.revoke is Revoke.REFUSE_REMOVE:
                halves.append(Half.REMOVE)
            for half in halves:
                first, second = rotation.retire(rotation.current, half), rotation.retire(rotation.current, half)
                assert first == RetireResponse()
                assert second == RetireResponse(already=True)
        if rotation.traits.revoke is Revoke.REFUSE_REMOVE:
            assert rotation.current.handle not in {found.handle for found in rotation.inspect().seen}

    def test_retire_is_refused_where_it_is_not_declared(self, rotation: Rotation) -> None:
        if rotation.traits.revoke is Revoke.NONE:
            rotation.rotate()
            assert isinstance(rotation.retire(rotation.new), Refused)
            assert rotation.everywhere(rotation.new)

    @pytest.mark.parametrize("half", Half)
    def test_retiring_an_unknown_handle_is_done_and_touches_nothing(self, rotation: Rotation, half: Half) -> None:
        if rotation.traits.revoke is not Revoke.NONE:
            nobody = replace(rotation.current, handle="nobody-made-this")
            assert rotation.retire(nobody, half) == RetireResponse(already=True)
            nameless = rotation.retire(replace(rotation.current, handle=""), half)
            assert nameless == RetireResponse(already=True) or isinstance(nameless, Refused)
        assert rotation.inspect().seen == rotation.before.seen
        assert rotation.everywhere(rotation.current)

    def test_rotating_and_retiring_leave_neighbours_alone(self, rotation: Rotation) -> None:
        beside = replace(rotation.current, bundle=rotation.world.neighbour())
        assert rotation.everywhere(beside)
        rotation.rotate()
        if rotation.retirable:
            rotation.retire_wholly(rotation.current)
        assert rotation.everywhere(beside)

    @pytest.mark.parametrize("point", POINTS)
    @pytest.mark.parametrize("half", Half)
    @pytest.mark.parametrize("fault", LOST)
    def test_a_lost_retire_may_be_called_again(self, world: World, fault: str, half: Half, point: int) -> None:
        rotation = Rotation(world)
        if rotation.retirable and (half is Half.REFUSE or rotation.traits.revoke is Revoke.REFUSE_REMOVE):
            new = rotation.rotate()
            if half is Half.REMOVE:
                rotation.retire(rotation.current)
            rotation.lose("retire", fault, point)
            answer = rotation.retire(rotation.current, half)
            assert isinstance(answer, Doubt) or (point > 1 and isinstance(answer, RetireResponse))
            assert rotation.everywhere(new)
            if isinstance(answer, RetireResponse):
                return
            rotation.retire_wholly(rotation.current)
            if fault == "late":
                rotation.outlast()
            assert rotation.eventually(lambda: rotation.nowhere(rotation.current), rotation.traits.revocation_s)
            assert rotation.everywhere(new)

    def test_probe_agrees_with_the_vendor(self, rotation: Rotation) -> None:
        for endpoint in rotation.before.endpoints:
            answer = rotation.probe(rotation.current.bundle, endpoint, rotation.current.handle)
            assert isinstance(answer, ProbeResponse)
            assert answer.verdict is Verdict.ACCEPTED

    def test_a_made_up_value_is_refused_where_asking_is_harmless(self, rotation: Rotation) -> None:
        if rotation.traits.decoy:
            for endpoint in rotation.before.endpoints:
                answer = rotation.probe(rotation.made_up(), endpoint)
                assert isinstance(answer, ProbeResponse)
                assert answer.verdict is Verdict.REFUSED
            assert rotation.everywhere(rotation.current)

    def test_an_endpoint_that_does_not_answer_proves_nothing(self, rotation: Rotation) -> None:
        rotation.world.misbehave("probe", "unavailable")
        answer = rotation.probe(rotation.current.bundle, rotation.before.endpoints[0], rotation.current.handle)
        unknown = isinstance(answer, ProbeResponse) and answer.verdict is Verdict.UNKNOWN
        assert isinstance(answer, NotSent) or unknown or rotation.nobody_was_asked()

    def test_break_glass_takes_the_artefact_and_nothing_else(self, rotation: Rotation) -> None:
        if "reset" in rotation.plugin.extras:
            rotation.current = rotation.rotate()
            rotation.new = rotation.mint(3)
            right = rotation.current.bundle.only(rotation.traits.artefacts)
            wrong = Bundle(dict.fromkeys(rotation.traits.artefacts, "made up"))
            refused = self._reset(rotation, wrong)
            if isinstance(refused, IssueResponse) and refused.waiting:
                return  # a person brings it to the vendor
            assert isinstance(refused, Refused)
            assert rotation.everywhere(rotation.current)
            answer = self._reset(rotation, right)
            assert isinstance(answer, IssueResponse)
            rotation.finish(answer)
            assert set(rotation.traits.artefacts) <= set(answer.bundle)

    def test_no_value_is_said_anywhere(
        self, world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        caplog.set_level("DEBUG")
        rotation = Rotation(world)
        for fault in ("refused", "before", "after"):
            world.misbehave("issue", fault)
            answer = rotation.issue()
            if isinstance(answer, IssueResponse):
                rotation.finish(answer)
                break
            settled = rotation.settle()
            if settled.outcome is not Settled.NOT_APPLIED:
                rotation.recover(settled)
                break
        rotation.probe(rotation.made_up(), rotation.before.endpoints[0])
        out, err = capfd.readouterr()
        said = "\n".join([*rotation.said, caplog.text, repr(world.context.notes), out, err])
        assert rotation.values
        for value in rotation.values:
            assert value not in said, "a value was said"
            assert base64.b64encode(value.encode()).decode() not in said, "a value was said in base64"

    @staticmethod
    def _reset(rotation: Rotation, supplied: Bundle) -> Any:
        call = rotation.call(f"reset-{rotation.new.id}")
        return rotation.ask("reset", ResetRequest(call=call, new=rotation.new, supplied=supplied))
