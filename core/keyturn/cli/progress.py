"""Progress for people: one readable line for each event that was just journaled. Never a value: events hold none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keyturn.clock import iso
from keyturn.engine import events as ev
from keyturn.ids import short


def line(secret: str, body: ev.Body) -> str:
    """The line, or an empty text for events that say nothing new to a person."""
    text = said(body)
    return f"{secret}  {text}" if text else ""


def said(body: ev.Body) -> str:
    """What happened, in a few words."""
    tell = _LINES.get(type(body))
    return tell(body) if tell else ""


def _started(body: ev.Started) -> str:
    why = f" ({body.reason})" if body.reason else ""
    return f"rotation to version {body.number} begins{why}; plan {body.digest}"


def _answered(body: ev.Answered) -> str:
    why = f": {body.why}" if body.why else ""
    return f"{body.verb}: {body.outcome.replace('_', ' ')} at {body.target}{why}"


def _waiting(body: ev.WaitingFor) -> str:
    until = f", until {iso(body.until)}" if body.until else ""
    missing = f", missing: {', '.join(body.missing)}" if body.missing else ""
    return f"{body.step}: {body.text}{until}{missing}"


def _ended(body: ev.Ended) -> str:
    return f"rotation {body.outcome}{f': {body.reason}' if body.reason else ''}"


def _acknowledged(body: ev.Acknowledged) -> str:
    return f"acknowledgement of {body.consumer} {'waived' if body.waived else 'recorded'}"


def _noted(body: ev.Noted) -> str:
    return " ".join([body.event, *(f"{name}={text}" for name, text in body.fields.items())])


_LINES: dict[type[ev.Body], Callable[[Any], str]] = {
    ev.Adopted: lambda body: f"version {body.number} adopted {body.how}",
    ev.Started: _started,
    ev.Minted: lambda _: "mint: made and sealed",
    ev.Sent: lambda body: f"{body.verb}: sent to {body.target} (attempt {short(body.attempt)})",
    ev.Answered: _answered,
    ev.SettledAs: lambda body: f"issue: found {body.outcome.replace('_', ' ')} by looking",
    ev.Reissuing: lambda body: f"issue: the value is gone, going on with version {body.number}",
    ev.Accepted: lambda body: f"verify: accepted at {body.endpoint}",
    ev.Proved: lambda body: f"prove: {body.verdict} at {body.endpoint}{f': {body.why}' if body.why else ''}",
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
    ev.Alerted: lambda body: f"alert sent: {body.text}",
    ev.Noted: _noted,
}
