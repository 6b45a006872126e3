"""The adapter for Layer7: one secret at one portal, replaced in place or by a second key; and asking its proxies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from keyturn.api import (
    Bundle,
    Call,
    Context,
    Half,
    Http,
    NotSent,
    ProbeResponse,
    Problem,
    Refused,
    Secret,
    Verdict,
    Waiting,
)
from keyturn_apiportal import token_probe
from keyturn_apiportal.bearer import Login, Session, basic
from keyturn_apiportal.flavour import Flavour
from keyturn_apiportal.layer7 import deployments
from keyturn_apiportal.layer7.answers import parsed
from keyturn_apiportal.layer7.in_place import Legacy, Patch, Put
from keyturn_apiportal.layer7.options import CLIENT_ID, CLIENT_SECRET, Account, Proxy, Target, flavour, subject
from keyturn_apiportal.layer7.otk import judge_by
from keyturn_apiportal.layer7.papi import NO_RIGHTS_HINT, Papi
from keyturn_apiportal.layer7.second_key import SecondKey
from keyturn_apiportal.layer7.tenant import Tenant
from keyturn_apiportal.portal import Credential, Found, Order
from keyturn_apiportal.provider import PortalProvider


class Way(Protocol):
    """What differs between replacing in place and making a second key."""

    def find(self, call: Call, *, values: bool) -> Found:
        """See `Portal.find`."""

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """See `Portal.commit`."""

    def opened(self, body: object, found: Found) -> Credential | None:
        """See `Portal.opened`; of a parsed body."""


IN_PLACE = {"patch": Patch, "put": Put, "legacy": Legacy}


def provider(context: Context, account: Account) -> PortalProvider:
    """The provider of one account in one run."""
    clients = Clients(context, account)
    return PortalProvider(lambda call: Layer7Portal(clients, call.target), context.now)


class Clients:
    """The connections of one account: to the portal, and to each proxy; and how keys get to those."""

    def __init__(self, context: Context, account: Account) -> None:
        self.context, self.account = context, account
        login = Login(
            url=account.url,
            path=account.token_path,
            client_id=account.client_id,
            client_secret=account.client_secret,
            scope=account.scope,
            basic=not account.token_by_form,
            repeats=account.repeat_401,
            ca=account.ca,
            proxy=account.proxy,
        )
        self.session = Session(context, login, api_url=account.url, ca=account.ca, proxy=account.proxy)
        self.types: Mapping[str, str] | None = None
        self._proxies: dict[str, Http] = {}

    def proxy(self, url: str) -> Http:
        """One proxy."""
        if url not in self._proxies:
            self._proxies[url] = self.context.http(url, ca=self.account.proxy_ca or self.account.ca)
        return self._proxies[url]


class Layer7Portal:
    """One secret; see `keyturn_apiportal.portal.Portal`."""

    def __init__(self, clients: Clients, target: Target) -> None:
        self._clients, self._account, self._target = clients, clients.account, target
        self._papi = Papi(clients.session, clients.account, target.application)
        self._tenant = Tenant(clients.context, clients.account, target, self._papi)
        self._second = SecondKey(self._tenant)
        self._way: Way = IN_PLACE[target.way](self._tenant) if target.in_place else self._second

    @property
    def flavour(self) -> Flavour:
        """By the target's way."""
        return flavour(self._target)

    @property
    def subject(self) -> str:
        """The key, or the application."""
        return subject(self._account, self._target)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every proxy."""
        return tuple(place.url for place in self._account.places)

    def find(self, call: Call, *, values: bool) -> Found:
        """The keys as they are, and what stands against a change. Without rights nothing is seen."""
        try:
            return self._way.find(call, values=values)
        except Refused as refusal:
            if refusal.code != "no-rights":
                raise
            problem = Problem(code="no-rights", text=refusal.why, hint=NO_RIGHTS_HINT)
            return Found(credentials=(), problems=(problem,))

    def commit(self, call: Call, order: Order) -> Credential | Waiting:
        """Send the one change of the target's way, and read back what came of it."""
        return self._way.commit(call, order)

    def opened(self, raw: Secret, found: Found) -> Credential | None:
        """The secret in a sealed answer."""
        return self._way.opened(parsed(raw), found)

    def end(self, call: Call, ended: Credential, half: Half, successor: str | None) -> None:
        """Disable, or remove, a key. In place nothing is ended by itself."""
        self._second.end(call, ended, half, successor)

    def handle_of(self, found: Found, bundle: Bundle) -> str | None:
        """By the client id; in place also by the value, where the portal shows it."""
        client_id = bundle[CLIENT_ID].reveal() if CLIENT_ID in bundle else ""
        if not self._target.in_place:
            one = found.named(client_id)
            return one.handle if one else None
        one = next(iter(found.credentials), None)
        if one is None or client_id != self._target.api_key:
            return None
        other = one.value and not one.value[CLIENT_SECRET].same_as(bundle[CLIENT_SECRET])
        return None if other else one.handle

    def ask(self, call: Call, endpoint: str, bundle: Bundle) -> ProbeResponse:
        """Ask one proxy. Where it refuses, the evidence says what else the portal knows of it."""
        place = next(one for one in self._account.places if one.url == endpoint)
        client = token_probe.Client(id=bundle[CLIENT_ID], secret=bundle[CLIENT_SECRET])
        http = self._clients.proxy(endpoint)
        answer = self._by_token(call, http, client) if self._by_tokens else self._by_resource(call, http, client)
        more = self._known(call, place, client) if answer.verdict is Verdict.REFUSED else ""
        evidence = f"{place.name or endpoint}: {answer.evidence}{f' ({more})' if more else ''}"
        return ProbeResponse(verdict=answer.verdict, evidence=evidence)

    @property
    def _by_tokens(self) -> bool:
        return self._account.probe.kind == "token"

    def _by_token(self, call: Call, http: Http, client: token_probe.Client) -> ProbeResponse:
        account, deadline_at = self._account, call.deadline_at
        scope = {"scope": account.probe.scope} if account.probe.scope else {}
        probe = token_probe.TokenProbe(
            path=account.proxy_token_path,
            form={"grant_type": account.probe.grant, **scope},
            basic=account.probe.basic,
            revoke_path=account.revoke_path or "",
        )
        answer, token = token_probe.ask(http, probe, client, deadline_at=deadline_at, judge=judge_by(account.codes))
        token_probe.revoke(http, probe, client, token, deadline_at=deadline_at)
        return answer

    def _by_resource(self, call: Call, http: Http, client: token_probe.Client) -> ProbeResponse:
        """A protected test API (contract 4, ASSUMED): any 2xx is accepted, 401 is refused."""
        path, headers = self._account.probe.path or "/", basic(client.id, client.secret)
        ok = token_probe.ANY_STATUS
        try:
            answer = http.call("GET", path, ok=ok, mutates=False, deadline_at=call.deadline_at, headers=headers)
        except (NotSent, Refused) as error:
            return ProbeResponse(verdict=Verdict.UNKNOWN, evidence=error.why)
        good = {True: Verdict.ACCEPTED}.get(answer.status < 300)  # noqa: PLR2004
        verdict = good or (Verdict.REFUSED if answer.status == token_probe.UNAUTHORISED else Verdict.UNKNOWN)
        hint = "" if verdict is not Verdict.UNKNOWN else ": let probe.path be a GET that takes id and secret by Basic"
        return ProbeResponse(verdict=verdict, evidence=f"{answer.status} from the test API{hint}")

    def _known(self, call: Call, place: Proxy, client: token_probe.Client) -> str:
        """What the portal knows of the way of a key to this proxy; nothing where it does not answer."""
        if not place.name:
            return ""
        try:
            if self._clients.types is None:
                self._clients.types = self._tenant.types(call)
            state = self._state(call, place, client)
        except (NotSent, Refused):
            return ""
        return "; ".join(filter(None, (deployments.by_hand(self._clients.types, place), state)))

    def _state(self, call: Call, place: Proxy, client: token_probe.Client) -> str:
        account, key = self._account, client.id.reveal()
        if account.deployments.path is None or not key.replace("-", "").isalnum():
            return ""
        path = account.filled(account.deployments.path, application=self._target.application, key=key)
        return deployments.state_of(self._papi.read_if_there(call, path), place, account.deployments.states)
