"""What is prepared for a person in the Console: fresh ciphertexts, the steps, and how long they are waited for."""

from __future__ import annotations

from keyturn.api import Bundle, Call, Secret, Waiting
from keyturn_circle.options import RECOVERY_FILE, Account
from keyturn_circle.session import Session
from keyturn_circle.words import CURRENT_CIPHERTEXT, NEW_CIPHERTEXT, reset_steps, rotation_steps


class Console:
    """Makes what is shown, another one each time. May raise what `Session.public_key` and `PublicKey.encrypt` raise."""

    def __init__(self, account: Account, session: Session) -> None:
        self._account, self._session = account, session

    def rotation(self, call: Call, entity: str, current: Secret, new: Secret, *, now: float) -> Waiting:
        """For "Rotate Entity Secret": both ciphertexts (contract 2.3)."""
        key = self._session.public_key(call)
        pair = {CURRENT_CIPHERTEXT: key.encrypt(current), NEW_CIPHERTEXT: key.encrypt(new)}
        return self._waiting(rotation_steps(entity, self._account.environment), Bundle(pair), now)

    def reset(self, call: Call, entity: str, new: Secret, *, now: float) -> Waiting:
        """For a reset with the recovery file, which the person has (contract 2.4)."""
        shown = {NEW_CIPHERTEXT: self._session.public_key(call).encrypt(new)}
        return self._waiting(reset_steps(entity, self._account.environment), Bundle(shown), now)

    def still(self, shown_at: float, *, now: float) -> Waiting | None:
        """What was shown then can still be used; None once a person is waited for no longer. Nothing is shown again."""
        text = f"what was shown for the Console was not used so far ({self._account.environment} environment)"
        waiting = self._waiting(text, Bundle(), shown_at)
        return waiting if now < waiting.until else None

    def _waiting(self, text: str, show: Bundle, since: float) -> Waiting:
        return Waiting(text=text, until=since + self._account.patience, show=show, wants=(RECOVERY_FILE,))
