"""What all fakes share: a far side whose credentials and endpoints survive a crash of the engine, and its oracle."""

from __future__ import annotations

import json
import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from keyturn.api import (
    Attempt,
    Bundle,
    Call,
    Context,
    Kind,
    NotSent,
    Plugin,
    ProbeRequest,
    ProbeResponse,
    Refused,
    RetireRequest,
    RetireResponse,
    Secret,
    Seen,
    Traits,
    Verdict,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import FakeAccount, FakeTarget
from keyturn.testing.faults import Wire

T = TypeVar("T")


@dataclass(eq=False, kw_only=True)
class Credential:
    """One credential at a vendor. It is accepted from `born_at` to `ends_at` (epoch s), at `endpoint` (None: all)."""

    handle: str
    owner: str
    fields: Mapping[str, str] = field(repr=False)
    born_at: float
    ends_at: float = math.inf
    endpoint: str | None = None
    label: str = ""
    slot: str | None = None
    removed: bool = False

    def end(self, at: float) -> None:
        """Accepted no longer than until `at`."""
        self.ends_at = min(self.ends_at, at)


@dataclass(eq=False, kw_only=True)
class Endpoint:
    """One place that accepts credentials, and how it misbehaves.

    `lag_s`: hears of every change so much later; `cache_s`: takes what ended for so much longer. `down_until`: does not
    answer before (epoch s); if it `hangs`, not before the caller's patience is over either. `unknown_until`: proves
    nothing before (epoch s). `blind_to`: handles that it refuses though they are good.
    """

    name: str
    lag_s: float = 0.0
    cache_s: float = 0.0
    down_until: float = 0.0
    hangs: bool = False
    unknown_until: float = 0.0
    blind_to: set[str] = field(default_factory=set)

    def takes(self, credential: Credential, now: float) -> bool:
        """Whether this credential is accepted here now."""
        here = credential.endpoint in (None, self.name) and credential.handle not in self.blind_to
        return here and credential.born_at + self.lag_s <= now < credential.ends_at + self.lag_s + self.cache_s


class Mutation(NamedTuple):
    """One call that reached for a change, whatever became of it."""

    verb: str
    attempt_id: str
    handle: str
    what: str


class Vendor:
    """A far side: strict, in memory, all time from the clock given. Plan misbehaviour in `faults` and `endpoints`.

    `log` holds every mutating call; `probes` counts what was asked of each endpoint.
    """

    login: ClassVar[tuple[str, ...]]
    account: FakeAccount

    def __init__(self, clock: FakeClock, endpoints: Iterable[str]) -> None:
        self.clock = clock
        self.wire = Wire(clock)
        self.faults = self.wire.faults
        self.endpoints = {name: Endpoint(name=name) for name in endpoints}
        self.credentials: list[Credential] = []
        self.log: list[Mutation] = []
        self.probes: Counter[str] = Counter()
        self._serial = 0

    def seed(self, owner: str = "main") -> tuple[str | None, Bundle, str | None]:
        """A first accepted credential, made by an admin long ago: handle (where it has one), value, slot."""
        raise NotImplementedError

    def accepts(self, endpoint: str, bundle: Bundle) -> bool:
        """The oracle: whether this endpoint would let this value in now. Counts nothing, never misbehaves."""
        return self._match(endpoint, bundle) is not None

    def accepted_by(self, bundle: Bundle) -> tuple[str, ...]:
        """The oracle: all endpoints that would let this value in now."""
        return tuple(name for name in self.endpoints if self.accepts(name, bundle))

    def ask(self, call: Call, endpoint: str, bundle: Bundle) -> ProbeResponse:
        """What an endpoint says of a value. Counted."""
        self.probes[endpoint] += 1
        self._reach(endpoint, call.deadline_at)
        return self.wire.look("probe", call.deadline_at, lambda: self._verdict(endpoint, bundle))

    def _reach(self, endpoint: str, deadline_at: float) -> None:
        gate, now = self.endpoints.get(endpoint), self.clock.now()
        if gate is None or gate.down_until <= now:
            return
        if gate.hangs:
            self.clock.wait(max(0.0, deadline_at - now))
        raise NotSent(f"{endpoint} does not answer", code="down")

    def join(self, endpoint: str) -> None:
        """Another endpoint comes up, knowing what is mirrored everywhere."""
        self.endpoints[endpoint] = Endpoint(name=endpoint)

    def admin_removes(self, handle: str, endpoint: str | None = None) -> None:
        """Somebody takes a credential away behind our back, at one endpoint or everywhere."""
        now = self.clock.now()
        for credential in self.credentials:
            if credential.handle == handle and endpoint in (None, credential.endpoint):
                credential.end(now)
                credential.removed = True
            elif credential.handle == handle and endpoint and credential.endpoint is None:
                self.endpoints[endpoint].blind_to.add(handle)

    def of(self, owner: str) -> list[Credential]:
        """An owner's credentials that the vendor still shows, oldest first."""
        self.wire.tick()
        return [c for c in self.credentials if c.owner == owner and not c.removed]

    def seen(self, owner: str) -> tuple[Seen, ...]:
        """The same as a provider reports them."""
        now = self.clock.now()
        return tuple(Seen(handle=c.handle, slot=c.slot, enabled=c.ends_at > now, note=c.label) for c in self.of(owner))

    def newest(self, owner: str) -> Credential | None:
        """The owner's latest credential."""
        return next(reversed(self.of(owner)), None)

    def change(self, verb: str, call: Call, what: str, handle: str, apply: Callable[[float], T]) -> T:
        """Deliver a mutating call over the wire, logged."""
        self.log.append(Mutation(verb, call.attempt_id, handle, what))
        return self.wire.send(verb, call.deadline_at, apply)

    def look(self, verb: str, call: Call, read: Callable[[], T]) -> T:
        """Deliver a reading call over the wire."""
        return self.wire.look(verb, call.deadline_at, read)

    def add(self, owner: str, fields: Mapping[str, str], at: float, **more: Any) -> Credential:
        """Bring a credential to life, under the next handle unless one is given."""
        self._serial += 1
        more.setdefault("handle", f"{owner}-{self._serial}")
        credential = Credential(owner=owner, fields=fields, born_at=at, **more)
        self.credentials.append(credential)
        return credential

    def replace(
        self, owner: str, fields: Mapping[str, str], at: float, *, grace_s: float = 0.0, **more: Any
    ) -> Credential:
        """Bring a credential to life and end the owner's others after the grace."""
        for credential in self.of(owner):
            credential.end(at + grace_s)
            credential.removed = True
        return self.add(owner, fields, at, **more)

    def _match(self, endpoint: str, bundle: Bundle) -> Credential | None:
        self.wire.tick()
        gate, now = self.endpoints[endpoint], self.clock.now()
        given = bundle.only(self.login).reveal()
        fits = (c for c in self.credentials if {name: c.fields[name] for name in self.login} == given)
        return next((c for c in fits if gate.takes(c, now)), None)

    def _verdict(self, endpoint: str, bundle: Bundle) -> ProbeResponse:
        gate = self.endpoints.get(endpoint)
        if gate is None or gate.unknown_until > self.clock.now():
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence="no answer that proves anything")
        match = self._match(endpoint, bundle)
        if match is None:
            return ProbeResponse(verdict=Verdict.REFUSED, evidence="401")
        until = None if math.isinf(match.ends_at) else match.ends_at + gate.lag_s + gate.cache_s
        return ProbeResponse(verdict=Verdict.ACCEPTED, evidence="200", until=until)


