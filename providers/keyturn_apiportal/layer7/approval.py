"""Changes that a person at the portal has to approve (contract 2): what is pending, and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keyturn.api import Problem, Waiting
from keyturn_apiportal.layer7.answers import member, text

EDIT = "EDIT_APPLICATION_REQUEST_WORKFLOW"
PENDING = "PENDING"
ADMINISTRATOR = (
    "give it a client of PAPI with an administrator's rights, who is not asked, and set approval: administrator"
)


@dataclass(frozen=True, kw_only=True)
class Requests:
    """The application's requests: the one that is pending, if any (its id may be empty), and since when (epoch s)."""

    pending: bool = False
    id: str = ""
    since: float | None = None


def enabled(body: object) -> bool:
    """Whether a setting of the work-flow says so, in either form."""
    value = member(member(body, "d") or body, "value")
    return isinstance(value, str) and value.strip().upper() == "ENABLED"


def requests_of(found: Iterable[Any], application: object) -> Requests:
    """What is pending, by the list of requests, or by the application's own status."""
    for one in found:
        if PENDING in (text(member(one, "status")).upper() or PENDING):
            since = member(one, "createTs")
            number = since / 1000 if isinstance(since, int | float) and since > 0 else None
            return Requests(pending=True, id=text(member(one, "uuid")), since=number)
    return Requests(pending=f"{PENDING}_APPROVAL" in text(member(application, "status")).upper())


def waiting(requests: Requests, *, patience_s: float, now: float) -> Waiting | None:
    """What is waited for, with the next step; None where nothing is pending."""
    if not requests.pending:
        return None
    which = f" {requests.id}" if requests.id else ""
    text_ = f"the portal took it as a request{which}, which a person has to accept or reject there (Requests)"
    return Waiting(text=text_, until=(requests.since or now) + patience_s)


def problems(requests: Requests, *, needed: bool, policy: str, untold: bool) -> tuple[Problem, ...]:
    """What stands against a change. `untold`: the portal makes the secret, and hides it once it is approved."""
    found: tuple[Problem, ...] = ()
    if requests.pending:
        hint = "have it accepted or rejected in the portal, then run again"
        text_ = f"a request for this application waits for approval{f': {requests.id}' if requests.id else ''}"
        found = (Problem(code="request-pending", text=text_, passing=True, hint=hint),)
    if not needed or policy == "administrator" or (policy == "wait" and not untold):
        return found
    return (*found, _untold() if untold else _asked())


def _asked() -> Problem:
    return Problem(
        code="approval-workflow",
        text="the tenant has changes of applications approved by a person",
        hint=f"set approval: wait in the account; {ADMINISTRATOR}",
    )


def _untold() -> Problem:
    """Waiting is of no use: nobody would have the value that is in force then."""
    return Problem(
        code="approval-workflow",
        text="the tenant has changes of applications approved by a person, and of a hashed secret that the portal "
        "makes nobody is told the value when it is approved",
        hint=f"{ADMINISTRATOR}; else rotate by way: put, or a key in plaintext with hashed: as-is",
    )
