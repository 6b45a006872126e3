"""Any fake vendor with an approval work-flow: what issue sends is a request, and nothing happens before it is approved.

`Desk` takes the place of a vendor's line, `AtDesk` that of its provider: the shape of an API portal's work-flow, where
a 2xx need not mean that anything was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from keyturn.api import (
    IssueRequest,
    IssueResponse,
    Refused,
    RetireRequest,
    RetireResponse,
    Settled,
    SettleRequest,
    SettleResponse,
    Waiting,
)
from keyturn.clock import Clock
from keyturn.testing.faults import Wire

T = TypeVar("T")


class Filed(Exception):
    """What was sent is a request now."""


@dataclass
class Request:
    """One request. `said` is empty while it is open, then `approved`, or who rejected it and why."""

    attempt: str
    sent_at: float
    apply: Callable[[float], object]
    said: str = ""


class Desk(Wire):
    """A line on which issue files a request. One at a time is open: the vendor refuses another one.

    `patience_s` is how long the provider waits; the vendor keeps a request open for ever. `looks` counts what was read,
    by verb; `retired` keeps what was asked of retire.
    """

    def __init__(self, clock: Clock, patience_s: float) -> None:
        super().__init__(clock)
        self.patience_s = patience_s
        self.requests: list[Request] = []
        self.retired: list[RetireRequest] = []
        self.looks: Counter[str] = Counter()
        self.filing = ""

    def send(
        self, verb: str, deadline_at: float, apply: Callable[[float], T], *, meddle: Callable[[], None] = lambda: None
    ) -> T:
        """See `Wire.send`; an issue is filed instead of carried out. Raises Filed."""
        if verb != "issue":
            return super().send(verb, deadline_at, apply, meddle=meddle)
        attempt = self.filing
        super().send(verb, deadline_at, lambda at: self._file(Request(attempt, at, apply)), meddle=meddle)
        raise Filed

    def look(self, verb: str, deadline_at: float, read: Callable[[], T]) -> T:
        """See `Wire.look`; counted."""
        self.looks[verb] += 1
        return super().look(verb, deadline_at, read)

    def approve(self) -> None:
        """Somebody approves the open request: it is carried out now."""
        request = self.open
        assert request
        request.said = "approved"
        request.apply(self.clock.now())

    def reject(self, said: str = "rejected by ann: not this week") -> None:
        """Somebody rejects the open request."""
        assert self.open
        self.open.said = said

    @property
    def open(self) -> Request | None:
        """The request that waits."""
        return next((one for one in self.requests if not one.said), None)

    def waiting(self, request: Request) -> Waiting:
        """What is waited for, and how long."""
        text = "ask an admin to approve it: portal, Requests"
        return Waiting(text=text, until=request.sent_at + self.patience_s)

    def _file(self, request: Request) -> None:
        if self.open:
            raise Refused("409: a request is open already", code="request-open")
        self.requests.append(request)


class AtDesk:
    """A fake provider whose vendor has a desk."""

    def __init__(self, provider: Any, desk: Desk) -> None:
        self._provider, self._desk = provider, desk
        self.inspect, self.probe = provider.inspect, provider.probe

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """See `keyturn.api.Provider.issue`. What was sent is a request that waits for an approval."""
        self._desk.filing = request.call.attempt_id
        try:
            answer: IssueResponse = self._provider.issue(request)
        except Filed:
            answer = IssueResponse(waiting=self._desk.waiting(self._desk.requests[-1]))
        return answer

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """See `keyturn.api.Provider.settle`. Our own request first; one that was approved shows at the vendor."""
        sent = {attempt.id for attempt in request.attempts}
        self._desk.look("settle", request.call.deadline_at, lambda: None)
        ours = [one for one in self._desk.requests if one.attempt in sent]
        if ours and not ours[-1].said:
            return SettleResponse(outcome=Settled.NOT_APPLIED, waiting=self._desk.waiting(ours[-1]))
        if ours and ours[-1].said != "approved":
            return SettleResponse(outcome=Settled.NOT_APPLIED, note=ours[-1].said, rejected=True)
        settled: SettleResponse = self._provider.settle(request)
        return settled

    def retire(self, request: RetireRequest, /) -> RetireResponse:
        """See `keyturn.api.Provider.retire`."""
        self._desk.retired.append(request)
        answer: RetireResponse = self._provider.retire(request)
        return answer
