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
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import pytest

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
    Doubt,
    Field,
    Half,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Maker,
    MakeRequest,
    NotSent,
    Plugin,
    PluginError,
    ProbeRequest,
    ProbeResponse,
    Recipe,
    Refused,
    Repeat,
    ResetRequest,
    RetireRequest,
    RetireResponse,
    Revoke,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
    Verdict,
    Version,
    Waiting,
)
from keyturn.clock import Clock
from keyturn.ids import new_id
from keyturn.testing.context import FakeContext
from keyturn.traits import validate_traits

LATE_TICKS = 20
DEADLINE_S = 30.0
LOST = ["before", "after", "late"]
POINTS = [1, 2, 3, 4]
"""Which of the calls that change something inside one `issue` is hit; where there are fewer, nothing is."""


class World(Protocol):
    """A plugin with validated options, and its vendor in a test's hands."""

    @property
    def plugin(self) -> Plugin:
        """The registration under test."""

    @property
    def account(self) -> Any:
        """Its account options, validated."""

    @property
    def target(self) -> Any:
        """The target options of one secret, validated."""

    @property
    def clock(self) -> Clock:
        """The vendor's and the context's clock."""

    @property
    def tick_s(self) -> float:
        """The shortest wait worth making: 1.0 on a clock that is driven, little (0.05) on the machine's own.

        Polls come so often, and a late call commits 20 ticks late: longer than a call takes, shorter than its deadline.
        """

    @property
    def context(self) -> FakeContext:
        """What the provider is given."""

    def seed(self) -> Version:
        """A first credential of the target, made by an admin, accepted everywhere: with slot, handle and bundle."""

    def neighbour(self) -> Bundle:
        """A credential that is not the target's, accepted everywhere; the same one at each call."""

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        """The oracle: asks the vendor's state, not the provider."""

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        """Hit the nth coming call of `verb` (issue, retire: calls that change something).

        Faults: `unavailable` (could not be sent), `refused` (nothing changed), `before` and `after` (answer lost
        before or after the commit), `late:SECONDS` (answer lost at once, committed that much later). Where the vendor
        is a simulator over HTTP, `context.cut` makes a call unavailable, and the simulator does the rest.
        """

    def person(self, waiting: Waiting) -> Bundle:
        """Do what a waiting provider wants done; the fields it then supplies. Never called where none waits."""


