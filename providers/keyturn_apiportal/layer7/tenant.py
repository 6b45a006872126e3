"""One application at one portal, in one run: what both ways of replacing its secret look at, and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from keyturn.api import Call, Context, NotSent, Problem, Refused, Waiting
from keyturn_apiportal.layer7 import approval, deployments
from keyturn_apiportal.layer7.answers import Key, items, key_of
from keyturn_apiportal.layer7.hashing import HASHED, PLAIN, Policy, Setting, policy, setting_of
from keyturn_apiportal.layer7.options import Account, Target
from keyturn_apiportal.layer7.papi import Papi

HASH, HASH_SETTING = "hash", "hash-setting"
"""Facts that must be the same when a change is sent (contract 7.7)."""

READ_AGAIN_S, READ_S_MAX = 1.0, 5.0
"""How a change is read back that the portal does not show at once: consumers may be waiting."""

NO_APPLICATION_HINT = (
    "check url, tenant and api_prefix of the account, and application of the target; with way: legacy whether the "
    "portal is older than 5.2"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Whole:
    """What stands around an application now. `needed`: a person approves changes; `types`: of the proxies, by name."""

    setting: Setting
    requests: approval.Requests
    needed: bool
    types: dict[str, str]


class Tenant:
    """Looks at everything around the keys of one application."""

    def __init__(self, context: Context, account: Account, target: Target, papi: Papi) -> None:
        self.context, self.account, self.target, self.papi = context, account, target, papi

    def look(self, call: Call, body: object) -> Whole:
        """What stands around this application, whose own object is `body`."""
        account, papi = self.account, self.papi
        return Whole(
            setting=setting_of(papi.read(call, account.filled(account.hashing.path))),
            requests=self.requests(call, body),
            needed=approval.enabled(
                papi.read_if_there(call, account.filled(account.workflow_path, name=approval.EDIT))
            ),
            types=self.types(call),
        )

    def requests(self, call: Call, body: object) -> approval.Requests:
        """The requests of this application."""
        found = self.papi.read_if_there(call, self.papi.requests, {"entityUuid": self.target.application})
        return approval.requests_of(items(found), body)

    def types(self, call: Call) -> dict[str, str]:
        """How keys come to the proxies that have a name."""
        if not any(place.name for place in self.account.places):
            return {}
        return deployments.types_of(self.papi.read_if_there(call, self.account.filled(self.account.proxies_path)))

    def policy(self, whole: Whole, key: Key | None) -> Policy:
        """What the next secret is to be, where this key is the model."""
        return policy(whole.setting, self.target.hashed, now_hashed=key is not None and key.hashed)

    def problems(self, whole: Whole, plan: Policy) -> Iterator[Problem]:
        """What stands against a change, whatever the key."""
        yield from plan.problems
        untold = plan.hashed and self.target.theirs
        yield from approval.problems(whole.requests, needed=whole.needed, policy=self.account.approval, untold=untold)
        yield from deployments.problems(whole.types, self.account.places)

    def facts(self, whole: Whole, plan: Policy) -> dict[str, str]:
        """What has to be the same when the change is sent."""
        return {HASH: HASHED if plan.hashed else PLAIN, HASH_SETTING: whole.setting.shown}

    def waiting(self, requests: approval.Requests) -> Waiting | None:
        """What is waited for, where a request is pending."""
        return approval.waiting(requests, patience_s=self.account.approval_patience, now=self.context.now())

    def no_application(self) -> Problem:
        """The problem where there is none."""
        text = f"tenant {self.account.tenant} has no application {self.target.application}"
        return Problem(code="no-such-application", text=text, hint=NO_APPLICATION_HINT)

    def key_in(self, body: object) -> Key | None:
        """A key as this account's portal writes it."""
        return key_of(body, mark_field=self.account.mark_field, value_field=self.account.secret_call.value_field)

    def key(self, call: Call, name: str) -> Key | None:
        """One key by its id; None where it is gone."""
        return self.key_in(self.papi.read(call, self.papi.key(name)))

    def pending(self, call: Call) -> Waiting | None:
        """What is waited for now."""
        return self.waiting(self.requests(call, self.papi.read(call, self.papi.application)))

    def pending_if_known(self, call: Call) -> Waiting | None:
        """The same, after a change: None also where the portal does not say."""
        try:
            return self.pending(call)
        except (NotSent, Refused):
            return None

    def read_back(self, call: Call, read: Callable[[Call], Key | None]) -> Key | None:
        """The key by `read`, after a change; None where the portal does not show it in time."""
        got: list[Key | None] = []

        def shown() -> bool:
            try:
                got.append(read(call))
            except (NotSent, Refused):
                return False
            return True

        left_s = max(0.0, call.deadline_at - self.context.now())
        self.context.wait(shown, every_s=READ_AGAIN_S, at_most_s=min(READ_S_MAX, left_s / 2))
        return got[-1] if got else None


def unfit(key: Key) -> Iterable[Problem]:
    """Keys whose secret can not be rotated (contract 7.2)."""
    if key.auth_method != "SECRET":
        text = f"{key.id} is authenticated by {key.auth_method}, not by a secret"
        hint = "have its authentication method set to SECRET in the portal, or take the secret out of the configuration"
        yield Problem(code="not-a-secret-key", text=text, hint=hint)
    if key.oauth_type == "PUBLIC":
        hint = "have its type set to CONFIDENTIAL in the portal, or take the secret out of the configuration"
        yield Problem(code="public-client", text=f"{key.id} is a public client, which has no secret", hint=hint)
