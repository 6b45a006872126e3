"""The real Layer7 plugin and HTTP client on a clock under control, against the simulated portal and its proxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
    Half,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    PluginError,
    ProbeRequest,
    ProbeResponse,
    RetireRequest,
    RetireResponse,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
    Waiting,
)
from keyturn.ids import new_id
from keyturn.testing.clock import FakeClock
from keyturn.testing.context import FakeContext
from keyturn.testing.provider_rotation import made_up
from keyturn_apiportal.layer7.hook import keyturn_plugin
from keyturn_apiportal.layer7.options import Account, Target, traits
from keyturn_apiportal.layer7.simulator import Simulator
from keyturn_apiportal.layer7.simulator_switches import ProxySwitches, Switches

PATIENCE_S = 20.0
SHORT_S = 0.4
"""How long a call may take that will get no answer."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of replacing the secret: what the target says, and the portal that suits it."""

    target: Mapping[str, Any]
    hashed: bool = False
    version: str = "5.2.1+"


WAYS: Mapping[str, Way] = {
    "patch": Way(target={"way": "patch", "hashed": "as-is"}),
    "patch, hashed": Way(target={"way": "patch", "hashed": "always"}, hashed=True),
    "put": Way(target={"way": "put", "hashed": "as-is"}, version="5.1"),
    "put, hashed": Way(target={"way": "put", "hashed": "always"}, version="5.1", hashed=True),
    "legacy": Way(target={"way": "legacy", "hashed": "as-is"}, version="4.5"),
    "second key": Way(target={"way": "second-key", "hashed": "as-is"}),
    "second key, hashed": Way(target={"way": "second-key", "hashed": "always"}, hashed=True),
}
MAKES = {"patch": "patch", "put": "put-key", "legacy": "put-legacy", "second-key": "post-key"}
"""The call by which each way changes the secret."""


def references(sim: Simulator) -> dict[str, str]:
    """What the account's references resolve to."""
    return {f"env:{name}": value for name, value in sim.environment.items()}


def account_of(sim: Simulator, **options: Any) -> Account:
    """The simulator's account; its proxies with their names."""
    usual = {
        "url": sim.url,
        "tenant": sim.tenant,
        "client_id": "env:PAPI_ID",
        "client_secret": "env:PAPI_SECRET",
        "proxies": [{"url": one.url, "name": one.name} for one in sim.proxies],
    }
    return Account.model_validate({**usual, **options})


class Portals:
    """One running portal for many tests, each with an application of its own. Servers take a while to start."""

    def __init__(self, proxies: int = 2) -> None:
        self.clock = FakeClock()
        self.sim = Simulator(now=self.clock.now, wait=self.clock.wait, proxies=proxies)

    def fresh(self, way: Way, *, sync_s: float = 0.0) -> Simulator:
        """The portal as if just started, as it suits a way, and every proxy up."""
        sim = self.sim
        sim.obey({"clear": True, "revoke": "tokens", "proxies": {one.name: {"down": False} for one in sim.proxies}})
        with sim.world.lock:
            sim.world.switches = Switches(version=way.version)
            for proxy in sim.proxies:
                proxy.state.switches = ProxySwitches(sync_s=sync_s)
            sim.world.log.clear()
            sim.world.reviews.clear()
        sim.application = sim.add_application("batch")
        sim.api_key, sim.secret = sim.add_key(hashed=way.hashed)
        return sim


@contextmanager
def portals(proxies: int = 2) -> Iterator[Portals]:
    """A portal that runs meanwhile."""
    made = Portals(proxies)
    with made.sim:
        yield made


