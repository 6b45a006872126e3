"""Whether a secret is the active one: asked by a call that carries its ciphertext (contract 2.5)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn.api import Call, NotSent, Refused, Secret, Verdict
from keyturn_circle.answers import Reply
from keyturn_circle.client import SIGN, TRIES, WALLET_SETS
from keyturn_circle.codes import HINTS, UNKNOWN_WALLET, WALLET_SET_EXISTS, Meaning
from keyturn_circle.options import Account
from keyturn_circle.session import Session

PROBE_SET = "keyturn probe, nobody uses it"
"""How the name of a wallet set begins that a probe makes. What follows is new each time: a set that is there already
under that name can only be the one that this very probe made."""

SAID: Mapping[Meaning, str] = {
    Meaning.NOT_ACTIVE: "it is not the active secret",
    Meaning.NOT_SET: "no secret is registered",
    Meaning.REUSED: "the ciphertext counts as used twice in a row: something on the way sends calls again",
    Meaning.ROTATE_FIRST: "Circle wants a rotation first: stop, and ask Circle",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of asking. `meaning`: why not, where the vendor said so."""

    verdict: Verdict
    evidence: str
    meaning: Meaning | None = None


class Asking:
    """Asks in the configured way. Each refused secret counts as an attempt with a bad one: never ask for nothing."""

    def __init__(self, account: Account, session: Session) -> None:
        self._account, self._session = account, session

    def ask(self, call: Call, secret: Secret) -> Asked:
        """Ask about one secret, with a fresh ciphertext each time. What fails proves nothing, and is not raised.

        A secret looks like another one's also where the server took a new key into use: then it is asked about again.
        """
        silent = self._silent(call)
        if silent:
            return Asked(verdict=Verdict.UNKNOWN, evidence=silent)
        label = str(uuid.uuid4())
        try:
            got = self._once(call, secret, label)
            for _ in range(TRIES - 1):
                got = self._once(call, secret, label) if got.throttled else got
            if got.meaning is Meaning.REUSED or (got.meaning is Meaning.NOT_ACTIVE and self._key_was_replaced(call)):
                got = self._once(call, secret, label)
        except (NotSent, Refused) as error:
            return Asked(verdict=Verdict.UNKNOWN, evidence=error.why)
        return judge(got, self._account.probe)

    def _silent(self, call: Call) -> str:
        """Why nobody can be asked; empty where one can."""
        if self._account.probe == "none":
            return "the account says probe: none, so nothing is asked"
        if self._account.probe == "sign-message" and not call.target.canary_wallet:
            return f"there is no canary_wallet to ask with (keyturn plugin circle canary {call.secret} makes one)"
        return ""

    def _key_was_replaced(self, call: Call) -> bool:
        """Contract 2.1. Raises what `Session.public_key` raises."""
        before = self._session.public_key(call).fingerprint
        return self._session.public_key(call, age_s_max=0.0).fingerprint != before

    def _once(self, call: Call, secret: Secret, label: str) -> Reply:
        """One request. `label` makes two of them one wallet set (contract 4)."""
        key = self._session.public_key(call).encrypt(secret)
        body: dict[str, Any] = {"entitySecretCiphertext": key.reveal()}
        if self._account.probe == "wallet-set":
            path, body = WALLET_SETS, {**body, "idempotencyKey": label, "name": f"{PROBE_SET} {label}"}
        else:
            path = SIGN
            body |= {"walletId": call.target.canary_wallet, "message": self._account.probe_message}
        return self._session.api.ask(path, body, self._session.api_key(), deadline_at=call.deadline_at)


def judge(got: Reply, kind: str) -> Asked:
    """The table of contract 2.5. Pure."""
    if got.good:
        proof = got.text("signature") if kind == "sign-message" else got.text("walletSet", "id")
        verdict = Verdict.ACCEPTED if proof else Verdict.UNKNOWN
        return Asked(verdict=verdict, evidence=got.words if proof else f"{got.words}, but nothing was made")
    if kind == "wallet-set" and got.code == WALLET_SET_EXISTS:
        return Asked(verdict=Verdict.ACCEPTED, evidence=got.words)
    said = SAID.get(got.meaning or Meaning.DOUBT, "") or HINTS.get(got.code or 0, "")
    if got.code == UNKNOWN_WALLET:
        said = f"the canary wallet is not there, which proves nothing: {said}"
    return Asked(
        verdict=Verdict.REFUSED if got.meaning in (Meaning.NOT_ACTIVE, Meaning.NOT_SET) else Verdict.UNKNOWN,
        evidence=f"{got.words}{f': {said}' if said else ''}",
        meaning=got.meaning,
    )
