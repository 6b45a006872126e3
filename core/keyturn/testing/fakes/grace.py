"""The vendor's value, readable; every reset makes another one, and the old one dies after a grace (default 0).

The shape of Sahamati's entity secret. `lingering` is the same at a vendor that gives a grace nobody may rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from keyturn.api import (
    Bundle,
    Call,
    Field,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Maker,
    ProbeResponse,
    Refused,
    Repeat,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
    Verdict,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import GraceAccount, GraceTarget, LingeringAccount
from keyturn.testing.fakes.world import Credential, InPlaceProvider, Vendor, answer, made_value, registration

FIELD = "entity_secret"


class GraceVendor(Vendor):
    """One secret for each owner: `reset` makes another, `read` gives the newest."""

    login = (FIELD,)
    kind: ClassVar[str] = "grace"
    options: ClassVar[type[GraceAccount]] = GraceAccount

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("iam",))
        self.account: GraceAccount = self.options(world=self, **options)

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """A secret from the vendor's portal, valid for a year."""
        made = self._reset(owner, 365 * 86_400.0, self.clock.now())
        return made.handle, Bundle(made.fields), None

    def reset(self, call: Call, expiry_s: float) -> Secret:
        """Make another secret; the raw answer holds it. Refused for an unknown owner."""
        owner = call.target.name
        return self.change(
            "issue", call, "reset", owner, lambda at: answer(self._strictly(owner, expiry_s, at), self.login)
        )

    def _strictly(self, owner: str, expiry_s: float, at: float) -> Credential:
        if not self.of(owner):
            raise Refused("401: no such entity", code="no-entity")
        return self._reset(owner, expiry_s, at)

    def _reset(self, owner: str, expiry_s: float, at: float) -> Credential:
        fields = {FIELD: made_value()}
        lives_s = self.account.grace_s if self.account.lives is None else self.account.lives
        return self.replace(owner, fields, at, grace_s=lives_s, ends_at=at + expiry_s)

    def _verdict(self, endpoint: str, bundle: Bundle) -> ProbeResponse:
        """Of a value that another one replaced the vendor may say so."""
        found = super()._verdict(endpoint, bundle)
        match = self._match(endpoint, bundle) if found.verdict is Verdict.ACCEPTED else None
        if match and match.removed and self.account.message:
            return replace(found, evidence=f"200, with the message: {self.account.message}")
        return found


class LingeringVendor(GraceVendor):
    """The old value lives on, though nobody may rely on it."""

    kind = "lingering"
    options = LingeringAccount


class GraceProvider(InPlaceProvider[GraceVendor]):
    """Reset, and read to find out."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        newest = self.vendor.look("inspect", request.call, lambda: self.vendor.newest(owner))
        return InspectResponse(
            subject=f"{self.vendor.kind}:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=self.vendor.seen(owner),
            bundle=Bundle(newest.fields) if newest and request.want_value else None,
            expires_at=newest.ends_at if newest else None,
            witness={"fingerprint": self._fingerprint(newest)},
            vendor_now=self.vendor.clock.now(),
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`."""
        raw = self.vendor.reset(request.call, request.call.target.expiry)
        handle, bundle = self.opened(request.call, raw)
        newest = self.vendor.newest(request.call.target.name)
        return IssueResponse(handle=handle, bundle=bundle, expires_at=newest.ends_at if newest else None)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`. Another value than before is ours to adopt, whoever made it."""
        owner = request.call.target.name
        newest = self.vendor.look("settle", request.call, lambda: self.vendor.newest(owner))
        if newest is None or "fingerprint" not in request.witness:
            return SettleResponse(outcome=Settled.UNKNOWN)
        if request.witness["fingerprint"] == self._fingerprint(newest):
            return SettleResponse(outcome=Settled.NOT_APPLIED)
        return SettleResponse(
            outcome=Settled.APPLIED, handle=newest.handle, bundle=Bundle(newest.fields), expires_at=newest.ends_at
        )

    def _fingerprint(self, newest: Credential | None) -> str:
        return self.context.fingerprint(newest.fields[FIELD]) if newest else ""


def _traits(account: GraceAccount, _target: Any) -> Traits:
    return Traits(
        fields=(Field(name=FIELD, by=Maker.VENDOR),),
        live_max=2 if account.grace_s else 1,
        grace_s=account.grace_s,
        grace_max_s=account.grace_max_s,
        repeat=Repeat.DESTROYS,
        readable=True,
        answer_is_commit=True,
    )


LINGERING = registration(
    "lingering",
    "the same; the old one lives on for a while, though nobody may rely on it",
    lambda: GraceProvider,
    _traits,
    account=LingeringAccount,
    target=GraceTarget,
)
PLUGIN = registration(
    "grace",
    "the vendor's value, readable; the old one dies after a grace",
    lambda: GraceProvider,
    _traits,
    account=GraceAccount,
    target=GraceTarget,
)