class Rotation:
    """One rotation by hand: what an engine does, without its journal. A fresh provider for each call, as if crashed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plugin = world.plugin
        made = self.plugin.traits(world.account, world.target) if self.plugin.traits else None
        assert isinstance(made, Traits)
        self.traits: Traits = made
        self.said: list[str] = []
        self.values: list[str] = []
        self.current = self.keep(world.seed())
        self.before = self.inspect()
        self.attempts: list[Attempt] = []
        self.new = self.mint(2)

    @property
    def provider(self) -> Any:
        """A fresh instance."""
        return self.plugin.load()(self.world.context, self.world.account)

    def keep(self, version: Version) -> Version:
        """Remember the version's values, to search for them in what is said."""
        hidden = {field.name for field in self.traits.fields if field.sensitive}
        self.values += version.bundle.only(hidden).reveal().values()
        return version

    def mint(self, number: int) -> Version:
        """The next version with the fields that we and the slot make."""
        idle = next((slot for slot in self.traits.slots if slot.name != self.current.slot), None)
        bundle = Bundle(dict(idle.fixed)) if idle else Bundle()
        if "make" in self.plugin.extras:
            request = MakeRequest(call=self.call(), slot=idle.name if idle else None)
            bundle = bundle.with_(self.provider.make(request).bundle)
        else:
            bundle = bundle.with_(Bundle({f.name: made_up(f) for f in self.traits.made_by(Maker.US)}))
        return self.keep(
            Version(id=new_id(self.world.clock), number=number, slot=idle.name if idle else None, bundle=bundle)
        )

    def call(self, attempt_id: str = "look") -> Call:
        """A call that must end in half a minute."""
        deadline_at = self.world.clock.now() + DEADLINE_S
        return Call(
            secret="contract/secret",  # noqa: S106 - a name
            rotation_id="rotation-1",
            attempt_id=attempt_id,
            deadline_at=deadline_at,
            target=self.world.target,
        )

    def ask(self, verb: str, request: Any) -> Any:
        """Call a verb; its answer, or the plugin error it raised. What it said is kept."""
        try:
            answer = getattr(self.provider, verb)(request)
        except PluginError as error:
            answer = error
        self.said.append(f"{answer!r} {answer}")
        return answer

    def inspect(self, *, want_value: bool = False) -> InspectResponse:
        """Look at the vendor."""
        answer = self.ask("inspect", InspectRequest(call=self.call(), current=self.current, want_value=want_value))
        assert isinstance(answer, InspectResponse)
        return answer

    def issue(self) -> IssueResponse | PluginError:
        """One attempt to bring `new` to life."""
        call = self.call(f"attempt-{len(self.attempts) + 1}-{self.new.id}")
        self.attempts.append(Attempt(id=call.attempt_id, sent_at=self.world.clock.now(), deadline_at=call.deadline_at))
        request = IssueRequest(call=call, new=self.new, current=self._given(), witness=self.before.witness)
        answer = self.ask("issue", request)
        assert isinstance(answer, IssueResponse | PluginError)
        return answer

    def settle(self, supplied: Bundle | None = None) -> SettleResponse:
        """Find out what became of the attempts."""
        request = SettleRequest(
            call=self.call(),
            new=self.new,
            current=self._given(),
            witness=self.before.witness,
            attempts=tuple(self.attempts),
            supplied=supplied or Bundle(),
        )
        answer = self.ask("settle", request)
        assert isinstance(answer, SettleResponse)
        return answer

    def probe(self, bundle: Bundle, endpoint: str, handle: str | None = None) -> ProbeResponse | PluginError:
        """Ask one endpoint."""
        request = ProbeRequest(call=self.call(), endpoint=endpoint, bundle=bundle, handle=handle)
        answer = self.ask("probe", request)
        assert isinstance(answer, ProbeResponse | PluginError)
        return answer

    def retire(self, version: Version, half: Half = Half.REFUSE) -> RetireResponse | PluginError:
        """Retire a version."""
        assert version.handle is not None
        call = self.call(f"retire-{half}-{version.id}")
        answer = self.ask("retire", RetireRequest(call=call, handle=version.handle, slot=version.slot, half=half))
        assert isinstance(answer, RetireResponse | PluginError)
        return answer

    def retire_wholly(self, version: Version) -> None:
        """Both halves, where there are two."""
        assert isinstance(self.retire(version), RetireResponse)
        if self.traits.revoke is Revoke.REFUSE_REMOVE:
            assert isinstance(self.retire(version, Half.REMOVE), RetireResponse)

    def rotate(self) -> Version:
        """Issue `new` without trouble, until it is accepted everywhere."""
        answer = self.issue()
        assert isinstance(answer, IssueResponse), answer
        return self.finish(answer)

    def finish(self, answer: IssueResponse) -> Version:
        """What follows an answer: the person acts where one is waited for; then it is accepted everywhere."""
        if answer.waiting:
            assert self.settle().outcome is Settled.NOT_APPLIED, "nobody has acted yet"
            supplied = self.world.person(answer.waiting)
            assert set(answer.waiting.wants) <= set(supplied)
            return self.adopt(self.settle(supplied))
        return self.complete(answer.handle, answer.bundle)

    def adopt(self, settled: SettleResponse) -> Version:
        """The version that settle found applied."""
        assert settled.outcome is Settled.APPLIED, settled
        return self.complete(settled.handle, settled.bundle)

    def complete(self, handle: str | None, bundle: Bundle) -> Version:
        """The whole version, accepted everywhere within the activation time."""
        self.new = self.keep(replace(self.new, handle=handle, bundle=self.new.bundle.with_(bundle)))
        wanted = {field.name for field in self.traits.fields if not field.artefact}
        assert wanted <= set(self.new.bundle), "a field is missing"
        assert handle or not self.traits.coexist, "what coexists needs a handle, or it can not be retired"
        assert self.eventually(lambda: self.everywhere(self.new), self.traits.activation_s), "not accepted everywhere"
        return self.new

    def recover(self, settled: SettleResponse) -> Version:
        """The way on from a settled doubt, as the traits allow it, to a version that is accepted everywhere."""
        if settled.outcome is Settled.APPLIED:
            return self.adopt(settled)
        if settled.outcome is Settled.APPLIED_GONE:
            if self.traits.coexist:
                self.retire_wholly(replace(self.new, handle=settled.handle))
            self.new, self.attempts, self.before = self.mint(3), [], self.inspect()
        answer = self.issue()
        assert isinstance(answer, IssueResponse), answer
        return self.finish(answer)

    def judge(self, settled: SettleResponse) -> None:
        """Fail where settle did not tell the truth, or told less than the vendor shows."""
        outcome, seen = settled.outcome, self.inspect().seen
        assert outcome is not Settled.UNKNOWN, "the vendor can be looked at"
        if outcome is Settled.NOT_APPLIED:
            assert seen == self.before.seen, "something changed"
            assert self.everywhere(self.current), "the current version suffered"
        if outcome is Settled.PARTLY:
            assert self.traits.repeat is Repeat.SAFE, "a part is completed by issuing again"
            assert self.everywhere(self.current) or self.traits.dies_by_issue
        if outcome is Settled.APPLIED_GONE:
            assert self.traits.made_by(Maker.VENDOR), "our own value is never gone"
            assert not self.traits.readable, "a readable value is never gone"
            assert settled.handle in {found.handle for found in seen}, "the stray is withdrawn by this handle"

    def everywhere(self, version: Version) -> bool:
        """Whether the vendor accepts this version at every endpoint now."""
        return all(self.world.accepts(endpoint, version.bundle) for endpoint in self.before.endpoints)

    def nowhere(self, version: Version) -> bool:
        """Whether the vendor accepts this version at no endpoint now."""
        return not any(self.world.accepts(endpoint, version.bundle) for endpoint in self.before.endpoints)

    def eventually(self, check: Callable[[], bool], at_most_s: float) -> bool:
        """Poll on the world's clock."""
        tick_s = self.world.tick_s
        return self.world.context.wait(check, every_s=tick_s, at_most_s=at_most_s + tick_s)

    def lose(self, verb: str, fault: str, nth: int = 1) -> None:
        """Plan one of `LOST`."""
        late_s = LATE_TICKS * self.world.tick_s
        self.world.misbehave(verb, f"late:{late_s:g}" if fault == "late" else fault, nth)

    def outlast(self) -> None:
        """Wait until a late call has landed."""
        self.world.clock.wait((LATE_TICKS + 1) * self.world.tick_s)

    def made_up(self) -> Bundle:
        """A value that nobody issued."""
        sensitive = {f.name: made_up(f) for f in self.traits.fields if f.sensitive and not f.artefact}
        return self.current.bundle.with_(Bundle(sensitive))

    def _given(self) -> Version:
        """The current version as the engine hands it over: with its value where that is needed."""
        return self.current if self.traits.needs_current else replace(self.current, bundle=Bundle())


