"""L3: another api key beside the old one, with an id and a secret of its own (contract 5). No outage.

The new key bears our version's name, by which a lost one is found. The old one is disabled first, and removed later.
"""

from __future__ import annotations

from typing import Any

from keyturn.api import Bundle, Call, Doubt, Half, NotSent, PluginError, Problem, Refused, Secret, Waiting
from keyturn_apiportal.layer7.answers import DELETE_FAILED, DISABLED, ENABLED, REGISTERING, Key, member, shown, text
from keyturn_apiportal.layer7.hashing import HASHED
from keyturn_apiportal.layer7.options import CLIENT_ID, CLIENT_SECRET
from keyturn_apiportal.layer7.papi import NOT_FOUND, Rejected
from keyturn_apiportal.layer7.tenant import HASH, Tenant, unfit
from keyturn_apiportal.portal import Credential, Found, Order
from keyturn_apiportal.provider import LABEL_PREFIX

COPIED = ("oauthType", "oauthScope", "oauthCallbackUrl", "authMethod")
"""What a new key takes over from the one before it."""

SECRETS = ("keySecret", "keySecretHashed")
"""Left out where only the state of a key changes: what is read there may be asterisks."""


class SecondKey:
    """The keys of one application."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant, self._papi, self._target = tenant, tenant.papi, tenant.target

    def find(self, call: Call, *, values: bool) -> Found:
        """All keys of the application, and what stands around them."""
        tenant = self._tenant
        body = self._papi.read(call, self._papi.application)
        if body is None:
            return Found(credentials=(), problems=(tenant.no_application(),))
        whole, keys = tenant.look(call, body), self._keys(call)
        pending = tenant.waiting(whole.requests)
        model = self._model(keys)
        plan = tenant.policy(whole, model)
        first = self._first(keys)
        return Found(
            # What waits for an approval is not there yet (contract 7.4).
            credentials=tuple(
                self._credential(call, one, values=values)
                for one in keys
                if not (pending and one.status == REGISTERING)
            ),
            first=first.id if first else None,
            problems=(
                *(unfit(model) if model else ()),
                *self._not_there(keys),
                *self._no_room(keys),
                *tenant.problems(whole, plan),
            ),
            facts=tenant.facts(whole, plan),
            pending=pending,
            vendor_now=self._papi.vendor_now,
        )

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """Make a key of the version's name. Hashed where it is to be, by one more call where need be (KB 207419)."""
        hashed = order.found.facts[HASH] == HASHED
        body = self._body(call, order, hashed=hashed)
        made = self._tenant.key_in(self._papi.change(call, "POST", self._papi.keys, json=body).json)
        waiting = self._tenant.pending_if_known(call)
        if waiting:
            return waiting
        if made is None or made.secret is None:
            raise Doubt("the portal took the new key, and its answer lacks its id or secret", code="no-value")
        secret = made.secret
        if hashed and not self._hashed(call, made):
            secret = self._hash(call, made.id) or secret
        return Credential(
            handle=made.id,
            label=order.label,
            value=Bundle({CLIENT_ID: made.id, CLIENT_SECRET: secret}),
            expires_at=made.expires_at,
        )

    def opened(self, body: object, found: Found) -> Credential | None:
        """The secret in an answer. What is hashed now and was not then has another one since (contract 7.7)."""
        secret = shown(member(body, self._tenant.account.secret_call.value_field))
        name, hashed = text(member(body, "apiKey")), member(body, "keySecretHashed")
        ours = [one for one in found.credentials if one.label.startswith(LABEL_PREFIX)]
        # The answer of the call that hashes need not name the key: it is about the one that was made last.
        key = found.named(name) if name else next(reversed(ours), None)
        if secret is None or key is None or (isinstance(hashed, bool) and hashed != (key.note == HASHED)):
            return None
        return Credential(handle=key.handle, value=Bundle({CLIENT_ID: key.handle, CLIENT_SECRET: secret}))

    def end(self, call: Call, ended: Credential, half: Half, successor: str | None) -> None:
        """Disable the key, or delete one that is disabled; never force it."""
        waiting = self._tenant.pending_if_known(call)
        if waiting:
            raise NotSent(waiting.text, code="approval-pending")
        key = self._tenant.key(call, ended.handle)
        if key is None:
            return
        if half is Half.REFUSE:
            if key.default and self._target.default_key == "move":
                self._move_default(call, key, successor)
            self._put(call, key.id, status=DISABLED)
        elif key.enabled:
            raise Refused(f"{key.id} is enabled, so it is not removed", code="still-enabled")
        else:
            self._delete(call, key)

    # looking

    def _keys(self, call: Call) -> list[Key]:
        listed = self._papi.listed(call, self._papi.keys, by="apiKey")
        return [key for key in map(self._tenant.key_in, listed) if key]

    def _first(self, keys: list[Key]) -> Key | None:
        """The key that the target names, and no other one; where it names none, the default one, or the only one."""
        if self._target.api_key:
            return next((one for one in keys if one.id == self._target.api_key), None)
        return next((one for one in keys if one.default), keys[0] if len(keys) == 1 else None)

    def _not_there(self, keys: list[Key]) -> tuple[Problem, ...]:
        """The key to begin with goes with the first rotation; before that its name is wrong."""
        name = self._target.api_key
        if name is None or self._first(keys) or any(one.name.startswith(LABEL_PREFIX) for one in keys):
            return ()
        hint = "correct application and api_key of the target, or leave api_key out"
        return (Problem(code="no-such-key", text=f"the application has no api key {name}", fatal=False, hint=hint),)

    def _model(self, keys: list[Key], current: str | None = None) -> Key | None:
        """The key that a new one is made after: the one in use, else our newest, else the one to begin with."""
        used = next((one for one in keys if one.id == current), None)
        ours = [one for one in keys if one.name.startswith(LABEL_PREFIX) and one.enabled]
        return used or next(reversed(ours), None) or self._first(keys)

    def _credential(self, call: Call, key: Key, *, values: bool) -> Credential:
        """A list has no secrets, so that each key is asked for by itself. One may be listed, and be gone (7.12)."""
        whole = self._tenant.key(call, key.id) if values and key.enabled and not key.hashed else None
        return Credential(
            handle=key.id,
            label=key.name,
            mark=key.mark,
            enabled=key.enabled,
            value=whole.value if whole else None,
            note=HASHED if key.hashed else "",
            expires_at=key.expires_at,
        )

    def _no_room(self, keys: list[Key]) -> tuple[Problem, ...]:
        most = self._target.keys_max
        if most is None or len(keys) < most:
            return ()
        hint = "remove a key that nobody uses from the application, or raise keys_max"
        text_ = f"the application has {len(keys)} keys, and may have {most}"
        return (Problem(code="key-limit", text=text_, passing=True, hint=hint),)

    # making

    def _body(self, call: Call, order: Order, *, hashed: bool) -> dict[str, object]:
        """The new key, after the one before it. Raises Refused where that one has no secret (contract 7.2)."""
        model = self._model(self._keys(call), order.current.handle if order.current else None)
        wrong = next(iter(unfit(model)), None) if model else None
        if wrong:
            raise Refused(wrong.text, code=wrong.code, hint=wrong.hint)
        source: Any = model.raw if model else {"oauthType": "CONFIDENTIAL", "authMethod": "SECRET"}
        taken = {name: source[name] for name in COPIED if source.get(name) is not None}
        return {"name": order.label, "status": ENABLED, "defaultKey": False, "keySecretHashed": hashed, **taken}

    def _hashed(self, call: Call, made: Key) -> bool:
        """Whether the portal holds the new key hashed, as it shows it; what the answer says where it does not."""
        key = self._tenant.read_back(call, lambda asked: self._tenant.key(asked, made.id))
        return key.hashed if key else made.hashed

    def _hash(self, call: Call, name: str) -> Secret | None:
        """Have the portal make a hashed secret for the new key, which nobody uses yet. None: it would not."""
        wanted = self._tenant.account.secret_call
        body = {wanted.value_field: "", wanted.hashed_field: True}
        try:
            answer = self._papi.change(call, wanted.method, self._papi.secret_of(name), json=body)
        except (NotSent, Refused) as error:
            self._tenant.context.note("hash-policy", {"key": name, "hashed": "no", "why": error.why})
            return None
        secret = shown(member(answer.json, wanted.value_field))
        if secret is None:
            raise Doubt("the portal hashed the new key, and its answer holds no secret", code="no-value")
        return secret

    # ending

    def _move_default(self, call: Call, key: Key, successor: str | None) -> None:
        """There has to be a default key (contract 2, ASSUMED), and it can not be disabled."""
        if not successor or successor == key.id:
            hint = "make another key of the application the default in the portal, then run again"
            raise Refused(f"{key.id} is the default key, and no other is known", code="default-key", hint=hint)
        self._put(call, successor, defaultKey=True)

    def _put(self, call: Call, name: str, **changes: object) -> None:
        """Change some members of a key, the others as they are now; read it back. Raises Doubt where it is not so."""
        key = self._tenant.key(call, name)
        if key is None:
            raise NotSent(f"{name} is in the list of keys, and its own page is 404", code="key-unreadable")
        body = {**{one: value for one, value in key.raw.items() if one not in SECRETS}, **changes}
        self._papi.change(call, "PUT", self._papi.key(name), json=body)
        after = self._after(call, name)
        raw = after.raw if after else {}
        if any(member(raw, one) != value for one, value in changes.items()):
            raise self._not_yet(call, f"{name} is not changed yet")

    def _delete(self, call: Call, key: Key) -> None:
        """Contract 6: while proxies hold it the portal refuses, and it is tried again later."""
        unforced = {"ignoreKeyStoreCheck": "false", "forceDelete": "false"}
        try:
            self._papi.change(call, "DELETE", self._papi.key(key.id), params=unforced)
        except Rejected as rejected:
            if rejected.status == NOT_FOUND:
                return
            if "keyStoreCheck" in rejected.said.fields:
                raise NotSent(f"proxies still hold {key.id}", code="key-still-deployed") from None
            raise
        after = self._after(call, key.id)
        if after and after.status == DELETE_FAILED:
            raise NotSent(f"the portal could not delete {key.id}: its status is {DELETE_FAILED}", code="delete-failed")
        if after:
            raise self._not_yet(call, f"{key.id} is still there")

    def _after(self, call: Call, name: str) -> Key | None:
        """The key after a change. Raises Doubt where it can not be read."""
        try:
            return self._tenant.key(call, name)
        except (NotSent, Refused) as error:
            raise Doubt(f"{name} was changed and could not be read back: {error.why}", code="not-read-back") from None

    def _not_yet(self, call: Call, why: str) -> PluginError:
        """A request that a person has to approve changed nothing; anything else is doubt."""
        waiting = self._tenant.pending_if_known(call)
        return NotSent(waiting.text, code="approval-pending") if waiting else Doubt(why, code="not-read-back")
