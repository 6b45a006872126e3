"""The vendor's value, kept as a hash: the answer is the only copy, and proxies hear of it later.

The shape of an API portal's key in hashed mode.
"""

from __future__ import annotations

from collections import Counter
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
    Problem,
    Refused,
    Repeat,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import HashedAccount
from keyturn.testing.fakes.world import Credential, InPlaceProvider, Vendor, answer, made_value, registration

FIELD = "client_secret"


class HashedVendor(Vendor):
    """One secret for each owner, changed in place; `modified` counts the changes and is all that can be read.

    `problems` are what an inspection finds.
    """

    login = (FIELD,)

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("p1", "p2"))
        self.problems: tuple[Problem, ...] = ()
        self.account: HashedAccount = HashedAccount(world=self, **options)
        self.modified: Counter[str] = Counter()
        for proxy in self.endpoints.values():
            proxy.lag_s = self.account.sync_s

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """A secret made in the portal, long enough ago for every proxy to know it."""
        made = self._patch(owner, self.clock.now() - self.account.sync_s)
        return made.handle, Bundle(made.fields), None

    def patch(self, call: Call) -> Secret:
        """Change the secret in place; the raw answer holds it, once. Refused for an unknown owner."""
        owner = call.target.name
        return self.change("issue", call, "patch", owner, lambda at: answer(self._strictly(owner, at), self.login))

    def admin_patches(self, owner: str = "main") -> None:
        """Somebody else changes the secret in the portal."""
        self._patch(owner, self.clock.now())

    def _strictly(self, owner: str, at: float) -> Credential:
        if not self.of(owner):
            raise Refused("404: no such key", code="no-key")
        return self._patch(owner, at)

    def _patch(self, owner: str, at: float) -> Credential:
        self.modified[owner] += 1
        return self.replace(owner, {FIELD: made_value()}, at)


class HashedProvider(InPlaceProvider[HashedVendor]):
    """Patch; what changed behind a lost answer shows in the counter, its value nowhere."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        seen = self.vendor.look("inspect", request.call, lambda: self.vendor.seen(owner))
        return InspectResponse(
            subject=f"hashed:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=seen,
            problems=self.vendor.problems,
            witness={"modified": str(self.vendor.modified[owner])},
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`."""
        handle, bundle = self.opened(request.call, self.vendor.patch(request.call))
        return IssueResponse(handle=handle, bundle=bundle)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`."""
        owner = request.call.target.name
        newest = self.vendor.look("settle", request.call, lambda: self.vendor.newest(owner))
        if newest is None or "modified" not in request.witness:
            return SettleResponse(outcome=Settled.UNKNOWN)
        if request.witness["modified"] == str(self.vendor.modified[owner]):
            return SettleResponse(outcome=Settled.NOT_APPLIED)
        bundle = self.answered(request.raws, newest.handle)
        if bundle is None:
            return SettleResponse(outcome=Settled.APPLIED_GONE, handle=newest.handle)
        return SettleResponse(outcome=Settled.APPLIED, handle=newest.handle, bundle=bundle)


def _traits(account: HashedAccount, _target: Any) -> Traits:
    return Traits(
        fields=(Field(name=FIELD, by=Maker.VENDOR),),
        live_max=1,
        grace_s=0.0,
        repeat=Repeat.DESTROYS,
        decoy=True,
        activation_s=account.sync_s + 60.0,
        revocation_s=account.sync_s + 60.0,
    )


PLUGIN = registration(
    "hashed", "the vendor's value, not readable, in place", lambda: HashedProvider, _traits, account=HashedAccount
)
