"""A second key pair beside the first: the vendor makes id and secret, which consumers take as one.

The shape of an API portal's second key: found by the name we give it, disabled before it is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.api import (
    Bundle,
    Call,
    Field,
    Half,
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
    Seen,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import SecondKeyAccount
from keyturn.testing.fakes.world import Credential, FakeProvider, Vendor, answer, made_value, registration

KEYS_MAX = 2


class SecondKeyVendor(Vendor):
    """At most two keys for each owner, disabled ones included; names need not be unique."""

    login = ("client_id", "client_secret")

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, ("gw1", "gw2"))
        self.account: SecondKeyAccount = SecondKeyAccount(world=self, **options)

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """A key made in the portal."""
        made = self._create(owner, "by hand", self.clock.now())
        return made.handle, Bundle(made.fields), None

    def create(self, call: Call, name: str) -> Secret:
        """Make a key; the raw answer holds id and secret. Refused where the owner has two."""
        owner = call.target.name
        return self.change("issue", call, "create", name, lambda at: answer(self._create(owner, name, at), self.login))

    def key(self, owner: str, handle: str) -> Credential | None:
        """One key by id, enabled or not."""
        return next((c for c in self.of(owner) if c.handle == handle), None)

    def disable(self, call: Call, key: Credential) -> None:
        """Make every gateway refuse the key."""
        self.change("retire", call, "disable", key.handle, key.end)

    def delete(self, call: Call, key: Credential) -> None:
        """Remove a key for good. Refused while it is enabled."""
        self.change("retire", call, "delete", key.handle, lambda at: self._delete(key, at))

    def _create(self, owner: str, name: str, at: float) -> Credential:
        if len(self.of(owner)) >= KEYS_MAX:
            raise Refused("400: key limit reached", code="key-limit")
        made = self.add(owner, {}, at, label=name)
        made.fields = {"client_id": made.handle, "client_secret": made_value()}
        return made

    def _delete(self, key: Credential, at: float) -> None:
        if key.ends_at > at:
            raise Refused("409: the key is enabled", code="key-enabled")
        key.removed = True


class SecondKeyProvider(FakeProvider[SecondKeyVendor]):
    """Each version's key carries the version's id as its name."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner, current = request.call.target.name, request.current
        seen = self.vendor.look("inspect", request.call, lambda: self.vendor.seen(owner))
        key = self.vendor.key(owner, current.handle) if current and current.handle else None
        readable = key and request.want_value and self.vendor.account.readable
        return InspectResponse(
            subject=f"second-key:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=seen,
            bundle=Bundle(key.fields) if key and readable else None,
            witness={"keys": ",".join(found.handle for found in seen)},
            named=self._named_by(current.bundle, seen) if current else None,
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`."""
        if self._named(request.new.id, request.call):
            raise Refused("a key of this name is there already: settle first", code="name-taken")
        handle, bundle = self.opened(request.call, self.vendor.create(request.call, request.new.id))
        return IssueResponse(handle=handle, bundle=bundle)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`."""
        found = self.vendor.look("settle", request.call, lambda: self._named(request.new.id, request.call))
        if not found:
            return SettleResponse(outcome=Settled.NOT_APPLIED)
        key = found[-1]
        bundle = Bundle(key.fields) if self.vendor.account.readable else self.answered(request.raws, key.handle)
        if bundle is None:
            return SettleResponse(outcome=Settled.APPLIED_GONE, handle=key.handle)
        return SettleResponse(outcome=Settled.APPLIED, handle=key.handle, bundle=bundle)

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `keyturn.api.Provider.retire`."""
        key = self.vendor.key(request.call.target.name, request.handle)
        if key is None:
            return RetireResponse(already=True)
        enabled = key.ends_at > self.vendor.clock.now()
        if enabled:
            self.vendor.disable(request.call, key)
        if request.half is Half.REMOVE:
            self.vendor.delete(request.call, key)
        return RetireResponse(already=not enabled and request.half is Half.REFUSE)

    @staticmethod
    def _named_by(bundle: Bundle, seen: tuple[Seen, ...]) -> str | None:
        client_id = bundle["client_id"].reveal() if "client_id" in bundle else ""
        return next((found.handle for found in seen if found.handle == client_id), None)

    def _named(self, name: str, call: Call) -> list[Credential]:
        return [key for key in self.vendor.of(call.target.name) if key.label == name]


def _traits(account: SecondKeyAccount, _target: Any) -> Traits:
    return Traits(
        fields=(
            Field(name="client_id", by=Maker.VENDOR, sensitive=False),
            Field(name="client_secret", by=Maker.VENDOR),
        ),
        live_max=KEYS_MAX,
        grace_s=None,
        repeat=Repeat.DUPLICATES,
        readable=account.readable,
        revoke=Revoke.REFUSE_REMOVE,
        watch_s=account.watch,
        decoy=True,
    )


PLUGIN = registration(
    "second-key",
    "the vendor's id and secret, a second pair beside the first",
    lambda: SecondKeyProvider,
    _traits,
    account=SecondKeyAccount,
)
