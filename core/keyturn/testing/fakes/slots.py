"""Two fixed logins used in turn; we make the password, the slot gives the user name.

The shape of a pair of PostgreSQL roles. A login remembers the version that armed it, as a comment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.api import (
    Bundle,
    Call,
    Field,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Maker,
    Recipe,
    Refused,
    Repeat,
    RetireRequest,
    RetireResponse,
    Revoke,
    Settled,
    SettleRequest,
    SettleResponse,
    Slot,
    Traits,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import FakeAccount, FakeTarget
from keyturn.testing.fakes.world import Credential, FakeProvider, Vendor, made_value, ours, registration

SLOTS = ("a", "b")


class SlotsVendor(Vendor):
    """Two logins for each owner; setting a password enables the login, and the one before is gone."""

    login = ("username", "password")

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("db",))
        self.account = FakeAccount(world=self, **options)

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """Login a with an admin's password."""
        made = self._arm(owner, SLOTS[0], "by-hand", made_value(), self.clock.now())
        return made.handle, Bundle(made.fields), SLOTS[0]

    def arm(self, call: Call, slot: str, label: str, password: str) -> None:
        """Set a login's password and enable it."""
        owner = call.target.name
        self.change(
            "issue", call, "arm", handle_of(owner, slot, label), lambda at: self._arm(owner, slot, label, password, at)
        )

    def disable(self, call: Call, login: Credential) -> None:
        """Make the database refuse the login; a new password enables it again."""
        self.change("retire", call, "disable", login.handle, login.end)

    def login_in(self, owner: str, slot: str) -> Credential | None:
        """The login in this slot, as it was armed last."""
        return next((c for c in self.of(owner) if c.slot == slot), None)

    def _arm(self, owner: str, slot: str, label: str, password: str, at: float) -> Credential:
        before = self.login_in(owner, slot)
        if before:
            before.end(at)
            before.removed = True
        fields = {"username": f"{owner}_{slot}", "password": password}
        return self.add(owner, fields, at, handle=handle_of(owner, slot, label), slot=slot, label=label)


def handle_of(owner: str, slot: str, label: str) -> str:
    """A version's name at the vendor: the login, and what armed it, so that an old name never means a newer version."""
    return f"{owner}_{slot}#{label}"


class SlotsProvider(FakeProvider[SlotsVendor]):
    """Arms the slot that the overlap chose."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        seen = self.vendor.look("inspect", request.call, lambda: self.vendor.seen(owner))
        return InspectResponse(
            subject=f"slots:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=seen,
            witness={found.slot or "": found.note for found in seen},
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`."""
        new, current, owner = request.new, request.current, request.call.target.name
        if new.slot not in SLOTS:
            raise Refused("the new version has no slot", code="slot-missing")
        if current and current.slot == new.slot:
            raise Refused("the current version lives in this slot", code="slot-in-use")
        self.vendor.arm(request.call, new.slot, new.id, ours(new.bundle, "password"))
        return IssueResponse(handle=handle_of(owner, new.slot, new.id))

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`."""
        owner, slot = request.call.target.name, request.new.slot or ""
        login = self.vendor.look("settle", request.call, lambda: self.vendor.login_in(owner, slot))
        if login is None or login.label != request.new.id:
            return SettleResponse(outcome=Settled.NOT_APPLIED)
        return SettleResponse(outcome=Settled.APPLIED, handle=login.handle)

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `keyturn.api.Provider.retire`."""
        logins = self.vendor.of(request.call.target.name)
        login = next((c for c in logins if c.handle == request.handle), None)
        if login is None or login.ends_at <= self.vendor.clock.now():
            return RetireResponse(already=True)
        self.vendor.disable(request.call, login)
        return RetireResponse()


def _traits(_account: FakeAccount, target: FakeTarget) -> Traits:
    return Traits(
        fields=(
            Field(name="username", by=Maker.SLOT, sensitive=False),
            Field(name="password", by=Maker.US, recipe=Recipe()),
        ),
        live_max=len(SLOTS),
        grace_s=None,
        slots=tuple(Slot(name=slot, fixed={"username": f"{target.name}_{slot}"}) for slot in SLOTS),
        repeat=Repeat.SAFE,
        revoke=Revoke.REFUSE,
        decoy=True,
    )


PLUGIN = registration("slots", "our value, two fixed logins in turn", lambda: SlotsProvider, _traits)
