"""What a simulated proxy answers: tokens, their revocation, and a protected test API. Callers hold `World.lock`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs

from keyturn_apiportal.layer7.simulator_answers import Reply, as_json
from keyturn_apiportal.layer7.simulator_asked import Asked
from keyturn_apiportal.layer7.simulator_otk import Manners, basic, refused, token_reply, token_request
from keyturn_apiportal.layer7.simulator_proxy import ProxyState
from keyturn_apiportal.layer7.simulator_world import World

PATHS: Mapping[tuple[str, str], str] = {
    ("POST", "/auth/oauth/v2/token"): "otk",
    ("POST", "/auth/oauth/v2/token/revoke"): "otk-revoke",
    ("GET", "/resource"): "resource",
}
CODE = "x-ca-err:"


def asked_of_proxy(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Asked:
    """What a request to a proxy is for."""
    on = PATHS.get((method, path), "nowhere")
    closed = 405 if path in [known for _, known in PATHS] else 404
    return Asked(on=on, method=method, path=path, headers=headers, body=body, closed=0 if on != "nowhere" else closed)


class Gate:
    """One proxy's answers."""

    def __init__(self, world: World, proxy: ProxyState) -> None:
        self._world, self._proxy = world, proxy
        self._calls: Mapping[str, Callable[[Asked, Manners], Reply]] = {
            "otk": self._token,
            "otk-revoke": self._revoke,
            "resource": self._resource,
        }

    def perform(self, asked: Asked, fault: str = "") -> Reply:
        """The answer. What came of it is in the log."""
        switches = self._proxy.switches
        manners = Manners(
            now=self._world.now(),
            token_life_s=switches.token_life_s,
            refused=switches.refused,
            says=switches.says,
            says_first=switches.says_first,
            err_header=switches.err_header,
            echo=self._world.switches.echo,
        )
        if asked.closed:
            reply = as_json({"error": "there is nothing here"}, asked.closed)
        elif fault.startswith(CODE):
            reply = refused(fault.removeprefix(CODE), manners)
        else:
            reply = self._calls[asked.on](asked, manners)
        self.note(asked, reply.status, fault)
        return reply

    def note(self, asked: Asked, status: int, fault: str = "") -> None:
        """Write an attempt into the log; a status of 0 had no answer from the proxy itself."""
        client = token_request(asked.headers, asked.body).client_id if asked.on == "otk" else ""
        about = {"proxy": self._proxy.name, "by": "client", "key": client}
        self._world.attempt(on=asked.on, status=status, fault=fault, repeated=asked.repeated, **about)

    def meddle(self, how: str, asked: Asked) -> None:
        """Somebody else acts at the portal on the key that this client uses."""
        client = token_request(asked.headers, asked.body).client_id
        self._world.meddle(how, self._world.keys.get(client))

    def _token(self, asked: Asked, manners: Manners) -> Reply:
        """Contract 4."""
        proxy, now = self._proxy, manners.now
        return token_reply(
            token_request(asked.headers, asked.body),
            lambda client_id, secret: proxy.look(client_id, secret, now),
            lambda: proxy.token(now),
            manners,
        )

    def _revoke(self, asked: Asked, manners: Manners) -> Reply:
        """Contract 4: with the credentials that the token was obtained with; an unknown token is no error."""
        form = parse_qs(asked.body.decode(errors="replace"))
        given = {name: values[0] for name, values in form.items()}
        client = basic(asked.headers.get("authorization", ""))
        client_id, secret = client or (given.get("client_id", ""), given.get("client_secret", ""))
        if not given.get("token"):
            return refused("3003103", manners)
        if self._proxy.look(client_id, secret, manners.now) is None:
            return refused("3003201", manners, secret)
        self._proxy.tokens.pop(given["token"], None)
        return as_json({"result": "revoked"})

    def _resource(self, asked: Asked, manners: Manners) -> Reply:
        """Contract 4: a protected test API, for a token of this proxy, a client's credentials, or a live key."""
        header, now = asked.headers.get("authorization", ""), manners.now
        scheme, _, token = header.partition(" ")
        client = basic(header)
        good = scheme == "Bearer" and self._proxy.knows(token, now)
        good = good or (client is not None and self._proxy.look(*client, now) is not None)
        good = good or self._proxy.holds(asked.headers.get("apikey", ""), now)
        return as_json({"status": "ok"}) if good else refused("3003201", manners)
