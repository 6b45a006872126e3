"""What became of a call that replaces a secret (contract 7): nothing shows which one is active but asking with each."""

from __future__ import annotations

from keyturn.api import (
    Bundle,
    Context,
    Mode,
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
    Waiting,
)
from keyturn_circle.answers import file_in, well_formed
from keyturn_circle.asking import Asking
from keyturn_circle.codes import Meaning
from keyturn_circle.console import Console
from keyturn_circle.options import ENTITY_SECRET, RECOVERY_FILE, Account
from keyturn_circle.session import Session

APP_ID = "app_id"
"""In a witness: the id of the entity."""

WITHOUT_WALLET = "; before there is a wallet, a secret can be asked about with probe: wallet-set in the account"
"""A wallet can only be made with a secret that is registered (contract 2.5)."""


class Settling:
    """Finds out by asking, with as few refused secrets as can be: each counts as an attempt with a bad one.

    The current secret comes first, since one that is accepted costs nothing. Once refused it is dead, and asked about
    again only where a look is the last.
    """

    def __init__(self, context: Context, account: Account, session: Session, asking: Asking) -> None:
        self._context, self._account, self._session, self._asking = context, account, session, asking
        self._console = Console(account, session)
        self._dead: set[str] = set()

    def settle(self, request: SettleRequest) -> SettleResponse:
        """What became of all attempts of this version."""
        return self._look(request) or self._look_again(request) or self._nobody(request)

    def _look(self, request: SettleRequest) -> SettleResponse | None:
        """One look. None where everybody that could be asked with was refused."""
        current, secret = request.current, value_of(request.current)
        if current and secret and (request.final or current.id not in self._dead):
            asked = self._asking.ask(request.call, secret)
            if asked.verdict is Verdict.ACCEPTED:
                return self._old_in_force(request)
            if asked.verdict is Verdict.UNKNOWN:
                return _by_answers(request, self._account, f"the current secret: {asked.evidence}")
            self._dead.add(current.id)
        return self._of_new(request)

    def _of_new(self, request: SettleRequest) -> SettleResponse | None:
        secret = value_of(request.new)
        if secret is None:
            return SettleResponse(outcome=Settled.UNKNOWN, note="the new secret is not known")
        asked = self._asking.ask(request.call, secret)
        if asked.verdict is Verdict.ACCEPTED:
            return _applied(request, self._account)
        if asked.verdict is Verdict.UNKNOWN:
            walletless = not request.call.target.canary_wallet or asked.meaning is Meaning.NO_EVIDENCE
            more = WITHOUT_WALLET if _is_first(request) and walletless else ""
            return _by_answers(request, self._account, f"the new secret: {asked.evidence}{more}")
        if asked.meaning is Meaning.NOT_SET and _is_first(request):
            return SettleResponse(outcome=Settled.NOT_APPLIED, note=asked.evidence)
        return None

    def _old_in_force(self, request: SettleRequest) -> SettleResponse:
        """Both may be accepted for a while: at the end the new one is asked about too."""
        new = value_of(request.new) if request.final else None
        if new and self._asking.ask(request.call, new).verdict is Verdict.ACCEPTED:
            return _applied(request, self._account, "both secrets are accepted, which the contract rules out")
        return SettleResponse(outcome=Settled.NOT_APPLIED, waiting=self._still_waiting(request))

    def _look_again(self, request: SettleRequest) -> SettleResponse | None:
        """Contract 7: the new secret is asked about once more before anybody is called."""
        last = request.final and request.mode is not Mode.BREAK_GLASS
        return self._of_new(request) if last else None

    def _nobody(self, request: SettleRequest) -> SettleResponse:
        """Neither is active. That the current one is not is what a reset is for."""
        if request.mode is Mode.BREAK_GLASS:
            return SettleResponse(outcome=Settled.NOT_APPLIED, waiting=self._still_waiting(request))
        if request.current and value_of(request.current) is None:
            note = "the new secret is not active, and the current one is not known"
            return SettleResponse(outcome=Settled.UNKNOWN, note=note)
        note = "neither the new secret is active nor the one before" if request.current else "another one is registered"
        return SettleResponse(outcome=Settled.REPLACED, note=note)

    def _still_waiting(self, request: SettleRequest) -> Waiting | None:
        """While a person may use what was shown last. The first secret is registered without one."""
        if self._account.way != "console" or _is_first(request) or request.final or not request.attempts:
            return None
        return self._console.still(max(one.sent_at for one in request.attempts), now=self._context.now())


def _is_first(request: SettleRequest) -> bool:
    return request.current is None and request.mode is not Mode.BREAK_GLASS


def _by_answers(request: SettleRequest, account: Account, why: str) -> SettleResponse:
    """Where asking proves nothing: a whole answer that was sealed still says that it took effect."""
    if _file_in_answers(request, account) is None:
        return SettleResponse(outcome=Settled.UNKNOWN, note=why)
    return _applied(request, account, f"the vendor's own answer says so; asking proves nothing: {why}")


def _applied(request: SettleRequest, account: Account, note: str = "") -> SettleResponse:
    """In force. The recovery file is in the newest whole answer, or was handed in; else it is missing."""
    supplied = request.supplied.get(RECOVERY_FILE)
    file = _file_in_answers(request, account) or (well_formed(supplied.reveal()) if supplied else None)
    return SettleResponse(
        outcome=Settled.APPLIED,
        handle=entity_of(request.witness.get(APP_ID), request.current) or None,
        bundle=Bundle({RECOVERY_FILE: file} if file else {}),
        note=note,
    )


def _file_in_answers(request: SettleRequest, account: Account) -> Secret | None:
    files = (file_in(raw, account.answer_field) for raw in reversed(request.raws))
    return next((file for file in files if file), None)


def value_of(version: Version | None) -> Secret | None:
    """A version's entity secret, where it is known."""
    return version.bundle.get(ENTITY_SECRET) if version else None


def entity_of(witnessed: str | None, current: Version | None) -> str:
    """The entity's id as it was seen last; empty where it never was."""
    return witnessed or (current.handle if current else None) or ""
