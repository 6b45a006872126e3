"""Another secret under the same client id: the portal makes it (L1), or we do (L2, and the older form). Contract 5.

On one proxy it is always the old or the new one. What becomes of a lost answer is the core's to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keyturn.api import Bundle, Call, Doubt, Problem, Refused, Secret, Waiting
from keyturn_apiportal.layer7.answers import Key, member, shown, text
from keyturn_apiportal.layer7.hashing import HASHED, PLAIN
from keyturn_apiportal.layer7.options import CLIENT_SECRET
from keyturn_apiportal.layer7.papi import Rejected
from keyturn_apiportal.layer7.tenant import HASH, Tenant, unfit
from keyturn_apiportal.portal import UNREAD, Credential, Found, Order

NO_CALL = (404, 405)
STATUS, HELD = "status", "held"
"""Facts of the key that must be the same when a change is sent."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """What an answer to a change has: the new secret, if any, and the mark of the key, if it says so."""

    secret: Secret | None
    mark: str = ""


class InPlace:
    """What the three calls share: the look, and the reading back."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant, self._papi = tenant, tenant.papi
        self._id = tenant.target.api_key or ""

    def find(self, call: Call, *, values: bool) -> Found:
        """The key, and what stands around it."""
        tenant = self._tenant
        body = self._application(call)
        if body is None:
            return Found(credentials=(), problems=(tenant.no_application(),))
        whole, key = tenant.look(call, body), self._key(call)
        if key is None:
            return Found(credentials=(), problems=(self._no_key(),))
        plan = tenant.policy(whole, key)
        return Found(
            credentials=(self._credential(key, values=values),),
            first=self._handle(key),
            problems=(*self._not_enabled(key), *unfit(key), *tenant.problems(whole, plan)),
            facts={**tenant.facts(whole, plan), STATUS: key.status, HELD: HASHED if key.hashed else PLAIN},
            pending=tenant.waiting(whole.requests),
            vendor_now=self._papi.vendor_now,
        )

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """Send the one change, and read the key back."""
        hashed = order.found.facts[HASH] == HASHED
        try:
            answered = self._send(call, order, hashed=hashed)
        except Rejected as rejected:
            if rejected.status not in NO_CALL:
                raise
            hint = "this portal has no such call, or the key is gone: set way to patch (5.2.1 on), put or legacy"
            raise Refused(rejected.why, code="no-such-call", hint=hint) from None
        return self._confirmed(call, order, answered, hashed=hashed)

    def opened(self, body: object, found: Found) -> Credential | None:
        """The secret in an answer, where it can still be that of the key."""
        secret = shown(member(body, self._tenant.account.secret_call.value_field))
        key = next(iter(found.credentials), None)
        mark, id_ = text(member(body, self._tenant.account.mark_field)), text(member(body, "apiKey"))
        if secret is None or key is None or (id_ and id_ != self._id):
            return None
        hashed = member(body, self._tenant.account.secret_call.hashed_field)
        same_kind = not isinstance(hashed, bool) or found.facts[HELD] == (HASHED if hashed else PLAIN)
        if not same_kind or (mark and key.handle != f"{self._id}@{mark}"):
            return None
        return Credential(handle=key.handle, value=Bundle({CLIENT_SECRET: secret}))

    # what differs

    def _application(self, call: Call) -> Any:
        return self._papi.read(call, self._papi.application)

    def _key(self, call: Call) -> Key | None:
        return self._tenant.key(call, self._id)

    def _send(self, call: Call, order: Order, *, hashed: bool) -> Answered:
        raise NotImplementedError

    def _refuse_unmoved(self) -> None:
        """What it means that the portal still shows the old secret after a 2xx. Raises."""
        raise Doubt("the portal took the change, and still shows the old secret", code="old-value")

    # what is the same

    def _confirmed(self, call: Call, order: Order, answered: Answered, *, hashed: bool) -> Credential | Waiting:
        """A 2xx need not mean that it is done (contract 2), and need not hold the secret (contract 7.6)."""
        key, secret = self._tenant.read_back(call, self._key), answered.secret
        moved = key is not None and self._mark(key) != order.found.credentials[0].mark
        waiting = None if moved and secret else self._tenant.pending_if_known(call)
        if waiting:
            return waiting
        if key and key.secret and not moved:
            self._refuse_unmoved()
        if secret is None:
            raise Doubt("the portal took the change, and its answer holds no secret", code="no-value")
        self._refuse_old(order, secret)
        if key and key.secret and not key.secret.same_as(secret):
            raise Doubt("the portal shows another secret already: somebody changed it too", code="changed-outside")
        if key and key.hashed != hashed:
            self._tenant.context.note("hash-policy", {"key": self._id, "hashed": "yes" if key.hashed else "no"})
        mark = key.mark if key else answered.mark or f"{UNREAD}{call.attempt_id}"
        expires_at = key.expires_at if key else None
        value = Bundle({CLIENT_SECRET: secret})
        return Credential(handle=f"{self._id}@{mark}", value=value, expires_at=expires_at)

    def _refuse_old(self, order: Order, secret: Secret) -> None:
        """Raises Doubt where the answer has the old secret (contract 7.6)."""
        before = (order.current.bundle if order.current else None, order.found.credentials[0].value)
        if any(one and CLIENT_SECRET in one and one[CLIENT_SECRET].same_as(secret) for one in before):
            raise Doubt("the portal answered with the old secret", code="old-value")

    def _credential(self, key: Key, *, values: bool) -> Credential:
        note = "" if key.enabled else f"its status is {key.status}"
        return Credential(
            handle=self._handle(key),
            label=key.name,
            mark=self._mark(key),
            enabled=key.enabled,
            fresh=key.secret is None and self._lately(key),
            value=key.value if values else None,
            note=note,
            expires_at=key.expires_at,
        )

    def _lately(self, key: Key) -> bool:
        """Whether proxies may not have heard of the last change: `modifyTs` is in milliseconds (contract 2).

        By the portal's own clock, where it shows one: the time of the change is by that.
        """
        changed_at = int(key.mark) / 1000 if key.mark.isdecimal() else 0.0
        now = self._papi.vendor_now or self._tenant.context.now()
        return now - changed_at < self._tenant.account.sync

    def _handle(self, key: Key) -> str:
        return f"{self._id}@{key.mark}"

    def _mark(self, key: Key) -> str:
        """A shown secret tells by itself whether it is another one; an edit of the key moves the time alone (7.11)."""
        return self._tenant.context.fingerprint(key.secret.reveal()) if key.secret else key.mark

    def _no_key(self) -> Problem:
        text_ = f"the application has no api key {self._id}"
        return Problem(code="no-such-key", text=text_, hint="check application and api_key of the target")

    def _not_enabled(self, key: Key) -> tuple[Problem, ...]:
        if key.enabled:
            return ()
        hint = "have it enabled in the portal (where it has expired, its expiry moved), then run again"
        return (
            Problem(code="key-not-enabled", text=f"{key.id} can not be used: its status is {key.status}", hint=hint),
        )


