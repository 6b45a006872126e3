"""The calls of PAPI about one key, in all portal versions (contract 2). Callers hold `World.lock`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from keyturn_apiportal.layer7.simulator_answers import ASTERISKS, Refusal, Reply, as_json
from keyturn_apiportal.layer7.simulator_asked import Asked, checked
from keyturn_apiportal.layer7.simulator_proxy import digest_of
from keyturn_apiportal.layer7.simulator_world import (
    ORGANIZATION,
    Application,
    Key,
    World,
    key_object,
    made_api_key,
    made_secret,
)

ID = re.compile(r"[A-Za-z0-9-]+")
STATUSES = ("ENABLED", "DISABLED")
NEWEST, MIDDLE, OLDEST = "5.2.1+", "5.1", "4.5"
OAUTH: Mapping[str, tuple[str, str]] = {
    "oauthType": ("oauth_type", "CONFIDENTIAL"),
    "oauthScope": ("oauth_scope", ""),
    "oauthCallbackUrl": ("oauth_callback_url", ""),
    "authMethod": ("auth_method", "SECRET"),
}
"""Members of a key that a PUT replaces, with what they are where it leaves them out."""
MEMBERS: Mapping[str, type] = {
    **dict.fromkeys(("apiKey", "keySecret", "applicationUuid", "name", "status", *OAUTH), str),
    **dict.fromkeys(("keySecretHashed", "defaultKey"), bool),
    **dict.fromkeys(("secretExpiryTs", "createTs", "modifyTs"), int),
}
ENTITY: Mapping[str, type] = {
    **dict.fromkeys(("Uuid", "Name", "Description", "OrganizationUuid", "Status", "ApiKey", "KeySecret"), str),
    **dict.fromkeys(("OauthScope", "OauthType", "OauthCallbackUrl"), str),
    **dict.fromkeys(("ShouldHash", "KeySecretHashed"), bool),
    "ModifyTs": int,
}
WHOLE = ("Uuid", "Name", "Status", "ApiKey", "KeySecret", "OauthScope", "OauthType", "OauthCallbackUrl")


class Keys:
    """What the portal does with a key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.calls: Mapping[str, Callable[[Asked], Reply]] = {
            "key": self._get,
            "post-key": self._post,
            "put-key": self._put,
            "patch": self._patch,
            "delete": self._delete,
            "get-legacy": self._get_legacy,
            "put-legacy": self._put_legacy,
            "suggest": self._suggest,
        }

    def _key(self, asked: Asked) -> Key:
        self._need(MIDDLE, NEWEST)
        return self._world.key(asked.names["application"], asked.names["key"])

    def _need(self, *versions: str, status: int = 404) -> None:
        """Contract 2, 7.8: what a portal of another version does not have. Raises Refusal."""
        if self._world.switches.version not in versions:
            raise Refusal(status, "there is nothing here")

    def _change(
        self,
        asked: Asked,
        application: Application,
        apply: Callable[[], Reply],
        pending: Callable[[], Reply],
        reject: Callable[[], object] = lambda: None,
    ) -> Reply:
        """Done at once, or only a request for it, which `pending` answers (contract 2, 7.4). Raises Refusal."""
        self._world.refuse_locked(application)
        if not self._world.waits(asked.on):
            return apply()
        reply = pending()
        self._world.request(application, asked.on, apply, reject)
        return reply

    def _shown(self, key: Key, status: int = 200, secret: str | None = None, *, with_secret: bool = True) -> Reply:
        switches = self._world.switches
        return as_json(key_object(key, switches, secret=secret, with_secret=with_secret), status)

    def _pending(self, key: Key) -> Reply:
        return self._shown(key, self._world.switches.pending_answers, with_secret=False)

    def _get(self, asked: Asked) -> Reply:
        return self._shown(self._key(asked))

    # a new secret in place

    def _patch(self, asked: Asked) -> Reply:
        """Contract 2, way a: the portal makes the secret, and the answer is the only copy of a hashed one."""
        self._need(NEWEST, status=self._world.switches.patch_missing)
        key = self._key(asked)
        takes = {"keySecret": str, "keySecretHashed": bool}
        body = checked(asked.members(), takes, tuple(takes))
        given, hashed = body["keySecret"], body["keySecretHashed"]
        if given and not self._world.switches.patch_takes_secret:
            raise Refusal(400, "keySecret must be empty", "keySecret")
        self._world.check_hashing(hashed=hashed)

        def apply() -> Reply:
            made = self._world.new_secret("patch", self._still(key), "api", hashed=hashed, given=given)
            return as_json({"apiKey": key.api_key, "keySecret": made, "keySecretHashed": hashed})

        told = {"apiKey": key.api_key, "keySecretHashed": key.hashed}
        return self._change(
            asked,
            self._world.application(key.application),
            apply,
            lambda: as_json(told, self._world.switches.pending_answers),
        )

    def _still(self, key: Key) -> Key:
        """A key that was there when a change was asked for. Raises Refusal."""
        return self._world.key(key.application, key.api_key)

    def _put(self, asked: Asked) -> Reply:
        """Contract 2, way c: replaces name, state and OAuth fields; the secret too before 5.2.1."""
        key = self._key(asked)
        body = checked(asked.members(), MEMBERS, ("name", "status"))
        if body.get("apiKey", key.api_key) != key.api_key:
            raise Refusal(400, "apiKey can not be changed", "apiKey")
        self._check_state(key, body)
        given, hashed = self._given(key, body)

        def apply() -> Reply:
            self._replace(self._still(key), body)
            if given is None:
                self._world.commit("put-key", key, "api")
            else:
                self._world.new_secret("put-key", key, "api", hashed=hashed, given=given)
            return self._shown(key, self._world.switches.put_answers)

        return self._change(asked, self._world.application(key.application), apply, lambda: self._pending(key))

    def _given(self, key: Key, body: Mapping[str, Any]) -> tuple[str | None, bool]:
        """The caller's secret, where this version takes one and it is another (contract 2, way c). Raises Refusal."""
        hashed = body.get("keySecretHashed", key.hashed)
        given = body.get("keySecret") if self._world.switches.version == MIDDLE else None
        if given is None:
            return None, key.hashed
        if not given:
            raise Refusal(400, "keySecret is empty", "keySecret")
        self._world.check_hashing(hashed=hashed)
        same = digest_of(given) == key.digest and hashed == key.hashed
        return (None if same else given), hashed

    def _check_state(self, key: Key, body: Mapping[str, Any]) -> None:
        """Contract 2, 7.12: an application has one default key, which is ENABLED. Raises Refusal."""
        if body["status"] not in STATUSES:
            raise Refusal(400, "status must be ENABLED or DISABLED", "status")
        if key.default and body.get("defaultKey") is False:
            raise Refusal(400, "the application needs a default key", "defaultKey")
        if body["status"] != "ENABLED" and (key.default or body.get("defaultKey")):
            raise Refusal(400, "the default key can not be disabled", "status")

    def _replace(self, key: Key, body: Mapping[str, Any]) -> None:
        key.name, key.status = body["name"], body["status"]
        for name, (attribute, usual) in OAUTH.items():
            setattr(key, attribute, body.get(name, usual))
        if body.get("defaultKey"):
            self._world.make_default(key)

    # another key

    def _post(self, asked: Asked) -> Reply:
        """Contract 2, way f: a key with our id and secret, or the portal's. Its secret is shown this once."""
        self._need(MIDDLE, NEWEST)
        application = self._world.application(asked.names["application"])
        body = checked(asked.members(), MEMBERS, ("name",))
        key, secret = self._made(application, body)
        self._world.refuse_locked(application)

        def apply() -> Reply:
            key.status = body.get("status", "ENABLED")
            self._world.keys[key.api_key] = key
            if body.get("defaultKey"):
                self._world.make_default(key)
            self._world.commit("post-key", key, "api")
            return self._shown(key, 201, secret)

        def pending() -> Reply:
            key.status = "PENDING_REGISTRATION"
            self._world.keys[key.api_key] = key
            switches = self._world.switches
            shown = key_object(key, switches, secret=secret) if switches.pending_post == "shown" else {}
            return as_json(shown, switches.pending_answers)

        return self._change(asked, application, apply, pending, lambda: self._world.keys.pop(key.api_key, None))

    def _made(self, application: Application, body: Mapping[str, Any]) -> tuple[Key, str]:
        """The key that a POST asks for. Raises Refusal."""
        api_key, switches = body.get("apiKey") or made_api_key(), self._world.switches
        others = self._world.keys_of(application.uuid)
        if not ID.fullmatch(api_key) or api_key in self._world.keys:
            raise Refusal(400, "apiKey must be new, of letters, digits and hyphens", "apiKey")
        if switches.key_limit and len(others) >= switches.key_limit:
            raise Refusal(400, f"an application has at most {switches.key_limit} keys", "apiKey")
        if not body["name"] or (switches.names == "unique" and body["name"] in [one.name for one in others]):
            raise Refusal(400, "name must be there and new", "name")
        if body.get("status", "ENABLED") not in STATUSES:
            raise Refusal(400, "status must be ENABLED or DISABLED", "status")
        secret, plain = self._first_secret(body)
        now = round(self._world.now() * 1000)
        key = Key(
            api_key=api_key,
            application=application.uuid,
            name=body["name"],
            digest=digest_of(secret),
            plain=secret if plain else None,
            default=not others,
            created=now,
            modified=now,
        )
        for name, (attribute, usual) in OAUTH.items():
            setattr(key, attribute, body.get(name, usual))
        return key, secret

    def _first_secret(self, body: Mapping[str, Any]) -> tuple[str, bool]:
        """The secret of a new key, and whether it stays plaintext (contract 2). Raises Refusal."""
        switches, given = self._world.switches, body.get("keySecret", "")
        hashed = body.get("keySecretHashed", switches.hashing == "hashed")
        self._world.check_hashing(hashed=hashed)
        stays = switches.given_stays_plain == "all" or (bool(given) and switches.given_stays_plain == "given")
        return given or made_secret(), stays or not hashed

    def _delete(self, asked: Asked) -> Reply:
        """Contract 2, 6, 7.12. Raises Refusal."""
        key, switches = self._key(asked), self._world.switches
        forced = asked.query.get("forceDelete") == "true"
        if key.default:
            raise Refusal(400, "the default key can not be deleted", "defaultKey")
        if key.status == "ENABLED" and not switches.delete_enabled:
            raise Refusal(400, "an enabled key can not be deleted", "status")
        unchecked = forced or asked.query.get("ignoreKeyStoreCheck") == "true"
        if switches.key_store_check and not unchecked and self._world.held(key):
            raise Refusal(400, "the key is still in the key store of a proxy", "keyStoreCheck")

        def apply() -> Reply:
            self._world.remove(self._still(key), "api")
            return Reply(status=204)

        return self._change(asked, self._world.application(key.application), apply, lambda: self._pending(key))

    # the older form

    def _legacy_key(self, application: str) -> Key:
        self._need(MIDDLE, OLDEST)
        found = self._world.default_key(self._world.application(application).uuid)
        if found is None:
            raise Refusal(404, "the application has no key")
        return found

    def _get_legacy(self, asked: Asked) -> Reply:
        return as_json(self._entity(self._legacy_key(asked.names["application"])))

    def _entity(self, key: Key) -> dict[str, Any]:
        """An application in the OData-like form, with its one key (contract 2, way d)."""
        application = self._world.application(key.application)
        return {
            "Uuid": application.uuid,
            "Name": application.name,
            "Description": application.description,
            "OrganizationUuid": ORGANIZATION,
            "Status": application.status,
            "ApiKey": key.api_key,
            "KeySecret": ASTERISKS if key.plain is None else key.plain,
            "KeySecretHashed": key.hashed,
            "OauthScope": key.oauth_scope,
            "OauthType": key.oauth_type,
            "OauthCallbackUrl": key.oauth_callback_url,
            "ModifyTs": key.modified,
        }

    def _put_legacy(self, asked: Asked) -> Reply:
        """Contract 2, way d: the whole entity, with a secret that the caller made. Raises Refusal."""
        key = self._legacy_key(asked.names["application"])
        application = self._world.application(key.application)
        body = checked(asked.members(), ENTITY, WHOLE)
        if body["Uuid"] != application.uuid or body["ApiKey"] != key.api_key or not body["KeySecret"]:
            raise Refusal(400, "Uuid and ApiKey must be those of the application, KeySecret must be there", "KeySecret")
        hashed = body.get("ShouldHash", key.hashed)
        self._world.check_hashing(hashed=hashed)

        def apply() -> Reply:
            kept = self._still(key)
            kept.oauth_scope, kept.oauth_type = body["OauthScope"], body["OauthType"]
            kept.oauth_callback_url, application.name = body["OauthCallbackUrl"], body["Name"]
            self._world.new_secret("put-legacy", kept, "api", hashed=hashed, given=body["KeySecret"])
            return as_json(self._entity(kept), self._world.switches.put_answers)

        told = {name: value for name, value in self._entity(key).items() if name != "KeySecret"}
        return self._change(asked, application, apply, lambda: as_json(told, self._world.switches.pending_answers))

    def _suggest(self, asked: Asked) -> Reply:
        """Contract 2, way e: a suggestion only, nothing is saved."""
        self._legacy_key(asked.query.get("ApplicationUuid", "").strip("'"))
        return as_json({"result": made_secret()})