@dataclass
class Bench:
    """One provider at one portal: short names for the verbs. Each call is made by a fresh instance, as if crashed."""

    sim: Simulator
    clock: FakeClock
    way: Way
    options: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.context = FakeContext(self.clock, references=references(self.sim))
        self.account = account_of(self.sim, **self.options)
        named = {"application": self.sim.application, "api_key": self.sim.api_key}
        self.target = Target.model_validate({**named, **self.way.target, **self.more})
        self.traits = traits(self.account, self.target)
        self.witness: Mapping[str, str] = {}
        self.attempts: list[Attempt] = []
        self.old = Version(
            id="v1",
            number=1,
            handle=self.handle(),
            bundle=Bundle({"client_id": self.sim.api_key, "client_secret": self.sim.secret}),
        )
        ours = {one.name: made_up(one) for one in self.traits.fields if one.recipe}
        fixed = {one.name: one.value for one in self.traits.fields if one.value}
        self.new = Version(id=new_id(self.clock), number=2, bundle=Bundle({**fixed, **ours}))

    @property
    def provider(self) -> Any:
        """A fresh instance."""
        return keyturn_plugin().load()(self.context, self.account)

    def handle(self) -> str:
        """What the provider calls the key as it is now."""
        key = self.sim.key()
        assert key
        return f"{key.api_key}@{key.modified}" if self.target.in_place else key.api_key

    @property
    def makes(self) -> str:
        """The call by which the secret is changed."""
        return MAKES[self.target.way]

    def call(self, attempt: str = "look", *, patience_s: float = PATIENCE_S) -> Call:
        """A call with the bench's patience."""
        return Call(
            secret="partners/portal-key",
            rotation_id="rotation-1",
            attempt_id=attempt,
            deadline_at=self.clock.now() + patience_s,
            target=self.target,
        )

    def inspect(self, *, known: tuple[str, ...] = (), want_value: bool = False) -> InspectResponse:
        """Look; what it saw is the witness of the next change."""
        request = InspectRequest(call=self.call(), current=self.old, known=known, want_value=want_value)
        answer = self.provider.inspect(request)
        assert isinstance(answer, InspectResponse)
        self.witness = answer.witness
        return answer

    def problems(self) -> dict[str, bool]:
        """By code, what a look finds, and whether it is fatal."""
        return {one.code: one.fatal for one in self.inspect().problems}

    def issue(self, *, patience_s: float = PATIENCE_S) -> IssueResponse:
        """One attempt, with what was seen last as its witness."""
        call = self.call(f"attempt-{len(self.attempts) + 1}", patience_s=patience_s)
        self.attempts.append(Attempt(id=call.attempt_id, sent_at=self.clock.now(), deadline_at=call.deadline_at))
        current = self.old if self.traits.needs_current else None
        request = IssueRequest(call=call, new=self.new, current=current, witness=self.witness)
        answer = self.provider.issue(request)
        assert isinstance(answer, IssueResponse)
        return answer

    def trouble(self, **more: Any) -> PluginError:
        """What an attempt raises."""
        try:
            answer = self.issue(**more)
        except PluginError as error:
            return error
        raise AssertionError(f"expected trouble, got {answer}")

    def settle(self, *, raws: bool = True, final: bool = False) -> SettleResponse:
        """Look for the truth, with the answers that were sealed unless told."""
        sealed = tuple(raw for one in self.attempts for raw in self.context.sealed.get(one.id, ())) if raws else ()
        request = SettleRequest(
            call=self.call(),
            new=self.new,
            current=self.old if self.traits.needs_current else None,
            witness=self.witness,
            attempts=tuple(self.attempts),
            raws=sealed,
            final=final,
        )
        answer = self.provider.settle(request)
        assert isinstance(answer, SettleResponse)
        return answer

    def probe(self, bundle: Bundle, proxy: int = 0) -> ProbeResponse:
        """Ask one proxy."""
        request = ProbeRequest(call=self.call(), endpoint=self.sim.proxies[proxy].url, bundle=bundle)
        answer = self.provider.probe(request)
        assert isinstance(answer, ProbeResponse)
        return answer

    def verdicts(self, bundle: Bundle) -> list[Verdict]:
        """By proxy."""
        return [self.probe(bundle, n).verdict for n in range(len(self.sim.proxies))]

    def retire(self, handle: str, half: Half = Half.REFUSE, successor: str | None = None) -> RetireResponse:
        """Retire a key."""
        request = RetireRequest(call=self.call(f"retire-{half}"), handle=handle, half=half, successor=successor)
        answer = self.provider.retire(request)
        assert isinstance(answer, RetireResponse)
        return answer

    def whole(self, made: Bundle) -> Bundle:
        """The whole bundle of the new version, with what was made."""
        return self.new.bundle.with_(made)

    def sent(self) -> int:
        """How many changes of the secret reached the portal."""
        return len(self.sim.log.attempts(self.makes))


class Benches:
    """Makes benches at one portal, and closes them."""

    def __init__(self, at: Portals) -> None:
        self._at = at
        self._made: list[Bench] = []

    def __call__(
        self, name: str, *, sync_s: float = 0.0, target: Mapping[str, Any] | None = None, **options: Any
    ) -> Bench:
        """A provider at the portal as it suits this way; `options` are the account's."""
        way = WAYS[name]
        sim = self._at.fresh(way, sync_s=sync_s)
        self._made.append(Bench(sim, self._at.clock, way, options, target or {}))
        return self._made[-1]

    def close(self) -> None:
        """Close what was made."""
        for one in self._made:
            one.context.close()


class PortalWorld:
    """The portal in the hands of the shared suite."""

    tick_s = 1.0

    def __init__(self, at: Portals, way: Way) -> None:
        sim = at.fresh(way)
        one = Bench(sim, at.clock, way)
        self.sim, self.clock, self.context = sim, one.clock, one.context
        self.plugin, self.account, self.target = keyturn_plugin(), one.account, one.target
        self._seed, self._makes = one.old, one.makes
        self._beside = sim.add_key(sim.add_application("beside"))

    def seed(self) -> Version:
        return self._seed

    def neighbour(self) -> Bundle:
        client_id, secret = self._beside
        return Bundle({"client_id": client_id, "client_secret": secret})

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        fields = bundle.reveal()
        return self.sim.accepts(endpoint, fields["client_id"], fields["client_secret"])

    def misbehave(self, verb: str, fault: str, nth: int = 1) -> None:
        hows = {"refused": "400", "before": "reset-before", "after": "reset-after"}
        if fault == "unavailable":
            self.context.cut(nth, changes_only=verb in ("issue", "retire"))
        else:
            self.sim.fault("changes", hows.get(fault, fault), skip=nth - 1)

    def person(self, waiting: Waiting) -> Bundle:
        raise AssertionError(f"nobody is waited for here: {waiting}")
