"""Our value, set by a person at the vendor's console or by a call, with a recovery file that comes out of it once.

The shape of Circle's entity secret: no overlap, nothing to read, the current value is needed to set the next.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from keyturn.api import (
    Bundle,
    Call,
    Field,
    Fields,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Maker,
    Mode,
    Recipe,
    Refused,
    Repeat,
    ResetRequest,
    Secret,
    Seen,
    Settled,
    SettleRequest,
    SettleResponse,
    Traits,
    Version,
    Waiting,
)
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes.options import ConsoleAccount
from keyturn.testing.fakes.world import InPlaceProvider, Vendor, made_value, ours, registration

FIELD = "entity_secret"
FILE = "recovery_file"
ENDPOINT = "api"


class ConsoleVendor(Vendor):
    """One secret for each owner, set by one-use ciphertexts of the current and the new one."""

    login = (FIELD,)

    def __init__(self, clock: FakeClock, options: Mapping[str, Any]) -> None:
        super().__init__(clock, (ENDPOINT,))
        self.account: ConsoleAccount = ConsoleAccount(world=self, **options)
        self.public_key = secrets.token_hex(8)
        self.recovery_files: dict[str, str] = {}
        self._used: set[str] = set()

    def seed(self, owner: str = "main") -> tuple[str, Bundle, str | None]:
        """A secret that an admin registered; the recovery file is in `recovery_files`."""
        made = Bundle({FIELD: made_value()})
        self._set(owner, made[FIELD].reveal(), self.clock.now())
        return handle_of(owner), made, None

    def person_clicks(self, shown: Bundle, owner: str = "main") -> Bundle:
        """A person pastes what `Waiting.show` holds and downloads the recovery file. Raises Refused."""
        self.wire.tick()
        file = self._rotate(owner, shown.reveal(), self.clock.now())
        return Bundle({FILE: file})

    def person_resets(self, shown: Bundle, recovery_file: str, owner: str = "main") -> Bundle:
        """A person uploads the recovery file, pastes the ciphertext and downloads the new file. Raises Refused."""
        self.wire.tick()
        file = self._reset(owner, recovery_file, shown["new_ciphertext"].reveal(), self.clock.now())
        return Bundle({FILE: file})

    def rotate(self, call: Call, pair: Bundle) -> Secret:
        """The same by a call; the raw answer holds the recovery file, once."""
        owner, texts = call.target.name, pair.reveal()
        return self.change("issue", call, "rotate", owner, lambda at: _answer(owner, self._rotate(owner, texts, at)))

    def reset(self, call: Call, recovery_file: str, ciphertext: str) -> Secret:
        """Set a new secret by the recovery file instead of the current one; the file is used up."""
        owner = call.target.name
        return self.change(
            "reset", call, "reset", owner, lambda at: _answer(owner, self._reset(owner, recovery_file, ciphertext, at))
        )

    def _rotate(self, owner: str, texts: Fields, at: float) -> str:
        current, new = self._decrypt(texts["current_ciphertext"]), self._decrypt(texts["new_ciphertext"])
        newest = self.newest(owner)
        if newest is None or newest.fields[FIELD] != current:
            raise Refused("156013: the current secret is wrong", code="current-wrong")
        return self._set(owner, new, at)

    def _reset(self, owner: str, recovery_file: str, ciphertext: str, at: float) -> str:
        if recovery_file != self.recovery_files.get(owner):
            raise Refused("156018: the recovery file is wrong", code="recovery-wrong")
        return self._set(owner, self._decrypt(ciphertext), at)

    def _set(self, owner: str, value: str, at: float) -> str:
        self.replace(owner, {FIELD: value}, at, handle=handle_of(owner))
        self.recovery_files[owner] = made_value()
        return self.recovery_files[owner]

    def _decrypt(self, ciphertext: str) -> str:
        if ciphertext in self._used:
            raise Refused("156004: the ciphertext was used before", code="ciphertext-used")
        self._used.add(ciphertext)
        raw = base64.b64decode(ciphertext)
        return _keystream(self.public_key, raw[:16], raw[16:]).decode()


def handle_of(owner: str) -> str:
    """The account that the secret belongs to: the vendor has no name for a version."""
    return f"app-{owner}"


def encrypt(key: str, text: str) -> str:
    """A text that only the vendor reads, another one each time."""
    nonce = secrets.token_bytes(16)
    return base64.b64encode(nonce + _keystream(key, nonce, text.encode())).decode()


def _keystream(key: str, nonce: bytes, data: bytes) -> bytes:
    stream = hashlib.shake_256(key.encode() + nonce).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _answer(owner: str, recovery_file: str) -> Secret:
    return Secret(json.dumps([handle_of(owner), {FILE: recovery_file}]))


class ConsoleProvider(InPlaceProvider[ConsoleVendor]):
    """Prepares the ciphertexts; a person or a call hands them in; only asking tells which value is in force."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        owner = request.call.target.name
        there = self.vendor.look("inspect", request.call, lambda: self.vendor.newest(owner) is not None)
        return InspectResponse(
            subject=f"console:{owner}",
            endpoints=tuple(self.vendor.endpoints),
            seen=(Seen(handle=handle_of(owner)),) if there else (),
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`. By console nothing is sent: a person is waited for."""
        pair = self._pair(request.new, request.current)
        if self.vendor.account.way == "console":
            return IssueResponse(waiting=self._waiting(pair, self.context.now()))
        handle, bundle = self.opened(request.call, self.vendor.rotate(request.call, pair))
        return IssueResponse(handle=handle, bundle=bundle)

    def reset(self, request: ResetRequest, /) -> IssueResponse:
        """See `keyturn.api.BreakGlass.reset`. By console a person uploads the recovery file."""
        new = encrypt(self.vendor.public_key, ours(request.new.bundle, FIELD))
        if self.vendor.account.way == "console":
            return IssueResponse(waiting=self._waiting(Bundle({"new_ciphertext": new}), self.context.now()))
        raw = self.vendor.reset(request.call, ours(request.supplied, FILE), new)
        handle, bundle = self.opened(request.call, raw)
        return IssueResponse(handle=handle, bundle=bundle)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`. The current value is asked first: an accepted one costs nothing."""
        old = self._in_force(request.call, request.current)
        if old and not (request.final and self._in_force(request.call, request.new)):
            return SettleResponse(outcome=Settled.NOT_APPLIED, waiting=self._still_waiting(request))
        if self._in_force(request.call, request.new):
            return self._applied(request)
        if request.mode is Mode.BREAK_GLASS or request.current is None or not request.current.bundle:
            return SettleResponse(outcome=Settled.NOT_APPLIED, waiting=self._still_waiting(request))
        return SettleResponse(outcome=Settled.REPLACED, note="neither the new nor the current value is in force")

    def _applied(self, request: SettleRequest) -> SettleResponse:
        handle = handle_of(request.call.target.name)
        file = self.answered(request.raws, handle) or Bundle()
        bundle = file.with_(request.supplied.only((FILE,)))
        return SettleResponse(outcome=Settled.APPLIED, handle=handle, bundle=bundle)

    def _in_force(self, call: Call, version: Version | None) -> bool:
        if version is None or not version.bundle:
            return False
        self.vendor.probes[ENDPOINT] += 1
        return self.vendor.look("settle", call, lambda: self.vendor.accepts(ENDPOINT, version.bundle))

    def _pair(self, new: Version, current: Version | None) -> Bundle:
        key = self.vendor.public_key
        texts = {
            "new_ciphertext": encrypt(key, ours(new.bundle, FIELD)),
            "current_ciphertext": encrypt(key, ours(current.bundle if current else Bundle(), FIELD)),
        }
        return Bundle(texts)

    def _still_waiting(self, request: SettleRequest) -> Waiting | None:
        if self.vendor.account.way != "console" or not request.attempts:
            return None
        waiting = self._waiting(Bundle(), max(attempt.sent_at for attempt in request.attempts))
        return waiting if waiting.until > self.context.now() else None

    def _waiting(self, pair: Bundle, since: float) -> Waiting:
        text = "in the console: 1. paste what is shown; 2. confirm; 3. download the recovery file and hand it in"
        return Waiting(text=text, until=since + self.vendor.account.patience, show=pair, wants=(FILE,))


def _traits(account: Any, _target: Any) -> Traits:
    return Traits(
        fields=(
            Field(name=FIELD, by=Maker.US, recipe=Recipe()),
            Field(name=FILE, by=Maker.VENDOR, artefact=True),
        ),
        live_max=1,
        grace_s=0.0,
        repeat=Repeat.DESTROYS,
        needs_current=True,
        answer_is_commit=True,
        decoy=True,
        probes_max=20,
        attended=account.way == "console",
        patience_s=account.patience,
        reset_by=(FILE,),
    )


PLUGIN = registration(
    "console",
    "our value, set by a person or a call, with a recovery file",
    lambda: ConsoleProvider,
    _traits,
    account=ConsoleAccount,
    extras=("reset",),
)
