"""Decisions about a person who sets the new version at the vendor: nothing is drained or shown before he attends. Pure.

A pair that was shown may be used at any time from then on (docs/adr/0016-a-person-at-the-console.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.actions import Action, Leave, LookAtSinks, Pause, Record
from keyturn.engine.decisions.approving import still_open
from keyturn.engine.decisions.gap import places_seen
from keyturn.engine.decisions.looks import SettleLook
from keyturn.engine.decisions.view import View, evidence, heard_of_it, or_without, probe
from keyturn.engine.plan import way_out
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import AttemptState, RotationState, SecretState
from keyturn.expiry import span
from keyturn.model import Mode, Settled, Verdict
from keyturn.steps import Step


def way_changed(view: View) -> Action | None:
    """Turn back where the configuration says now that somebody else sets the version than when the rotation began."""
    if view.attended in (None, view.traits.attended) or view.rotation.mode in (Mode.FIRST, Mode.ROLLBACK):
        return None
    who = "a person sets" if view.attended else "we set"
    text = f"the account was changed since the rotation began: {who} a new version at the vendor now"
    return Record(bodies=(ev.Undoing(code="way-changed", reason=text),))


def nobody_attends(view: View) -> Action | None:
    """Wait for a person before anything is drained, shown or sent; when patience is over, turn back."""
    if not view.rotation.by_person or view.attending:
        return None
    until = view.rotation.started_at + view.traits.patience_s
    if view.now >= until:
        text = f"nobody set version {view.to.number} at the vendor within {span(view.traits.patience_s)}"
        return Record(bodies=(ev.Undoing(code="nobody-attended", reason=text),))
    text = (
        f"version {view.to.number} is made and staged; a person has to set it at the vendor: "
        f"nothing is drained or shown before somebody attends{to_upload(view.state, view.rotation)}"
    )
    return Leave(step=Step.ISSUE, kind="person", until=until, text=text)


def to_upload(state: SecretState, rotation: RotationState) -> str:
    """Where a person finds what he resets by at the vendor; empty where he needs nothing."""
    names = rotation.frozen.traits.reset_by
    if rotation.mode is not Mode.BREAK_GLASS or not rotation.by_person or not names:
        return ""
    places = [sink.key for sink in rotation.plan.sinks if set(sink.fields.values()) & set(names)]
    if state.current and set(names) <= set(state.current.fingerprints):
        opened = f"keyturn escrow open {state.secret} --field {names[0]} --out FILE --reason TEXT"
        places.append(f"the escrow, which writes it as a file: {opened}")
    return f"; the {' and '.join(names)} to upload is kept in: {', or '.join(places) or 'no place of ours'}"


def current_in_force(view: View) -> Action | None:
    """What issue replaces must be in force *now*: somebody else may have replaced it since preflight.

    It also warms the connection. Not asked while an attempt is in doubt: then settle asks.
    """
    current = view.state.current
    replaces = view.traits.needs_current and view.rotation.mode is Mode.NORMAL and not view.rotation.forward_only
    if current is None or not replaces:
        return None
    asked = heard_of_it(view)
    look = probe(view, [(current.id, e) for e in asked], since=view.fresh_since)
    if look:
        return look
    verdicts = {e: view.looks.verdict(current.id, e, since=view.fresh_since) for e in asked}
    refusing = [e for e, verdict in verdicts.items() if verdict is Verdict.REFUSED]
    if refusing:
        text = f"version {current.number} is refused at {', '.join(refusing)}: somebody else replaced it"
        return Record(bodies=(ev.Undoing(code="current-refused", reason=text, hint=way_out(view.name, view.traits)),))
    silent = [e for e, verdict in verdicts.items() if verdict is not Verdict.ACCEPTED]
    text = f"{evidence(view, current, silent)}: version {current.number} is not known to be accepted, so it is kept"
    text += or_without(view, silent)
    return Leave(step=Step.ISSUE, kind="retry", text=text) if silent else None


def attended_until(view: View, doubt: Sequence[AttemptState]) -> float | None:
    """Until when this run watches a pair that it has shown itself (epoch s). None where it has shown none."""
    mine = [one for one in doubt if one.id in view.looks.shown]
    return mine[-1].sent_at + view.limits.attend_s if mine and view.attending else None


def shows_another(view: View, doubt: Sequence[AttemptState]) -> bool:
    """Whether a fresh pair is offered: the earlier ones were seen unused just now, and are kept nowhere."""
    look = view.looks.settle
    unused = look is not None and view.now < unused_until(view, doubt, look)
    asks = view.attending and view.rotation.by_person and not view.rotation.undoing
    return asks and unused and attended_until(view, doubt) is None


def usable_until(view: View, doubt: Sequence[AttemptState]) -> float:
    """How long a person who was shown something is waited for (epoch s), whatever the account says since. 0: none."""
    return max((one.sent_at + view.traits.patience_s for one in doubt if one.outcome == "waiting"), default=0.0)


def unused_until(view: View, doubt: Sequence[AttemptState], look: SettleLook) -> float:
    """Until when what this look found unused may be used while somebody is waited for (epoch s); 0 where it may not."""
    shown = view.rotation.by_person and look.outcome is Settled.NOT_APPLIED
    return max(look.waiting.until if look.waiting else 0.0, usable_until(view, doubt) if shown else 0.0)


def still_unused(view: View, doubt: Sequence[AttemptState], look: SettleLook, again_at: float) -> Action:
    """The old version is in force, and somebody can still act: watch while he attends, else leave."""
    usable = unused_until(view, doubt, look)
    until = min(attended_until(view, doubt) or 0.0, usable)
    if view.now < until:
        places = places_seen(view)
        if isinstance(places, LookAtSinks):
            return places  # the gap begins with a click, and then nothing is looked at first
        text = f"waiting for you (Ctrl-C gives up without harm) to set version {view.to.number} at the vendor"
        return Pause(step=Step.ISSUE, until=min(again_at, until), at_most=until, text=text)
    if not view.rotation.by_person:
        return still_open(view, look, usable)
    return Leave(step=Step.ISSUE, kind="person", text=_unused(view), until=usable)


def _unused(view: View) -> str:
    """What is true of a pair that was shown and not used so far, in every way out."""
    text = (
        f"what sets version {view.to.number} was shown and has not been used so far; it counts as in effect from the "
        "moment it was offered"
    )
    if view.rotation.undoing:
        patience = span(view.traits.patience_s)
        return (
            f"the rotation turns back, but {text}, so it is looked for until {patience} are over "
            f"(keyturn rotate {view.name} begins anew without waiting for that)"
        )
    return f"{text}: do not use it later, since whoever attends is shown it afresh"
