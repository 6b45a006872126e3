"""The portal's API (contract 1, 2): reading, lists by pages, and changes, each sent once. Says what a failure means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from keyturn.api import Answer, Call, Doubt, NotSent, Refused
from keyturn_apiportal.bearer import Session, clock_of
from keyturn_apiportal.layer7.answers import Complaint, complaint, items, member, text
from keyturn_apiportal.layer7.options import Account

SUCCESS = tuple(range(200, 300))
READABLE = tuple(one for one in range(400, 500) if one not in (401, 408, 429))
"""Statuses whose bodies are read, and that leave nothing in doubt."""

FORBIDDEN, NOT_FOUND, TOO_MANY = 403, 404, 429
PAGE_SIZE, PAGES_MAX = 100, 50
NO_RIGHTS_HINT = "give the client of PAPI a role that may edit applications and their keys"
REJECTED_HINT = (
    "do what it says; an application that has as many keys as it may have takes no new one: delete one that nobody uses"
)


class Rejected(Refused):
    """The portal said no to a change, and why."""

    def __init__(self, why: str, *, status: int, said: Complaint, code: str, hint: str = "") -> None:
        super().__init__(why, code=code, hint=hint)
        self.status, self.said = status, said


class Papi:
    """The calls about one application.

    Reading raises NotSent, or Refused (`no-rights`, `request-rejected`, and what the session raises).
    """

    def __init__(self, session: Session, account: Account, application: str) -> None:
        self._session, self._account = session, account
        self._applications = f"{account.filled(account.api_prefix)}/applications"
        self.application = f"{self._applications}/{application}"
        self.keys = f"{self.application}/api-keys"
        self.requests = f"{account.filled(account.api_prefix)}/requests"
        self._uuid = application
        self.vendor_now: float | None = None
        """The portal's clock at the last answer (epoch s), where it shows one."""

    def key(self, name: str) -> str:
        """The path of one key."""
        return f"{self.keys}/{quote(name, safe='')}"

    def secret_of(self, name: str) -> str:
        """The path of the call that makes a key's secret (contract 2, way a)."""
        path = self._account.filled(self._account.secret_call.path, application=self._uuid, key=quote(name, safe=""))
        return f"{self._applications}{path}"

    def legacy(self) -> str:
        """The path of the application in the older form (contract 2, way d)."""
        return f"{self._account.filled(self._account.legacy.prefix)}/Applications('{self._uuid}')"

    def read(self, call: Call, path: str, params: Mapping[str, str] | None = None) -> Any:
        """What is there; None for a 404."""
        answer = self._session.call("GET", path, ok=(200, *READABLE), deadline_at=call.deadline_at, params=params)
        self.vendor_now = clock_of(answer) or self.vendor_now
        if answer.status == NOT_FOUND:
            return None
        if answer.status != 200:  # noqa: PLR2004
            raise _rejected(f"GET {path}", answer)
        return answer.json

    def read_if_there(self, call: Call, path: str, params: Mapping[str, str] | None = None) -> Any:
        """What is there; None also where this client may not know, or this portal has no such call."""
        try:
            return self.read(call, path, params)
        except Refused:
            return None

    def listed(self, call: Call, path: str, *, by: str) -> list[Any]:
        """All items of a list, each once by this member.

        Contract 7.13: totals may be wrong and an item may move to a page that was read, so pages are read until one is
        empty, and where there are several, twice.
        """
        found, pages = self._pages(call, path, by)
        if pages > 1:
            found = {**found, **self._pages(call, path, by)[0]}
        return list(found.values())

    def _pages(self, call: Call, path: str, by: str) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        for page in range(PAGES_MAX):
            params = {"page": str(page), "size": str(PAGE_SIZE), "sort": "createTs,ASC"}
            body = self.read(call, path, params)
            more = {text(member(one, by)): one for one in items(body)}
            if not more.keys() - found.keys():
                return found, page
            found |= more
        raise NotSent(f"GET {path}: the list does not end after {PAGES_MAX} pages", code="contract-broken")

    def change(
        self,
        call: Call,
        method: str,
        path: str,
        *,
        json: object | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one change, once; its answer is sealed under the attempt first.

        Raises NotSent (also for 429: the gateway in front answers it before the portal hears, ASSUMED), Rejected, and
        Doubt for all that may have taken effect.
        """
        ok = (*SUCCESS, *range(300, 400), *READABLE, TOO_MANY)
        answer = self._session.call(
            method,
            path,
            ok=ok,
            mutates=True,
            deadline_at=call.deadline_at,
            json=json,
            params=params,
            seal=call.attempt_id,
        )
        if answer.status in SUCCESS:
            return answer
        if answer.status == TOO_MANY:
            raise NotSent(f"{method} {path}: answered 429{_wait(answer)}", code="throttled")
        if answer.status not in READABLE:
            # A redirect may follow what was done: POST, then see elsewhere.
            raise Doubt(f"{method} {path}: answered {answer.status}", code=f"http-{answer.status}")
        raise _rejected(f"{method} {path}", answer)


def _rejected(what: str, answer: Answer) -> Rejected:
    said = complaint(answer)
    why = f"{what}: answered {answer.status}{f' ({said})' if str(said) else ''}"
    forbidden = answer.status == FORBIDDEN
    code, hint = ("no-rights", NO_RIGHTS_HINT) if forbidden else ("request-rejected", REJECTED_HINT)
    return Rejected(why, status=answer.status, said=said, code=code, hint=hint)


def _wait(answer: Answer) -> str:
    wait = answer.headers.get("retry-after", "")
    return f", asking to wait {wait} s" if wait.isdecimal() and len(wait) <= len("86400") else ""
