"""The entity token: derived from the entity secret, as many as one likes, each until its own expiry."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from keyturn.api import (
    Bundle,
    Call,
    Context,
    Http,
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
    Secret,
    Settled,
    SettleRequest,
    SettleResponse,
    Verdict,
)
from keyturn_sahamati.answers import Minted, claims, epoch, instant
from keyturn_sahamati.client import ask_with_token
from keyturn_sahamati.entity_secret import wrong_claims
from keyturn_sahamati.options import ACCESS_TOKEN, ENTITY_ID, ENTITY_SECRET, EXPIRES_AT, Account, subject
from keyturn_sahamati.session import Session

CLAIMS = "claims"
"""The endpoint where no place takes the token: it is good while its own expiry lies ahead."""


class EntityToken:
    """The entity token of one configured entity secret. Minting one ends nothing: a lost answer is asked for again."""

    def __init__(self, context: Context, account: Account, session: Session) -> None:
        self._context, self._account, self._session = context, account, session
        self._places: dict[str, Http] = {}

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """Say what there is to mint with. Nobody is asked: a token minted for looking would live a day.

        Repeat: always. Target gone: a fatal problem, where the source has no value. Raises: nothing. After a crash in
        the middle: nothing changed.
        """
        call = request.call
        return InspectResponse(
            subject=subject(self._account, call.target),
            endpoints=(call.target.token_probe_url or CLAIMS,),
            problems=() if _login(call) else (_no_source(call),),
        )

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """Mint a token with the source's current secret (contract 2.2).

        Repeat: always, another token each time. Target gone: Refused. Raises: NotSent (a lost answer too), Refused.
        After a crash in the middle: call it again; a token nobody knows of ends by itself.
        """
        call = request.call
        login = _login(call)
        if login is None:
            missing = _no_source(call)
            raise Refused(missing.text, code=missing.code, hint=missing.hint)
        entity, secret = login
        asked_at = self._context.now()
        token = self._mint(call, entity, secret)
        if token.message:
            self._context.note("source-in-grace", {"source": call.target.token_of, "message": token.message})
        expires_at = self._end(token, asked_at)
        fields = {ENTITY_ID: Secret(entity), ACCESS_TOKEN: token.value, EXPIRES_AT: Secret(_iso(expires_at))}
        return IssueResponse(bundle=Bundle(fields), expires_at=expires_at)

    def settle(self, _request: SettleRequest, /) -> SettleResponse:
        """Nobody can tell whether a token was minted, and nothing hangs on it.

        Repeat: always. Target gone: the same. Raises: nothing. After a crash in the middle: nothing changed.
        """
        return SettleResponse(outcome=Settled.PARTLY, note="a token that was minted in vain ends by itself")

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """Look at the token's own expiry, and ask the configured place where there is one.

        Repeat: yes. Target gone: `refused`. Raises: Refused for an endpoint that is not ours. After a crash in the
        middle: a request at that place.
        """
        place = request.call.target.token_probe_url
        if request.endpoint != (place or CLAIMS):
            raise Refused(f"{request.endpoint} is not where this token is asked about", code="unknown-endpoint")
        ends_at = _ends_at(request.bundle, self._context.now())
        if ends_at is not None and ends_at <= self._context.now():
            return ProbeResponse(verdict=Verdict.REFUSED, evidence=f"ended at {_iso(ends_at)}, as it says itself")
        if place:
            return self._ask(place, request)
        if ends_at is None:
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence="it does not say when it ends")
        return ProbeResponse(verdict=Verdict.ACCEPTED, evidence=f"good until {_iso(ends_at)}", until=ends_at)

    def retire(self, _request: RetireRequest, /) -> RetireResponse:
        """Not possible, and not needed: it ends by itself.

        Repeat: refused each time. Target gone: refused. Raises: Refused. After a crash in the middle: nothing changed.
        """
        raise Refused("an entity token ends by its own expiry only", code="not-revocable")

    def _mint(self, call: Call, entity: str, secret: Secret) -> Minted:
        try:
            token = self._session.api.entity_token(entity, secret, deadline_at=call.deadline_at)
        except Refused as refusal:
            if refusal.code != "secret-refused":
                raise
            name = call.target.token_of
            why = f"the current secret of {name} is refused: {refusal.why}"
            raise Refused(why, code="source-refused", hint=f"keyturn check --online {name}") from None
        wrong = wrong_claims(token, entity, self._context.now()) if self._account.check_claims else ""
        if wrong:
            raise Refused(f"the vendor answered with a token, but {wrong}", code="contract-broken")
        return token

    def _end(self, token: Minted, asked_at: float) -> float:
        """Its own claim says best when it ends, then the answer around it, then what is documented (contract 2.2)."""
        stated = asked_at + token.life_s if token.life_s else None
        said = (epoch(at, now=asked_at) for at in (token.claims.get("exp"), stated))
        return next((at for at in said if at is not None), asked_at + self._account.token_life)

    def _ask(self, place: str, request: ProbeRequest) -> ProbeResponse:
        path = urlsplit(place)._replace(scheme="", netloc="").geturl()
        try:
            status = ask_with_token(
                self._http(place), path, request.bundle[ACCESS_TOKEN], deadline_at=request.call.deadline_at
            )
        except (NotSent, Refused) as error:
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence=error.why)
        verdicts = {401: Verdict.REFUSED, 403: Verdict.UNKNOWN}  # 403: who may do what there is not ours to know
        return ProbeResponse(verdict=verdicts.get(status, Verdict.ACCEPTED), evidence=f"{status} from {place}")

    def _http(self, place: str) -> Http:
        if place not in self._places:
            account = self._account
            self._places[place] = self._context.http(
                urlsplit(place)._replace(path="", query="", fragment="").geturl(),
                ca=account.ca,
                proxy=account.proxy,
                local_address=account.local_address,
            )
        return self._places[place]


def _login(call: Call) -> tuple[str, Secret] | None:
    """The source's entity id and secret; None where it has no current version, or its value is not at hand."""
    bundle = call.source.bundle if call.source else Bundle()
    if ENTITY_ID not in bundle or ENTITY_SECRET not in bundle:
        return None
    return bundle[ENTITY_ID].reveal(), bundle[ENTITY_SECRET]


def _no_source(call: Call) -> Problem:
    name = call.target.token_of
    if call.source and set(call.source.bundle) - {ENTITY_ID, ENTITY_SECRET}:
        return Problem(
            code="source-unfit",
            text=f"{name} holds no {ENTITY_ID} and {ENTITY_SECRET}: it is no entity secret",
            hint="let token_of name the secret whose target has an entity_id",
        )
    return Problem(
        code="source-missing",
        text=f"{name} has no current version, or its value is not at hand: there is nothing to mint a token with",
        hint=f"keyturn adopt {name} --from-vendor",
    )


def _ends_at(bundle: Bundle, now: float) -> float | None:
    claimed = epoch(claims(bundle[ACCESS_TOKEN]).get("exp"), now=now)
    if claimed is not None:
        return claimed
    return instant(bundle[EXPIRES_AT].reveal()) if EXPIRES_AT in bundle else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
