"""One account in one run: its API key, entity and public key, each kept for a minute at most."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from keyturn.api import Call, Context, NotSent, Refused, Secret
from keyturn_circle.client import ENTITY, PUBLIC_KEY, CircleApi
from keyturn_circle.client_cipher import PublicKey, public_key
from keyturn_circle.options import Account
from keyturn_circle.pacing import Pacing

KEPT_S = 60.0
"""From the look just before to the call that replaces a secret, so that nothing else lies in the gap."""

PREFIXES = {"test": "TEST_API_KEY", "live": "LIVE_API_KEY"}
PARTS, PART = 3, re.compile(r"[!-~]+")

Held = TypeVar("Held")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept(Generic[Held]):
    value: Held
    at: float


class Session:
    """What all verbs share. Nothing here is about one secret.

    Each method may raise NotSent and Refused: what `CircleApi.read` raises, `reference-unresolved`,
    `api-key-malformed`, `wrong-environment`, `public-key-unusable`.
    """

    def __init__(self, context: Context, account: Account) -> None:
        self._context, self._account = context, account
        self._api_key: _Kept[Secret] | None = None
        self._entity: _Kept[str] | None = None
        self._public_key: _Kept[PublicKey] | None = None

    @cached_property
    def api(self) -> CircleApi:
        """The service. Raises NotSent `ca-unusable`."""
        account = self._account
        http = self._context.http(account.base_url, ca=account.ca, proxy=account.proxy)
        return CircleApi(http, Pacing(self._context), account.codes)

    def api_key(self) -> Secret:
        """The API key, of the configured environment (contract 1)."""
        kept = self._api_key
        if kept is None or not self._fresh(kept.at, KEPT_S):
            found = self._context.resolve(self._account.api_key)
            _check_key(found, self._account)
            kept = self._api_key = _Kept(value=found, at=self._context.now())
        return kept.value

    def entity(self, call: Call, *, age_s_max: float = KEPT_S) -> str:
        """The id of the entity that the API key belongs to. Raises Refused `wrong-entity` for another than `app_id`."""
        kept = self._entity
        if kept is None or not self._fresh(kept.at, age_s_max):
            got = self.api.read(ENTITY, self.api_key(), deadline_at=call.deadline_at)
            kept = self._entity = _Kept(value=_app_id(got.text("appId"), self._account), at=self._context.now())
        return kept.value

    def public_key(self, call: Call, *, age_s_max: float = KEPT_S) -> PublicKey:
        """The key to encrypt with (contract 2.1)."""
        kept = self._public_key
        if kept is None or not self._fresh(kept.at, age_s_max):
            got = self.api.read(PUBLIC_KEY, self.api_key(), deadline_at=call.deadline_at)
            made = public_key(got.text("publicKey"), bits=self._account.key_bits)
            kept = self._public_key = _Kept(value=made, at=self._context.now())
        return kept.value

    def forget(self) -> None:
        """Let the next call ask for everything anew."""
        self._api_key = self._entity = self._public_key = None

    def _fresh(self, at: float, age_s_max: float) -> bool:
        return 0.0 <= self._context.now() - at < age_s_max


def _check_key(key: Secret, account: Account) -> None:
    parts = key.reveal().split(":")
    if len(parts) != PARTS or not all(
        part.isascii() and part.isprintable() and part.split() == [part] for part in parts[1:]
    ):
        raise Refused(
            "expected an API key of three parts with colons between them",
            code="api-key-malformed",
            hint="put the whole key there as the Console showed it: TEST_API_KEY:ID:SECRET or LIVE_API_KEY:ID:SECRET",
        )
    if parts[0] != PREFIXES[account.environment]:
        raise Refused(
            f"the account says environment: {account.environment}, its API key is not one of that environment",
            code="wrong-environment",
            hint=f"let api_key point to a key that begins with {PREFIXES[account.environment]}, or set environment",
        )


def _app_id(found: str, account: Account) -> str:
    if not found or len(found) > 100 or not found.isprintable() or " " in found:  # noqa: PLR2004
        raise NotSent("expected the id of an entity, got something else", code="contract-broken")
    if account.app_id and found != account.app_id:
        raise wrong_entity(found, account.app_id, ", or correct the option app_id")
    return found


def wrong_entity(found: str, expected: str, other_way: str = "") -> Refused:
    """The API key belongs to another entity than the secret."""
    way = f"let api_key point to a key of that entity{other_way}"
    return Refused(
        f"the API key belongs to the entity {found}, expected {expected}",
        code="wrong-entity",
        hint=f"{way}; another entity's secret is a secret of its own",
    )
