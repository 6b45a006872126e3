"""The provider: one account, whose secrets are of two kinds. Each verb hands over to the kind that the target names."""

from __future__ import annotations

from keyturn.api import (
    Call,
    Context,
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    ProbeRequest,
    ProbeResponse,
    Provider,
    RetireRequest,
    RetireResponse,
    SettleRequest,
    SettleResponse,
)
from keyturn_sahamati.entity_secret import EntitySecret
from keyturn_sahamati.entity_token import EntityToken
from keyturn_sahamati.options import Account
from keyturn_sahamati.session import Session


class Sahamati:
    """One account in one run: both kinds share its user token and its connections."""

    def __init__(self, context: Context, account: Account) -> None:
        session = Session(context, account)
        self._secret: Provider = EntitySecret(context, account, session)
        self._token: Provider = EntityToken(context, account, session)

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `EntitySecret.inspect`, `EntityToken.inspect`."""
        return self._kind(request.call).inspect(request)

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `EntitySecret.issue`, `EntityToken.issue`."""
        return self._kind(request.call).issue(request)

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `EntitySecret.settle`, `EntityToken.settle`."""
        return self._kind(request.call).settle(request)

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """See `EntitySecret.probe`, `EntityToken.probe`."""
        return self._kind(request.call).probe(request)

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `EntitySecret.retire`, `EntityToken.retire`."""
        return self._kind(request.call).retire(request)

    def _kind(self, call: Call) -> Provider:
        return self._token if call.target.token_of else self._secret
