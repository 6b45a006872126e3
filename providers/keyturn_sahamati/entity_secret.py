"""The entity secret: made by the vendor at each reset, readable at any time, so that no lost answer loses it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from keyturn.api import (
    Bundle,
    Call,
    Context,
    Doubt,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    NotSent,
    ProbeRequest,
    ProbeResponse,
    Problem,
    Refused,
    RetireRequest,
    RetireResponse,
    Settled,
    SettleRequest,
    SettleResponse,
    Verdict,
)
from keyturn_sahamati.answers import Held, Minted, epoch, held_in
from keyturn_sahamati.options import DAY_S, ENTITY_ID, ENTITY_SECRET, Account, subject
from keyturn_sahamati.session import RESET_AGE_S_MAX, Session, UserToken
from keyturn_sahamati.trouble import Scene, problem

EXPIRES_ON = "expires_on"
"""Beside `ENTITY_SECRET`, a keyed fingerprint, in a witness: the expiry as the vendor wrote it."""

ENTITIES_SHOWN = 10

REPLACED = "\N{REPLACEMENT CHARACTER}"
"""Stands in a sealed answer where a byte of it was no UTF-8."""


class EntitySecret:
    """One entity's secret in one run. The vendor has no handles: reset replaces, read shows what is current."""

    def __init__(self, context: Context, account: Account, session: Session) -> None:
        self._context, self._account, self._session = context, account, session

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Mint a user token, unless there is one, and read the secret; change nothing.

        Repeat: always. Target gone: a fatal problem. Raises: NotSent (the login can not be had). After a crash
        in the middle: nothing changed.
        """
        call = request.call
        try:
            token, held = self._read(call)
        except (NotSent, Refused) as error:
            found = problem(error, self._scene(call))
            if found is None:
                raise
            return self._seen(call, problems=(found,))
        return self._seen(
            call,
            held=held,
            bundle=self._bundle(call, held) if request.want_value and held.secret else None,
            problems=tuple(_doubts(request, token, held)),
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """Send one reset, under the attempt's id, with a user token from just before it (contract 2.3, 4.2).

        Repeat: never before `settle`: each reset ends the secret of the one before. Target gone: Refused. Raises:
        NotSent (also `no-witness`, and where an older user token was refused: that reset was not processed), Refused,
        Doubt. After a crash in the middle: `settle` reads what became of it.
        """
        call = request.call
        if ENTITY_SECRET not in request.witness:
            # Contract 5: without it nothing could be told after a lost answer.
            why = "it is not known which secret there was before, so that a lost answer would stay a riddle"
            raise NotSent(why, code="no-witness", hint=f"keyturn check --online {call.secret}")
        token = self._session.token(age_s_max=RESET_AGE_S_MAX, deadline_at=call.deadline_at)
        try:
            held = self._session.api.reset(
                token.value,
                call.target.entity_id,
                days=round(call.target.expiry / DAY_S),
                txn_id=call.attempt_id,
                deadline_at=call.deadline_at,
            )
        except Refused as refusal:
            if token.fresh or refusal.code != "not-administrator":
                raise
            self._session.drop(token)
            raise NotSent(f"an older user token was refused, and nothing reset: {refusal.why}") from None
        if not self._is_new(held, request.witness[ENTITY_SECRET]):
            # Contract 6: whether anything was reset only reading tells.
            raise Doubt("the answer to reset holds no secret, or the old one", code="contract-broken")
        self._remark(held, call)
        return IssueResponse(bundle=self._bundle(call, held), expires_at=held.expiry.at)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """Read, and compare with the witness; a sealed answer counts where read is silent or behind (contract 5, 9).

        Whoever made another secret: it is the one that is accepted, and becomes ours. Repeat: always. Target gone:
        `unknown`. Raises: nothing that matters. After a crash in the middle: nothing changed.
        """
        before, call = request.witness.get(ENTITY_SECRET), request.call
        held, why = self._look(call)
        made = held if before is not None and self._is_new(held, before) else None
        made = made or next((sealed for sealed in self._sealed(request) if self._is_new(sealed, before)), None)
        if made:
            self._remark(made, call)
            return SettleResponse(outcome=Settled.APPLIED, bundle=self._bundle(call, made), expires_at=made.expiry.at)
        if held is None or before is None:
            return SettleResponse(outcome=Settled.UNKNOWN, note=why or "nothing is known of the secret before")
        same = held.expiry.expires_on == request.witness.get(EXPIRES_ON)
        note = "" if same else "the same secret, with another expiry: not documented, taken as not reset"
        return SettleResponse(outcome=Settled.NOT_APPLIED, note=note)

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Mint an entity token with this secret (contract 2.2). A `message` in the answer: accepted, in its grace.

        Repeat: yes. Target gone: `refused`. Raises: Refused for an endpoint that is not ours. After a crash in the
        middle: an entity token that lives a day.
        """
        if request.endpoint != self._account.url:
            raise Refused(f"{request.endpoint} is not the account's URL", code="unknown-endpoint")
        entity, secret = request.bundle[ENTITY_ID].reveal(), request.bundle[ENTITY_SECRET]
        try:
            token = self._session.api.entity_token(entity, secret, deadline_at=request.call.deadline_at)
        except (NotSent, Refused) as error:
            dead = error.code == "secret-refused"
            return ProbeResponse(verdict=Verdict.REFUSED if dead else Verdict.UNKNOWN, evidence=error.why)
        wrong = wrong_claims(token, entity, self._context.now()) if self._account.check_claims else ""
        if wrong:
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence=f"200, but {wrong}")
        evidence = f"200, with the message: {token.message}" if token.message else "200"
        return ProbeResponse(verdict=Verdict.ACCEPTED, evidence=evidence)

    def retire(self, _request: RetireRequest, /) -> RetireResponse:
        """Not possible: the vendor has no call that ends a secret, but reset (contract 3).

        Repeat: refused each time. Target gone: refused. Raises: Refused. After a crash in the middle: nothing changed.
        """
        raise Refused("the vendor has no call that ends an entity secret", code="not-revocable")

    # reading

    def _read(self, call: Call) -> tuple[UserToken, Held]:
        """Contract 2.4."""

        def ask(token: UserToken) -> tuple[UserToken, Held]:
            api, entity = self._session.api, call.target.entity_id
            return token, api.read(token.value, entity, txn_id=call.attempt_id, deadline_at=call.deadline_at)

        return self._session.read_with(ask, deadline_at=call.deadline_at)

    def _look(self, call: Call) -> tuple[Held | None, str]:
        """What is held now; None and why, where the vendor does not say."""
        try:
            return self._read(call)[1], ""
        except (NotSent, Refused) as error:
            return None, error.why

    def _sealed(self, request: SettleRequest) -> Iterator[Held]:
        """Answers to reset that were sealed before they were parsed, newest first, as far as they are whole."""
        for raw in reversed(request.raws):
            text = raw.reveal()
            try:
                held = held_in(json.loads(text), now=self._context.now()) if REPLACED not in text else None
            except (ValueError, RecursionError):
                continue
            if held and held.entity_id in (None, request.call.target.entity_id):
                yield held

    def _is_new(self, held: Held | None, before: str | None) -> bool:
        return held is not None and held.secret is not None and self._fingerprint(held) != before

    def _fingerprint(self, held: Held) -> str:
        return self._context.fingerprint(held.secret.reveal()) if held.secret else ""

    # telling

    def _seen(
        self, call: Call, *, held: Held | None = None, bundle: Bundle | None = None, problems: tuple[Problem, ...] = ()
    ) -> InspectResponse:
        witness = {ENTITY_SECRET: self._fingerprint(held), EXPIRES_ON: held.expiry.expires_on} if held else {}
        return InspectResponse(
            subject=subject(self._account, call.target),
            endpoints=(self._account.url,),
            bundle=bundle,
            problems=problems,
            expires_at=held.expiry.at if held else None,
            witness=witness,
            vendor_now=held.vendor_now if held else None,
        )

    def _bundle(self, call: Call, held: Held) -> Bundle:
        made = {ENTITY_SECRET: held.secret} if held.secret else {}
        return Bundle({ENTITY_ID: call.target.entity_id, **made})

    def _scene(self, call: Call) -> Scene:
        return Scene(
            secret=call.secret,
            entity_id=call.target.entity_id,
            url=self._account.url,
            whence=self._session.whence(),
            stranded=self._session.stranded(),
            heard=self._session.heard,
        )

    def _remark(self, held: Held, call: Call) -> None:
        """What is odd about a new secret, and not wrong (contract 2.3, 4.5, 4.12)."""
        if held.message:
            self._context.note("vendor-message", {"message": held.message})
        if held.expiry.remark:
            self._context.note("expiry-unclear", {"remark": held.expiry.remark})
        if held.txn_id not in (None, call.attempt_id):
            self._context.note("txn-id-differs", {"sent": call.attempt_id, "answered": held.txn_id or ""})


def wrong_claims(token: Minted, entity_id: str, now: float) -> str:
    """How an entity token's own claims contradict what it is for; claims that are not there do not (contract 2.2)."""
    owner, ends_at = token.claims.get("azp"), epoch(token.claims.get("exp"), now=now)
    if owner not in (None, entity_id):
        return "the token is another entity's"
    return "the token has ended already" if ends_at is not None and ends_at <= now else ""


def _doubts(request: InspectRequest, token: UserToken, held: Held) -> Iterator[Problem]:
    entity = request.call.target.entity_id
    if token.entities is not None and entity not in token.entities:
        others = ", ".join(sorted(token.entities)[:ENTITIES_SHOWN]) or "none"
        yield Problem(
            code="not-in-token",
            text=f"the user token names other entities than {entity}: {others}",
            fatal=False,
            hint="check entity_id, and that the designated user is the one of this entity",
        )
    if held.secret is None and request.current is not None:
        yield Problem(
            code="contract-broken",
            text=f"the vendor shows no secret of {entity}, though version {request.current.number} is current",
            hint="look at the self-service portal before anything is rotated",
        )
