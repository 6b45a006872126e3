"""Tokens of the vendor's making: one more ends nothing, no call ends one, each is accepted until its own expiry.

The shape of Sahamati's entity token, minted with the current value of another secret where it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keyturn.api import (
    Bundle,
    Call,
    Doubt,
    Field,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Maker,
    NotSent,
    Refused,
    Repeat,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import TokenAccount, TokenTarget
from keyturn.testing.fakes.world import Credential, InPlaceProvider, Vendor, answer, made_value, registration

FIELD = "access_token"
EXPIRES = "expires_at"


class TokenVendor(Vendor):
    """Any number of tokens for each owner; it keeps no list of them, so none is shown."""

    login = (FIELD,)

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("api",))
        self.account: TokenAccount = TokenAccount(world=self, **options)

    def seed(self, owner: str = "main") -> tuple[None, Bundle, None]:
        """A token that somebody asked for by hand."""
        return None, Bundle(self._mint(owner, self.clock.now(), self.account.seed_life).fields), None

    def mint(self, call: Call) -> Secret:
        """Make one more; the raw answer holds it. Refused where the secret it is asked for with is not accepted."""
        owner, life_s = call.target.name, self.account.life
        if call.target.token_of:
            self._let_in(call)
        return self.change(
            "issue", call, "mint", owner, lambda at: answer(self._mint(owner, at, life_s), (FIELD, EXPIRES))
        )

    def _let_in(self, call: Call) -> None:
        bundle = call.source.bundle if call.source else Bundle()
        if not bundle:
            raise NotSent("the secret that it is derived from has no value", code="source-missing")
        if not self.account.issuer.accepted_by(bundle):
            raise Refused("401: the secret is not accepted", code="source-refused")

    def _mint(self, owner: str, at: float, life_s: float) -> Credential:
        fields = {FIELD: made_value(), EXPIRES: f"{at + life_s:.0f}"}
        return self.add(owner, fields, at, ends_at=at + life_s, removed=True)


class TokenProvider(InPlaceProvider[TokenVendor]):
    """Mints. Nothing is lost with a lost answer: it is asked for again."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        now = self.vendor.look("inspect", request.call, self.vendor.clock.now)
        return InspectResponse(subject=f"token:{owner}", endpoints=tuple(self.vendor.endpoints), vendor_now=now)

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`. A lost answer counts as not sent: one token more changes nothing."""
        try:
            raw = self.vendor.mint(request.call)
        except Doubt as error:
            raise NotSent(error.why, code=error.code) from error
        _, bundle = self.opened(request.call, raw)
        return IssueResponse(bundle=bundle, expires_at=float(bundle[EXPIRES].reveal()))

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`. Whatever was made is nobody's: partly, and issue is sent again."""
        self.vendor.look("settle", request.call, self.vendor.clock.now)
        return SettleResponse(outcome=Settled.PARTLY)


def _traits(account: TokenAccount, _target: Any) -> Traits:
    return Traits(
        fields=(Field(name=FIELD, by=Maker.VENDOR), Field(name=EXPIRES, by=Maker.VENDOR, sensitive=False)),
        live_max=None,
        grace_s=None,
        own_expiry=True,
        repeat=Repeat.SAFE,
        decoy=True,
        derived_s=account.seed_life,
        settle_s=5.0,
    )


PLUGIN = replace(
    registration(
        "token",
        "tokens of the vendor's making, each accepted until its own expiry",
        lambda: TokenProvider,
        _traits,
        account=TokenAccount,
        target=TokenTarget,
    ),
    source=lambda _account, target: target.token_of,
)
