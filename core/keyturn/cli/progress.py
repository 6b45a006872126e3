"""Progress for people, from the events that were just journaled. Never a value: events hold none.

Where stderr is no terminal every event is one plain line. On a terminal every step is one line, with a mark, how long
it took and where it happened, and below it what is in flight now.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from threading import RLock
from typing import Any, Protocol, TextIO

import click

from keyturn.cli.cut_over import cut_over
from keyturn.clock import SystemClock, iso
from keyturn.engine.record import events as ev
from keyturn.ids import short

Write = Callable[[str], None]

GOOD = frozenset({"done", "already", "dead"})
"""Outcomes and verdicts that a step's own line says well enough."""

SEEN = {"verify": "accepted at ", "prove": "refused at "}
"""What was seen at the places of a step."""

ERASE = "\r\x1b[K"
MARKS = {
    "done": ("✓", "+", "green"),
    "now": ("·", ".", "cyan"),
    "waits": ("…", "~", "yellow"),
    "bad": ("!", "!", "red"),
}
"""What a line begins with, what it begins with where that can not be written, and its colour."""


class Progress(Protocol):
    """Shows what happens."""

    def tell(self, secret: str, body: ev.Body) -> None:
        """An event of this secret was just journaled."""

    def clear(self) -> None:
        """Something else is about to be written."""


def make_progress(err: TextIO, write: Write) -> Progress:
    """For this stderr: steps on a terminal that can go back on its line, else plain lines."""
    if not err.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Lines(write)
    plain = not (err.encoding or "").lower().startswith("utf")
    return Steps(write, SystemClock().monotonic, colour=coloured(err), plain=plain)


def coloured(err: TextIO) -> bool:
    """Whether this stderr shall have colours."""
    return err.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


class Lines:
    """One plain line for each event."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def tell(self, secret: str, body: ev.Body) -> None:
        """The event's line; none for events that say nothing new to a person."""
        text = said(body)
        if text:
            self._write(f"{secret}  {text}\n")

    def clear(self) -> None:
        """Nothing is left standing."""


@dataclass(kw_only=True)
class _Flight:
    """One secret's step in flight: since when, and what happened where, as (step, verb, place)."""

    since: float
    places: list[tuple[str, str, str]] = field(default_factory=list)


