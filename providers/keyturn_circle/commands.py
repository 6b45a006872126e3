"""The plugin's own commands: a fresh ciphertext, and a canary wallet (contract 2.5)."""

from __future__ import annotations

import uuid
from typing import Any

from keyturn.api import Bundle, CommandRequest, CommandResponse, Context, Doubt, Refused, Secret
from keyturn_circle.answers import Reply
from keyturn_circle.client import WALLET_SETS, WALLETS
from keyturn_circle.options import Account
from keyturn_circle.session import Session
from keyturn_circle.settling import value_of

CANARY = "keyturn canary, empty, nobody uses it"


class Commands:
    """What a person or a script types. Never touches which secret is active."""

    def __init__(self, context: Context, account: Account, session: Session) -> None:
        self._context, self._account, self._session = context, account, session

    def run(self, request: CommandRequest) -> CommandResponse:
        """One command by name."""
        current = value_of(request.current)
        if current is None:
            raise Refused(
                "the current secret is not known",
                code="current-unknown",
                hint=f"keyturn status {request.call.secret}; a first secret comes by: "
                f"keyturn rotate {request.call.secret} --first, or keyturn adopt {request.call.secret}",
            )
        self._session.forget()
        if request.name == "ciphertext":
            return self._ciphertext(request, current)
        return self._canary(request, current)

    def _ciphertext(self, request: CommandRequest, current: Secret) -> CommandResponse:
        made = self._session.public_key(request.call).encrypt(current)
        return CommandResponse(
            text="a ciphertext for one call: send it once, and make another one for the next call, retries included",
            show=Bundle({"ciphertext": made}),
        )

    def _canary(self, request: CommandRequest, current: Secret) -> CommandResponse:
        name, account = request.call.secret, self._account
        there = request.call.target.canary_wallet
        if there:
            raise Refused(
                f"there is a canary_wallet already: {there}",
                code="canary-there",
                hint=f"take canary_wallet out of the target of {name} to have one made; on the same canary_chain it "
                "is the same one each time",
            )
        wallet_set = self._made(request, current, WALLET_SETS, {"name": CANARY}).text("walletSet", "id")
        wanted = {"walletSetId": wallet_set, "blockchains": [account.chain], "count": 1, "accountType": "EOA"}
        wallet = _first_id(self._made(request, current, WALLETS, wanted).data.get("wallets")) if wallet_set else ""
        if not wallet:
            raise Doubt("expected the id of a wallet, got something else", code="contract-broken")
        return CommandResponse(
            text=f"made the wallet {wallet} on {account.chain}: let it stay empty and unused; set in the target of "
            f"{name}: canary_wallet: {wallet}"
        )

    def _made(self, request: CommandRequest, current: Secret, path: str, body: dict[str, Any]) -> Reply:
        """Make it, with a fresh ciphertext each time, and always the same key: a repeat makes no other one."""
        cipher = self._session.public_key(request.call).encrypt(current).reveal()
        key = self._same_uuid(f"{request.call.secret} {path} {sorted(body.items())}")
        return self._session.api.make(
            path,
            {**body, "idempotencyKey": key, "entitySecretCiphertext": cipher},
            self._session.api_key(),
            attempt=request.call.attempt_id,
            deadline_at=request.call.deadline_at,
        )

    def _same_uuid(self, what: str) -> str:
        """A UUID v4 in form (contract 4), the same on every runner of this estate."""
        return str(uuid.UUID(self._context.fingerprint(what)[:32].ljust(32, "0"), version=4))


def _first_id(wallets: object) -> str:
    first = wallets[0] if isinstance(wallets, list) and wallets else None
    found = first.get("id") if isinstance(first, dict) else None
    return found if isinstance(found, str) and found.isprintable() else ""