class Patch(InPlace):
    """L1: the portal makes the secret, and the answer may be its only copy."""

    def _send(self, call: Call, order: Order, *, hashed: bool) -> Answered:  # noqa: ARG002 - nothing of ours is sent
        account = self._tenant.account
        wanted = account.secret_call
        body = {wanted.value_field: "", wanted.hashed_field: hashed}
        answer = self._papi.change(call, wanted.method, self._papi.secret_of(self._id), json=body)
        mark = text(member(answer.json, account.mark_field))
        return Answered(secret=shown(member(answer.json, wanted.value_field)), mark=mark)


class Put(InPlace):
    """L2: the secret is ours, and goes with the whole key as it was just read: nothing else changes."""

    def _send(self, call: Call, order: Order, *, hashed: bool) -> Answered:
        key = self._key(call)
        if key is None or self._mark(key) != order.found.credentials[0].mark:
            raise Refused("somebody changed the key just now", code="changed-outside")
        ours = order.new.bundle[CLIENT_SECRET]
        self._put(call, key, ours, hashed=hashed)
        return Answered(secret=ours)

    def _put(self, call: Call, key: Key, ours: Secret, *, hashed: bool) -> None:
        body = {**key.raw, "keySecret": ours.reveal(), "keySecretHashed": hashed}
        self._papi.change(call, "PUT", self._papi.key(self._id), json=body)

    def _refuse_unmoved(self) -> None:
        """Portals after 5.2 may leave the secret as it was, and say nothing (contract 2, way c)."""
        hint = "set way: patch, by which portals from 5.2.1 on change a secret"
        raise Refused("the portal took the change and kept the old secret", code="put-ignored", hint=hint)


class Legacy(Put):
    """The older form: the application and its one key are one entity (contract 2, way d)."""

    def _application(self, call: Call) -> Any:
        found = self._papi.read(call, self._papi.legacy())
        return member(found, "d") or found

    def _key(self, call: Call) -> Key | None:
        key = self._tenant.key_in(self._application(call))
        return key if key and key.id == self._id else None

    def _put(self, call: Call, key: Key, ours: Secret, *, hashed: bool) -> None:
        body = {**key.raw, "KeySecret": ours.reveal(), "ShouldHash": hashed}
        self._papi.change(call, "PUT", self._papi.legacy(), json=body)
