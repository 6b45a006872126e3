"""Our value, open overlap, several endpoints: objects are mirrored, the list of accepted names is each endpoint's own.

The shape of PingAuthorize's sideband secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keyturn.api import (
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
    NotSent,
    Recipe,
    Refused,
    Repeat,
    RetireRequest,
    RetireResponse,
    Revoke,
    Seen,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import FakeAccount
from keyturn.testing.fakes.world import Credential, FakeProvider, Vendor, made_value, ours, registration

FIELD = "shared_secret"


class OpenVendor(Vendor):
    """Objects by name, mirrored everywhere; a `Credential` is one name on one endpoint's list."""

    login = (FIELD,)

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("e1", "e2"))
        self.account = FakeAccount(world=self, **options)
        self.objects: dict[str, tuple[str, str]] = {}

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """An object that an admin made and listed everywhere."""
        name, value = f"admin-{owner}", made_value()
        self._create(name, owner, value)
        for endpoint in self.endpoints:
            self._list(name, endpoint, self.clock.now())
        return name, Bundle({FIELD: value}), None

    def names(self, owner: str) -> tuple[str, ...]:
        """The owner's objects."""
        self.wire.tick()
        return tuple(name for name, (whose, _) in self.objects.items() if whose == owner)

    def listing(self, name: str) -> tuple[str, ...]:
        """The endpoints that list this name."""
        self.wire.tick()
        return tuple(e for e in self.endpoints if self._listed(name, e))

    def create(self, call: Call, name: str, owner: str, value: str) -> None:
        """Make an object. Refused where the name is taken."""
        self.change("issue", call, "create", name, lambda _at: self._create(name, owner, value))

    def list_name(self, call: Call, name: str, endpoint: str) -> None:
        """Put a name on one endpoint's list. Refused where there is no such object."""
        self.change("issue", call, f"list at {endpoint}", name, lambda at: self._list(name, endpoint, at))

    def unlist(self, call: Call, name: str, endpoint: str) -> None:
        """Take a name off one endpoint's list."""
        self.change("retire", call, f"unlist at {endpoint}", name, lambda at: self._unlist(name, endpoint, at))

    def delete(self, call: Call, name: str) -> None:
        """Remove an object. Refused while any endpoint lists it."""
        self.change("retire", call, "delete", name, lambda _at: self._delete(name))

    def _create(self, name: str, owner: str, value: str) -> None:
        if name in self.objects:
            raise Refused("409: the name is taken", code="name-taken")
        self.objects[name] = (owner, value)

    def _list(self, name: str, endpoint: str, at: float) -> None:
        if name not in self.objects:
            raise Refused("400: no such object", code="no-object")
        owner, value = self.objects[name]
        if not self._listed(name, endpoint):
            self.add(owner, {FIELD: value}, at, handle=name, endpoint=endpoint)

    def _unlist(self, name: str, endpoint: str, at: float) -> None:
        for credential in self._listed(name, endpoint):
            credential.end(at)
            credential.removed = True

    def _delete(self, name: str) -> None:
        if any(self._listed(name, endpoint) for endpoint in self.endpoints):
            raise Refused("409: still listed", code="still-listed")
        self.objects.pop(name, None)

    def _listed(self, name: str, endpoint: str) -> list[Credential]:
        return [c for c in self.credentials if (c.handle, c.endpoint, c.removed) == (name, endpoint, False)]


@contextmanager
def _part_is_doubt() -> Iterator[list[str]]:
    # NotSent and Refused say that nothing was changed; after a part of the calls that would be a lie.
    done: list[str] = []
    try:
        yield done
    except (NotSent, Refused) as error:
        if done:
            raise Doubt("a part of it was done, the next call was not") from error
        raise


class OpenProvider(FakeProvider[OpenVendor]):
    """One object for each version, named by the version's id, so that issue can look what is missing."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        names = self.vendor.look("inspect", request.call, lambda: self.vendor.names(owner))
        return InspectResponse(
            subject=f"open:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=tuple(Seen(handle=name, enabled=bool(self.vendor.listing(name))) for name in names),
            witness={"names": ",".join(names)},
            vendor_now=self.vendor.clock.now(),
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`."""
        name, call = request.new.id, request.call
        value = ours(request.new.bundle, FIELD)
        with _part_is_doubt() as done:
            if name not in self.vendor.names(call.target.name):
                self.vendor.create(call, name, call.target.name, value)
                done.append("create")
            for endpoint in self._missing(name):
                self.vendor.list_name(call, name, endpoint)
                done.append(endpoint)
        return IssueResponse(handle=name)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`."""
        name, owner = request.new.id, request.call.target.name
        there = self.vendor.look("settle", request.call, lambda: name in self.vendor.names(owner))
        if not there:
            return SettleResponse(outcome=Settled.NOT_APPLIED)
        outcome = Settled.PARTLY if self._missing(name) else Settled.APPLIED
        return SettleResponse(outcome=outcome, handle=name)

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `keyturn.api.Provider.retire`."""
        name, call = request.handle, request.call
        listed = self.vendor.listing(name)
        there = name in self.vendor.names(call.target.name)
        with _part_is_doubt() as done:
            for endpoint in listed:
                self.vendor.unlist(call, name, endpoint)
                done.append(endpoint)
            if request.half is Half.REMOVE and there:
                self.vendor.delete(call, name)
        return RetireResponse(already=not listed and (request.half is Half.REFUSE or not there))

    def _missing(self, name: str) -> list[str]:
        listed = self.vendor.listing(name)
        return [endpoint for endpoint in self.vendor.endpoints if endpoint not in listed]


def _traits(_account: Any, _target: Any) -> Traits:
    return Traits(
        fields=(Field(name=FIELD, by=Maker.US, recipe=Recipe()),),
        live_max=None,
        grace_s=None,
        repeat=Repeat.SAFE,
        revoke=Revoke.REFUSE_REMOVE,
        decoy=True,
    )


PLUGIN = registration("open", "our value, several endpoints, open overlap", lambda: OpenProvider, _traits)
