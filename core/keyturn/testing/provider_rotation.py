"""What the provider suite works on: a world that an author hands over, and one rotation in it, done by hand."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, cast

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
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
    Repeat,
    RetireRequest,
    RetireResponse,
    Revoke,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
    Version,
    Waiting,
)
from keyturn.clock import Clock
from keyturn.ids import new_id
from keyturn.mint import given
from keyturn.testing.context import FakeContext

LATE_TICKS = 20
DEADLINE_S = 30.0


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


class DerivedWorld(World, Protocol):
    """A world whose secret is derived from another one (`Plugin.source`)."""

    def source(self) -> Version:
        """The current version of that other secret, whose value is the one to derive from."""


class Rotation:
    """One rotation by hand: what an engine does, without its journal. A fresh provider for each call, as if crashed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.plugin = world.plugin
        made = self.plugin.traits(world.account, world.target) if self.plugin.traits else None
        assert isinstance(made, Traits)
        self.traits: Traits = made
        # What ends by its own expiry is neither named at the vendor nor retired.
        self.retirable = self.traits.coexist and not self.traits.own_expiry
        self.said: list[str] = []
        self.values: list[str] = []
        self.source = self._source()
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
        bundle = Bundle(given(self.traits, idle.name if idle else None))
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
            source=self.source,
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
        assert version.handle is not None or not self.retirable
        call = self.call(f"retire-{half}-{version.id}")
        stays = self.current if version.handle == self.new.handle else self.new
        request = RetireRequest(
            call=call, handle=version.handle or "", slot=version.slot, half=half, successor=stays.handle
        )
        answer = self.ask("retire", request)
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
        assert handle or not self.retirable, "what coexists needs a handle, or it can not be retired"
        assert self.eventually(lambda: self.everywhere(self.new), self.traits.activation_s), "not accepted everywhere"
        return self.new

    def recover(self, settled: SettleResponse) -> Version:
        """The way on from a settled doubt, as the traits allow it, to a version that is accepted everywhere."""
        if settled.outcome is Settled.APPLIED:
            return self.adopt(settled)
        if settled.outcome is Settled.APPLIED_GONE:
            if self.retirable:
                self.retire_wholly(replace(self.new, handle=settled.handle))
            self.new, self.attempts, self.before = self.mint(3), [], self.inspect()
        answer = self.issue()
        assert isinstance(answer, IssueResponse), answer
        return self.finish(answer)

    def judge(self, settled: SettleResponse) -> None:
        """Fail where settle did not tell the truth, or told less than the vendor shows."""
        look = self.inspect()
        outcome, seen = settled.outcome, look.seen
        assert outcome is not Settled.UNKNOWN, "the vendor can be looked at"
        if outcome is Settled.NOT_APPLIED:
            assert (seen, look.witness) == (self.before.seen, self.before.witness), "something changed"
            assert self.everywhere(self.current), "the current version suffered"
        if outcome is Settled.PARTLY:
            assert self.traits.repeat is Repeat.SAFE, "a part is completed by issuing again"
            assert self.everywhere(self.current) or self.traits.dies_by_issue
        if outcome is Settled.APPLIED_GONE:
            assert self.traits.made_by(Maker.VENDOR), "our own value is never gone"
            assert not self.traits.readable, "a readable value is never gone"
            assert settled.handle in {found.handle for found in seen}, "the stray is withdrawn by this handle"

    def nobody_was_asked(self) -> bool:
        """Whether a line that was cut for the next call is still cut: what needs no vendor to be told may be told."""
        return self.traits.own_expiry and isinstance(self.issue(), NotSent)

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

    def _source(self) -> Version | None:
        """What the secret is derived from, where the plugin says that it is."""
        if not self.plugin.source or not self.plugin.source(self.world.account, self.world.target):
            return None
        source = cast("DerivedWorld", self.world).source()
        plain = {field.name for field in self.traits.fields if not field.sensitive}
        self.values += source.bundle.only(set(source.bundle) - plain).reveal().values()
        return source

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
