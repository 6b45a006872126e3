"""The provider: one entity's secret in one environment (contract 6)."""

from __future__ import annotations

from keyturn.api import (
    Bundle,
    Call,
    CommandRequest,
    CommandResponse,
    Context,
    Doubt,
    Fields,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    NotSent,
    ProbeRequest,
    ProbeResponse,
    Problem,
    Refused,
    ResetRequest,
    RetireRequest,
    RetireResponse,
    Secret,
    Seen,
    SettleRequest,
    SettleResponse,
    Verdict,
    Version,
)
from keyturn_circle.answers import well_formed
from keyturn_circle.asking import Asking
from keyturn_circle.client import Unsure
from keyturn_circle.commands import Commands
from keyturn_circle.console import Console
from keyturn_circle.looking import remarks, trouble
from keyturn_circle.options import ENTITY_SECRET, RECOVERY_FILE, Account, named, subject
from keyturn_circle.session import Session, wrong_entity
from keyturn_circle.settling import APP_ID, Settling, entity_of, value_of

PUBLIC_KEY = "public_key"
"""Beside `APP_ID` in a witness: the fingerprint of the entity's public key."""


class Circle:
    """One account in one run. The vendor has no name for a version: its handle is the entity's id."""

    def __init__(self, context: Context, account: Account) -> None:
        self._context, self._account = context, account
        self._session = Session(context, account)
        self._asking = Asking(account, self._session)
        self._settling = Settling(context, account, self._session, self._asking)
        self._console = Console(account, self._session)
        self._commands = Commands(context, account, self._session)

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Which entity does the API key belong to, and which public key has it; both are kept for a minute.

        Repeat: always. Target gone: a fatal problem. Raises: NotSent (a reference does not resolve). After a crash in
        the middle: nothing changed.
        """
        try:
            self._session.forget()
            entity = self._session.entity(request.call)
            if request.current and request.current.handle not in (None, entity):
                raise wrong_entity(entity, request.current.handle or "")
            key = self._session.public_key(request.call)
        except (NotSent, Refused) as error:
            if error.code == "reference-unresolved":
                raise
            return self._seen(subject(self._account, request.call.target), problems=(trouble(error),))
        return self._seen(
            named(entity, self._account),
            seen=(Seen(handle=entity),),
            problems=tuple(remarks(request, self._account)),
            witness={APP_ID: entity, PUBLIC_KEY: key.fingerprint},
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """Register the first secret; else rotate, or prepare what a person in the Console does (contract 2.2, 2.3).

        Repeat: never before `settle`: a ciphertext is for one use, and each rotation voids the recovery file before.
        Target gone: Refused. Raises: NotSent, Refused, Doubt. After a crash in the middle: `settle` finds out.
        """
        call, account = request.call, self._account
        entity = self._guarded(call, request.witness, request.current)
        key, new = self._session.public_key(call), _known(request.new, call)
        if request.current is None:
            first = account.register_call
            return self._replace(call, entity, new, "POST", first.path, {first.field: key.encrypt(new).reveal()})
        current = _known(request.current, call)
        if account.way == "console":
            waiting = self._console.rotation(call, entity, current, new, now=self._context.now())
            return IssueResponse(waiting=waiting)
        rotate = account.rotate
        body = {rotate.current_field: key.encrypt(current).reveal(), rotate.new_field: key.encrypt(new).reveal()}
        return self._replace(call, entity, new, rotate.method, rotate.path, body)

    def reset(self, request: ResetRequest, /) -> IssueResponse:
        """Set the new secret with the recovery file in place of the current one (contract 2.4).

        Repeat: only after `settle`. Target gone: Refused. Raises: NotSent, Refused, Doubt. After a crash in the
        middle: `settle` finds out.
        """
        call, account = request.call, self._account
        entity = self._guarded(call, request.witness, None)
        new = _known(request.new, call)
        if account.way == "console":
            return IssueResponse(waiting=self._console.reset(call, entity, new, now=self._context.now()))
        file = _whole(request.supplied, call)
        cipher = self._session.public_key(call).encrypt(new)
        body = {account.reset.file_field: file.reveal(), account.reset.new_field: cipher.reveal()}
        return self._replace(call, entity, new, account.reset.method, account.reset.path, body)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """Ask which secret is active (contract 7).

        Repeat: always. Target gone: `unknown`. Raises: NotSent, Refused (what a person is to be shown can not be
        made). After a crash in the middle: nothing changed.
        """
        return self._settling.settle(request)

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Ask whether this secret is the active one (contract 2.5).

        Repeat: yes, within the declared budget. Target gone: `refused`. Raises: Refused for an endpoint that is not
        ours. After a crash in the middle: a signed text, or a wallet set that stays.
        """
        if request.endpoint != self._account.endpoint:
            raise Refused(f"{request.endpoint} is not the account's host", code="unknown-endpoint")
        value = request.bundle.get(ENTITY_SECRET)
        if value is None:
            raise Refused("there is no entity secret to ask about", code="secret-malformed")
        asked = self._asking.ask(request.call, value)
        return ProbeResponse(verdict=asked.verdict, evidence=asked.evidence)

    def retire(self, _request: RetireRequest, /) -> RetireResponse:
        """Not possible: the old secret is dead as soon as there is a new one (contract 6).

        Repeat: refused each time. Target gone: refused. Raises: Refused. After a crash in the middle: nothing changed.
        """
        raise Refused("the vendor has no call that ends an entity secret", code="not-revocable")

    def command(self, request: CommandRequest, /) -> CommandResponse:
        """`ciphertext`: a fresh one of the current secret. `canary`: a wallet to ask with.

        Repeat: always; a canary is made once. Target gone: Refused. Raises: NotSent, Refused, Doubt. After a crash in
        the middle: type it again.
        """
        return self._commands.run(request)

    def _guarded(self, call: Call, witness: Fields, current: Version | None) -> str:
        """The entity's id, which must be the one that was seen before. Asks nothing within a minute of `inspect`."""
        entity, expected = self._session.entity(call), entity_of(witness.get(APP_ID), current)
        if expected and entity != expected:
            raise wrong_entity(entity, expected)
        return entity

    def _replace(
        self, call: Call, entity: str, new: Secret, method: str, path: str, body: dict[str, str]
    ) -> IssueResponse:
        """The one request that replaces a secret.

        An answer without a recovery file is a doubt, so that `settle` says that it took effect, and without what.
        """
        try:
            got = self._session.api.change(
                method, path, body, self._session.api_key(), attempt=call.attempt_id, deadline_at=call.deadline_at
            )
        except Unsure as unsure:
            if self._asking.ask(call, new).verdict is Verdict.REFUSED:
                raise unsure.refusal from None
            raise
        file = well_formed(got.text(self._account.answer_field))
        if file is None and self._account.recovery_file == "required":
            raise Doubt(
                f"{method} {path}: answered {got.words} without a whole recovery file", code="recovery-file-lost"
            )
        return IssueResponse(handle=entity, bundle=Bundle({RECOVERY_FILE: file} if file else {}))

    def _seen(
        self,
        subject: str,
        *,
        seen: tuple[Seen, ...] = (),
        problems: tuple[Problem, ...] = (),
        witness: Fields | None = None,
    ) -> InspectResponse:
        return InspectResponse(
            subject=subject,
            endpoints=() if self._account.probe == "none" else (self._account.endpoint,),
            seen=seen,
            problems=problems,
            witness=witness or {},
        )


def _known(version: Version, call: Call) -> Secret:
    value = value_of(version)
    if value is None:
        raise Refused(
            f"the value of version {version.number} is not known",
            code="current-unknown",
            hint=f"keyturn recover {call.secret} --supply recovery_file=@FILE --reason TEXT",
        )
    return value


def _whole(supplied: Bundle, call: Call) -> Secret:
    """The recovery file that was handed over. Contract 2.4: the vendor takes it as base64."""
    given = supplied.get(RECOVERY_FILE)
    file = well_formed(given.reveal()) if given else None
    if file is None:
        raise Refused(
            "expected a recovery file in base64, got something else" if given else "a reset needs the recovery file",
            code="recovery-file-malformed",
            hint=f"keyturn recover {call.secret} --supply recovery_file=@FILE --reason TEXT, as Circle gave it",
        )
    return file