V = TypeVar("V", bound=Vendor)


class FakeProvider(Generic[V]):
    """What the fake providers share: where their vendor is, and how an endpoint is asked."""

    def __init__(self, context: Context, account: FakeAccount) -> None:
        self.context = context
        self.vendor: V = account.world

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Ask one endpoint; see `keyturn.api.Provider.probe`."""
        return self.vendor.ask(request.call, request.endpoint, request.bundle)

    def opened(self, call: Call, raw: Secret) -> tuple[str, Bundle]:
        """Handle and fields of a raw answer, which is sealed before it is parsed."""
        self.context.seal(call.attempt_id, raw)
        handle, fields = json.loads(raw.reveal())
        return handle, Bundle(fields)

    def answered(self, raws: Iterable[Secret], handle: str) -> Bundle | None:
        """The fields that a sealed raw answer holds for this handle, if one does."""
        for raw in raws:
            try:
                found, fields = json.loads(raw.reveal())
            except ValueError:
                continue
            if found == handle:
                return Bundle(fields)
        return None


class InPlaceProvider(FakeProvider[V]):
    """A provider of a vendor that ends the old value itself."""

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `keyturn.api.Provider.retire`. There is no such call."""
        raise Refused(f"this vendor ends {request.handle} itself", code="not-offered")


def answer(credential: Credential, names: Iterable[str]) -> Secret:
    """A vendor's raw answer: the handle and the fields of these names."""
    return Secret(json.dumps([credential.handle, {name: credential.fields[name] for name in names}]))


def made_value() -> str:
    """A value as a vendor makes it."""
    return secrets.token_urlsafe(24)


def labels(attempts: Iterable[Attempt]) -> set[str]:
    """The ids of earlier attempts, as the vendor was told them."""
    return {attempt.id for attempt in attempts}


def ours(bundle: Bundle, name: str) -> str:
    """The value of a field that we make. Raises Refused where the engine did not hand it over."""
    if name not in bundle:
        raise Refused(f"the new version has no {name}", code="field-missing")
    return bundle[name].reveal()


def registration(
    name: str,
    summary: str,
    load: Callable[[], Callable[..., Any]],
    traits: Callable[[Any, Any], Traits],
    *,
    account: type[FakeAccount] = FakeAccount,
    target: type[FakeTarget] = FakeTarget,
    extras: tuple[str, ...] = (),
) -> Plugin:
    """A fake's registration."""

    def subject(_account: Any, target: Any) -> str:
        return f"{name}:{target.name}"

    return Plugin(
        kind=Kind.PROVIDER,
        name=name,
        summary=summary,
        load=load,
        account=account,
        target=target,
        traits=traits,
        subject=subject,
        extras=extras,
    )
