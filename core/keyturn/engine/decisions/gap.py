"""What keeps the gap of a cut-over short: all that can be looked at is looked at before issue is sent. Pure.

Between an issue that ends the old version and the last promote consumers have nothing valid (ADR 0018).
"""

from __future__ import annotations

from keyturn.engine.decisions.actions import Action, Leave, LookAtSinks, Record
from keyturn.engine.decisions.publishing import promotable
from keyturn.engine.decisions.view import View
from keyturn.engine.record import events as ev
from keyturn.steps import Step


def places_seen(view: View) -> Action | None:
    """Every place of the new version was looked at just now, and would take it; else issue is not sent.

    Seen at most half as long ago as a look may be old, so that the promote after issue can go by the same look.
    """
    if not view.traits.dies_by_issue:
        return None
    keys = [sink.key for sink in view.plan.sinks if not sink.artefact]
    since = view.now - view.limits.looks_fresh_s / 2
    stale = tuple(key for key in keys if key not in view.looks.sinks or view.looks.sinks[key].at < since)
    if stale:
        return LookAtSinks(keys=stale)
    return None if view.rotation.forward_only else _closed(view)


def _closed(view: View) -> Action | None:
    """A place that would not take the new version now: the old one is not ended for that."""
    for sink in view.plan.sinks:
        look = view.looks.sinks.get(sink.key)
        why = None if sink.artefact or look is None else promotable(view, sink, look)
        if look and why and look.error:
            return Leave(step=Step.ISSUE, kind="retry", text=f"issue is not sent while {sink.key} {why}")
        if why:
            return Record(bodies=(ev.Undoing(code="sink-foreign", reason=f"{sink.key} {why}"),))
    return None