class Steps:
    """One line for each step, below the secret's name. `now` counts seconds. Called from several threads."""

    def __init__(self, write: Write, now: Callable[[], float], *, colour: bool, plain: bool) -> None:
        self._write, self._now, self._colour, self._plain = write, now, colour, plain
        self._began = now()
        self._flights: dict[str, _Flight] = {}
        self._under = ""
        self._standing = False
        self._lock = RLock()  # a signal's handler may speak while its own thread does

    def tell(self, secret: str, body: ev.Body) -> None:
        """Show the event, or keep it for its step's line."""
        with self._lock:
            flight = self._flights.setdefault(secret, _Flight(since=self._began))
            place = _place(body)
            if place:
                self._flush(secret, flight, but=place[0])
                flight.places.append(place)
            elif isinstance(body, ev.Sent):
                self._stand(secret, f"{body.verb}: sent to {body.target}")
            elif isinstance(body, ev.StepDone):
                self._flush(secret, flight, but=body.step)
                self._step(secret, flight, body.step)
            elif said(body) and not isinstance(body, ev.Minted):
                self._flush(secret, flight)
                self._line(secret, _mark(body), said(body))
            if isinstance(body, ev.Started):
                flight.since = self._now()

    def clear(self) -> None:
        """Say what no step's line has said, and take away what stands."""
        with self._lock:
            for secret, flight in self._flights.items():
                self._flush(secret, flight)
            self._erase()

    def _flush(self, secret: str, flight: _Flight, but: str = "") -> None:
        """Effects without a line of their own, such as those of an undo; those of step `but` may get one."""
        for step, verb, _ in list(flight.places):
            if step != but and any(one[:2] == (step, verb) for one in flight.places):
                self._step(secret, flight, step, verb)

    def _step(self, secret: str, flight: _Flight, step: str, verb: str = "") -> None:
        """The line of a step, or of one verb of it."""
        mine = [one for one in flight.places if one[0] == step and verb in ("", one[1])]
        flight.places = [one for one in flight.places if one not in mine]
        took, flight.since = self._now() - flight.since, self._now()
        places = list(dict.fromkeys(place for _, _, place in mine))
        where = ", ".join(places)
        if len(places) > 1 and len(where) > self._columns - 36:
            where = f"{len(places)} places"
        where = SEEN.get(step, "") + where if where else ""
        self._line(secret, "done", f"{verb or step:<9} {took:6.1f} s  {where}")

    def _line(self, secret: str, mark: str, text: str) -> None:
        self._erase()
        if secret != self._under:
            self._under = secret
            self._write(f"{self._styled(secret, bold=True)}\n")
        self._write(f"  {self._marked(mark)} {text.rstrip()}\n")

    def _stand(self, secret: str, text: str) -> None:
        """What is in flight, until something else is written. It must not wrap: only one line can be taken away."""
        self._erase()
        self._standing = True
        room = self._columns - 5
        whole = text if self._under == secret else f"{secret}  {text}"
        self._write(f"  {self._marked('now')} {whole[:room]}")

    def _erase(self) -> None:
        if self._standing:
            self._standing = False
            self._write(ERASE)

    def _marked(self, mark: str) -> str:
        if mark not in MARKS:
            return " "
        best, plain, colour = MARKS[mark]
        return self._styled(plain if self._plain else best, fg=colour)

    def _styled(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self._colour else text

    @property
    def _columns(self) -> int:
        return shutil.get_terminal_size().columns


def _place(body: ev.Body) -> tuple[str, str, str] | None:
    """Step, verb and place of an event that went well; None for all others."""
    if isinstance(body, ev.Answered) and body.outcome in GOOD:
        return body.step, body.verb, body.target
    if isinstance(body, ev.Accepted):
        return "verify", "verify", body.endpoint
    if isinstance(body, ev.Proved) and body.verdict in GOOD:
        return "prove", "prove", body.endpoint
    return None


def _mark(body: ev.Body) -> str:
    if isinstance(body, ev.WaitingFor) or (isinstance(body, ev.Proved) and body.verdict == "accepted"):
        return "waits"
    if isinstance(body, ev.Answered | ev.Proved | ev.BecameStuck | ev.Undoing):
        return "bad"
    if isinstance(body, ev.Ended):
        return {"done": "done", "superseded": ""}.get(body.outcome, "bad")
    return "done" if isinstance(body, ev.Adopted | ev.Supplied | ev.Repaired | ev.Told | ev.Acknowledged) else ""


def said(body: ev.Body) -> str:
    """What happened, in a few words."""
    tell = _LINES.get(type(body))
    return tell(body) if tell else ""


def _started(body: ev.Started) -> str:
    why = f" ({body.reason})" if body.reason else ""
    return f"rotation to version {body.number} begins{why}; plan {body.digest}"


def _answered(body: ev.Answered) -> str:
    why = f": {body.why}" if body.why else ""
    outcome = "did not work" if body.outcome == "not_sent" else body.outcome.replace("_", " ")
    then = "; looking until it is certain" if body.outcome == "doubt" else ""
    return f"{body.verb}: {outcome} at {body.target}{why}{then}"


def _waiting(body: ev.WaitingFor) -> str:
    until = f", until {iso(body.until)}" if body.until and iso(body.until) not in body.text else ""
    missing = f", missing: {', '.join(body.missing)}" if body.missing else ""
    return f"{body.step}: {body.text}{until}{missing}"


def _adopted(body: ev.Adopted) -> str:
    return f"version {body.number} adopted {'as given' if body.how == 'given' else body.how}"


def _proved(body: ev.Proved) -> str:
    verdict = "still accepted" if body.verdict == "accepted" else body.verdict
    why = f": {body.why}" if body.why else ""
    return f"prove: {verdict} at {body.endpoint}{why}{f', until {iso(body.until)} at most' if body.until else ''}"


def _ended(body: ev.Ended) -> str:
    if body.outcome == "superseded":
        return "rotation superseded by a newer one"
    cost = "; ".join(cut_over(asdict(body)))
    return f"rotation {body.outcome}{f': {body.reason}' if body.reason else ''}{f'; {cost}' if cost else ''}"


def _checked(body: ev.Checked) -> str:
    return f"looked at: {', '.join(one['code'] for one in body.problems) or 'all is well'}"


def _told(body: ev.Told) -> str:
    """What became of the announcement of an adopted version."""
    return (
        f"announce: {body.consumer} is not told: {body.reason}" if body.reason else f"announce: done at {body.consumer}"
    )


def _acknowledged(body: ev.Acknowledged) -> str:
    return f"acknowledgement of {body.consumer} {'waived' if body.waived else 'recorded'}"


def _noted(body: ev.Noted) -> str:
    return " ".join([body.event, *(f"{name}={text}" for name, text in body.fields.items())])


_LINES: dict[type[ev.Body], Callable[[Any], str]] = {
    ev.Adopted: _adopted,
    ev.Checked: _checked,
    ev.Started: _started,
    ev.Minted: lambda _: "mint: made and sealed",
    ev.Sent: lambda body: f"{body.verb}: sent to {body.target} (attempt {short(body.attempt)})",
    ev.Answered: _answered,
    ev.SettledAs: lambda body: f"issue: found {body.outcome.replace('_', ' ')} by looking",
    ev.Supplied: lambda body: f"{', '.join(body.fingerprints)} handed in and sealed",
    ev.Reissuing: lambda body: f"issue: the value is gone, going on with version {body.number}",
    ev.Accepted: lambda body: f"verify: accepted at {body.endpoint}",
    ev.Proved: _proved,
    ev.StepDone: lambda body: f"{body.step}: done",
    ev.WaitingFor: _waiting,
    ev.BecameStuck: lambda body: f"{body.step}: stuck: {body.reason}",
    ev.Undoing: lambda body: f"undoing: {body.reason}",
    ev.Forward: lambda body: f"forward only: {body.reason}",
    ev.Ended: _ended,
    ev.Acknowledged: _acknowledged,
    ev.HoldChanged: lambda body: f"hold: ends {iso(body.until)}",
    ev.Paused: lambda body: f"paused until {iso(body.until)}" if body.until else "no longer paused",
    ev.Dropped: lambda body: f"dropped from this rotation: {body.what}",
    ev.Repaired: lambda body: f"repaired: {body.target}",
    ev.Told: _told,
    ev.Alerted: lambda body: f"alert sent: {body.text}",
    ev.Noted: _noted,
}
