"""The vendor's value beside others, never readable, listed by accessor with the label that we gave.

The shape of an AppRole's secret ids. An answer that is lost leaves a stray whose value nobody knows.
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
    Refused,
    Repeat,
    RetireRequest,
    RetireResponse,
    Revoke,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import FakeAccount
from keyturn.testing.fakes.world import Credential, FakeProvider, Vendor, answer, labels, made_value, registration

FIELD = "secret_id"


class AppRoleVendor(Vendor):
    """Any number of secret ids for each role; one is destroyed by its accessor."""

    login = (FIELD,)

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("bao",))
        self.account = FakeAccount(world=self, **options)

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """A secret id made at the command line."""
        made = self._generate(owner, "by hand", self.clock.now())
        return made.handle, Bundle(made.fields), None

    def generate(self, call: Call) -> Secret:
        """Make a secret id with the attempt's id as metadata; the raw answer holds it, once."""
        owner, label = call.target.name, call.attempt_id
        return self.change(
            "issue", call, "generate", label, lambda at: answer(self._generate(owner, label, at), self.login)
        )

    def destroy(self, call: Call, accessor: str) -> None:
        """Destroy one secret id. Refused where there is none."""
        self.change("retire", call, "destroy", accessor, lambda at: self._destroy(call.target.name, accessor, at))

    def _generate(self, owner: str, label: str, at: float) -> Credential:
        return self.add(owner, {FIELD: made_value()}, at, label=label)

    def _destroy(self, owner: str, accessor: str, at: float) -> None:
        found = [c for c in self.of(owner) if c.handle == accessor]
        if not found:
            raise Refused("404: no such accessor", code="no-accessor")
        found[0].end(at)
        found[0].removed = True


class AppRoleProvider(FakeProvider[AppRoleVendor]):
    """Generate, list, destroy."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        seen = self.vendor.look("inspect", request.call, lambda: self.vendor.seen(owner))
        return InspectResponse(
            subject=f"approle:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=seen,
            witness={"accessors": ",".join(found.handle for found in seen)},
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`."""
        handle, bundle = self.opened(request.call, self.vendor.generate(request.call))
        return IssueResponse(handle=handle, bundle=bundle)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`. A stray whose value is known comes first, then the oldest one."""
        owner, sent = request.call.target.name, labels(request.attempts)
        made = self.vendor.look("settle", request.call, lambda: self.vendor.of(owner))
        strays = [credential.handle for credential in made if credential.label in sent]
        for handle in strays:
            bundle = self.answered(request.raws, handle)
            if bundle is not None:
                return SettleResponse(outcome=Settled.APPLIED, handle=handle, bundle=bundle)
        if strays:
            return SettleResponse(outcome=Settled.APPLIED_GONE, handle=strays[0], note=f"{len(strays)} found")
        return SettleResponse(outcome=Settled.NOT_APPLIED)

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `keyturn.api.Provider.retire`."""
        made = self.vendor.of(request.call.target.name)
        if request.handle not in [credential.handle for credential in made]:
            return RetireResponse(already=True)
        self.vendor.destroy(request.call, request.handle)
        return RetireResponse()


def _traits(_account: Any, _target: Any) -> Traits:
    return Traits(
        fields=(Field(name=FIELD, by=Maker.VENDOR),),
        live_max=None,
        grace_s=None,
        repeat=Repeat.DUPLICATES,
        revoke=Revoke.REFUSE,
        decoy=True,
    )


PLUGIN = registration(
    "approle", "the vendor's value beside others, listed by accessor", lambda: AppRoleProvider, _traits
)
