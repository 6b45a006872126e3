"""The calls of PAPI: who may make them, and the answer. Strict as the contract. Callers hold `World.lock`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping

from keyturn_apiportal.layer7.simulator_answers import Refusal, Reply, as_json, error, paged, with_secret
from keyturn_apiportal.layer7.simulator_asked import Asked, checked
from keyturn_apiportal.layer7.simulator_faults import MUTATING
from keyturn_apiportal.layer7.simulator_keys import Keys
from keyturn_apiportal.layer7.simulator_otk import Manners, token_reply, token_request
from keyturn_apiportal.layer7.simulator_proxy import Revision
from keyturn_apiportal.layer7.simulator_world import SCOPE, TENANT, Application, World, application_object, key_object

WORKFLOWS: Mapping[str, str] = {
    "EDIT_APPLICATION_REQUEST_WORKFLOW": "approve_edits",
    "DELETE_APPLICATION_REQUEST_WORKFLOW": "approve_deletes",
    "APPLICATION_REQUEST_WORKFLOW": "approve_applications",
}
HASHING = "APP_SECRET_HASHING_METADATA"
APPLICATION: Mapping[str, type] = {
    **dict.fromkeys(("uuid", "name", "description", "status", "organizationUuid", "organizationName"), str),
    **dict.fromkeys(("createTs", "modifyTs"), int),
}


class Papi:
    """What the portal does with a request."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: Mapping[str, Callable[[Asked], Reply]] = {
            "apps": self._apps,
            "app": lambda asked: as_json(application_object(self._application(asked))),
            "put-app": self._put_app,
            "keys": self._keys,
            "settings": self._settings,
            "proxies": self._proxies,
            "deployments": self._deployments,
            "requests": self._requests,
            "review": self._review,
            **Keys(world).calls,
        }

    def perform(self, asked: Asked, fault: str = "") -> Reply:
        """The answer, refusals included. Whatever came of it is in the log."""
        switches = self._world.switches
        before = self._world.keys.get(asked.names.get("key", ""))
        old = before.plain if before else None
        try:
            reply = self._token(asked) if asked.on == "token" else self._served(asked)
        except Refusal as refusal:
            reply = error(refusal, switches.errors, asked.echo if switches.echo else "")
        if fault.startswith("answer:") and reply.status < 300:
            reply = with_secret(reply, fault.partition(":")[2], old)
        if fault == "moved":
            reply = _moved(reply)
        self.note(asked, reply.status, fault)
        return reply

    def note(self, asked: Asked, status: int, fault: str = "") -> None:
        """Write an attempt into the log; a status of 0 had no answer from the portal itself."""
        about = {"path": asked.path, "by": "api", "key": asked.names.get("key", "")}
        self._world.attempt(on=asked.on, status=status, fault=fault, repeated=asked.repeated, **about)

    def meddle(self, how: str, asked: Asked) -> None:
        """Somebody else acts on the key that a request is about, or on its application's default one."""
        named = self._world.keys.get(asked.names.get("key", ""))
        self._world.meddle(how, named or self._world.default_key(asked.names.get("application", "")))

    # login

    def _token(self, asked: Asked) -> Reply:
        """Contract 1: PAPI's own token endpoint is one of OTK's."""
        world = self._world
        manners = Manners(now=world.now(), token_life_s=world.switches.token_life_s, says="", echo=world.switches.echo)
        return token_reply(token_request(asked.headers, asked.body), self._client, self._new_token, manners)

    def _client(self, client_id: str, secret: str) -> Revision | None:
        if (client_id, secret) != self._world.login:
            return None
        return Revision(api_key=client_id, digest="", hashed=False, live=True, scope=SCOPE)

    def _new_token(self) -> str:
        made = secrets.token_urlsafe(24)
        self._world.tokens[made] = self._world.now() + self._world.switches.token_life_s
        return made

    def _served(self, asked: Asked) -> Reply:
        """Contract 1, 7.1: a good bearer token, a call that exists, the tenant, the role."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self._world.tokens.get(token, 0.0) <= self._world.now():
            raise Refusal(401, "the access token is missing, expired or unknown")
        if asked.closed or asked.names.get("tenant") != TENANT:
            raise Refusal(asked.closed or 404, "there is nothing here")
        role = self._world.switches.role
        if role == "none" or (role == "read-only" and asked.on in (*MUTATING, "review")):
            raise Refusal(403, "the client lacks the role for this")
        return self._calls[asked.on](asked)

    # applications

    def _application(self, asked: Asked) -> Application:
        return self._world.application(asked.names["application"])

    def _apps(self, asked: Asked) -> Reply:
        items = [application_object(one) for one in self._world.applications.values()]
        return paged(items, asked.query, self._world.switches)

    def _put_app(self, asked: Asked) -> Reply:
        """Name and description; with the work-flow only after an approval (contract 2)."""
        one = self._application(asked)
        body = checked(asked.members(), APPLICATION, ("name",))

        def apply() -> None:
            one.name, one.description = body["name"], body.get("description", "")
            one.modified = max(round(self._world.now() * 1000), one.modified + 1)

        self._world.refuse_locked(one)
        if self._world.waits("put-app"):
            self._world.request(one, "put-app", apply, lambda: None)
            return as_json(application_object(one), self._world.switches.pending_answers)
        apply()
        return as_json(application_object(one), self._world.switches.put_answers)

    def _keys(self, asked: Asked) -> Reply:
        """Those of an application, or of all (contract 2: without secrets)."""
        world = self._world
        of_one = asked.names.get("application")
        found = world.keys_of(world.application(of_one).uuid) if of_one else list(world.keys.values())
        told = bool(of_one) and world.switches.list_secrets
        return paged([key_object(one, world.switches, with_secret=told) for one in found], asked.query, world.switches)

    # settings

    def _settings(self, asked: Asked) -> Reply:
        """Contract 2: of the tenant; in the OData-like form the members begin with capitals."""
        name = asked.names.get("setting") or asked.names.get("odata") or ""
        value = self._hashing() if name == HASHING else self._workflow(name)
        body = {"uuid": f"setting-{name.lower()}", "name": name, "value": value}
        if asked.names.get("odata"):
            body = {key.capitalize(): text for key, text in body.items()}
        return as_json(body)

    def _workflow(self, name: str) -> str:
        if name not in WORKFLOWS:
            raise Refusal(404, "the setting was not found")
        return "ENABLED" if getattr(self._world.switches, WORKFLOWS[name]) else "DISABLED"

    def _hashing(self) -> str:
        """JSON inside a string; missing or empty stands for plaintext only (contract 2, 7.7)."""
        switches = self._world.switches
        if switches.hashing_shown == "missing":
            raise Refusal(404, "the setting was not found")
        if switches.hashing_shown == "not-json":
            return "{algorithm=SHA-512"
        if switches.hashing_shown == "empty" or switches.hashing == "plaintext":
            return ""
        return json.dumps({"algorithm": switches.algorithm, "plaintextAllowed": switches.hashing == "both"})

    # proxies

    def _proxies(self, _: Asked) -> Reply:
        """Contract 3."""
        return as_json(
            [
                {
                    "uuid": one.uuid,
                    "name": one.name,
                    "enrollmentStatus": "ACTIVE",
                    "deploymentType": one.deployment_type,
                }
                for one in self._world.proxies
            ]
        )

    def _deployments(self, asked: Asked) -> Reply:
        """Contract 3: an assumed call, off unless the switch says otherwise."""
        if not self._world.switches.deployments:
            raise Refusal(404, "there is nothing here")
        key = self._world.key(asked.names["application"], asked.names["key"])
        found = []
        for one in self._world.proxies:
            status, message = one.deployment(key.api_key, self._world.now())
            found.append({"proxyUuid": one.uuid, "proxyName": one.name, "status": status, "message": message})
        return as_json(found)

    # requests

    def _requests(self, asked: Asked) -> Reply:
        """Contract 2: the requests about one application, or whether it has any."""
        if asked.names.get("status"):
            return as_json({"status": self._application(asked).status})
        wanted = asked.query.get("entityUuid", "")
        found = [one for one in self._world.reviews if wanted in ("", one.application)]
        items = [
            {
                "uuid": one.uuid,
                "entityUuid": one.application,
                "entityType": "APPLICATION",
                "type": "EDIT",
                "status": "PENDING",
                "createTs": round(one.at * 1000),
            }
            for one in found
        ]
        return paged(items, asked.query, self._world.switches)

    def _review(self, asked: Asked) -> Reply:
        """Contract 2: accept or reject. What is accepted takes effect now."""
        members = checked(asked.members(), {"uuid": str, "action": str, "reason": str}, ("uuid", "action"))
        action, name = members["action"], asked.names["request"]
        if action not in ("ACCEPT", "REJECT") or members["uuid"] != name:
            raise Refusal(400, "action must be ACCEPT or REJECT", "action")
        self._world.review(name, accept=action == "ACCEPT", by="api")
        return as_json({"uuid": name, "status": f"{action}ED"})


def _moved(reply: Reply) -> Reply:
    """The page as it is when the item before it went to the end: its first one is no longer there (contract 7.13)."""
    body = json.loads(reply.body) if reply.status == 200 else {}
    if not body.get("results"):
        return reply
    return as_json({**body, "results": body["results"][1:]})
