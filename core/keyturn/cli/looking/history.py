"""`keyturn history`: one readable line for each event of one secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.cli.app import Report
from keyturn.cli.estate import Estate
from keyturn.cli.progress import said
from keyturn.clock import iso
from keyturn.config.problems import suggestion
from keyturn.engine.record import events as ev
from keyturn.errors import UsageError
from keyturn.journal.store import Event


def report(estate: Estate, name: str, limit: int | None) -> Report:
    """The answer of `keyturn history`. Raises UsageError for a name that is neither configured nor journaled."""
    known = {*estate.names(), *estate.summaries()}
    if name not in known:
        raise UsageError("no-match", f"{name} is no secret", hint=suggestion(name, known))
    events = estate.journal.events(name)
    shown = events[-limit:] if limit else events
    left_out = len(events) - len(shown)
    lines = [f"({left_out} earlier events; --limit shows more)"] if left_out else []
    numbers = {event.data["version"]: event.data["number"] for event in events if "number" in event.data}
    lines += [_line(event, numbers) for event in shown]
    return Report(
        data={"secret": name, "left_out": left_out, "events": [as_data(event) for event in shown]},
        text="\n".join(lines) or f"{name}: nothing has happened yet",
    )


def _line(event: Event, numbers: Mapping[str, int]) -> str:
    body = ev.body(event)
    what = f"version {numbers.get(body.version)}: {body.move}" if isinstance(body, ev.Moved) else said(body)
    return f"{iso(event.at)}  {what or event.type}  (by {event.operator})"


def as_data(event: Event) -> dict[str, Any]:
    """One event as one JSON object, hash included: never a value."""
    names = ("secret", "seq", "type", "rotation_id", "runner", "operator", "prev", "hash")
    return {**{name: getattr(event, name) for name in names}, "at": iso(event.at), "data": dict(event.data)}