def made_up(field: Field) -> str:
    """A fresh value for a field, by its recipe."""
    recipe = field.recipe or Recipe()
    for _ in range(100):
        text = recipe.prefix + "".join(secrets.choice(recipe.alphabet) for _ in range(recipe.length))
        if not recipe.forbid_prefix or not text.startswith(recipe.forbid_prefix):
            return text
    raise AssertionError("the recipe forbids nearly everything")


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
        assert rotation.current.handle in {found.handle for found in seen.seen}
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
        assert isinstance(answer, NotSent) or any(problem.fatal and problem.passing for problem in problems)

    def test_issued_is_accepted_everywhere_and_seen(self, rotation: Rotation) -> None:
        new = rotation.rotate()
        assert set(rotation.traits.artefacts) <= set(new.bundle)
        if rotation.traits.coexist:
            assert new.handle in {found.handle for found in rotation.inspect().seen}

    def test_old_stays_accepted_until_retired_where_both_coexist(self, rotation: Rotation) -> None:
        new, traits = rotation.rotate(), rotation.traits
        if traits.coexist:
            assert rotation.everywhere(rotation.current)
            assert isinstance(rotation.retire(rotation.current), RetireResponse)
        ends_s = traits.revocation_s + (traits.grace_s or 0.0)
        assert rotation.eventually(lambda: rotation.nowhere(rotation.current), ends_s)
        assert rotation.everywhere(new)

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
            assert settled.outcome is Settled.NOT_APPLIED
        rotation.recover(settled)

    def test_retiring_twice_says_already(self, rotation: Rotation) -> None:
        if rotation.traits.coexist:
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
        if rotation.traits.coexist:
            rotation.retire_wholly(rotation.current)
        assert rotation.everywhere(beside)

    @pytest.mark.parametrize("point", POINTS)
    @pytest.mark.parametrize("half", Half)
    @pytest.mark.parametrize("fault", LOST)
    def test_a_lost_retire_may_be_called_again(self, world: World, fault: str, half: Half, point: int) -> None:
        rotation = Rotation(world)
        if rotation.traits.coexist and (half is Half.REFUSE or rotation.traits.revoke is Revoke.REFUSE_REMOVE):
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
        assert isinstance(answer, NotSent) or (isinstance(answer, ProbeResponse) and answer.verdict is Verdict.UNKNOWN)

    def test_break_glass_takes_the_artefact_and_nothing_else(self, rotation: Rotation) -> None:
        if "reset" in rotation.plugin.extras:
            rotation.current = rotation.rotate()
            rotation.new = rotation.mint(3)
            right = rotation.current.bundle.only(rotation.traits.artefacts)
            wrong = Bundle(dict.fromkeys(rotation.traits.artefacts, "made up"))
            assert isinstance(self._reset(rotation, wrong), Refused)
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
