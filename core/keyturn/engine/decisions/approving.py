"""Decisions about an issue that the vendor took as a request: somebody there approves or rejects it. Pure.

Nothing has happened before the approval, so nobody is kept drained for it, and it is sent once: who was rejected asks
again only when a person says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from keyturn.engine.decisions.actions import Leave, Stop
from keyturn.engine.decisions.looks import SettleLook
from keyturn.engine.decisions.view import View
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import AttemptState
from keyturn.model import Settled
from keyturn.steps import Step


def requested(view: View, doubt: Sequence[AttemptState]) -> bool:
    """Whether what is in doubt is nothing but a request that was seen open at the vendor."""
    return bool(doubt) and not view.rotation.by_person and all(one.outcome == "waiting" for one in doubt)


def still_open(view: View, look: SettleLook, until: float) -> Leave:
    """Somebody at the vendor has to decide; each run looks again."""
    waiting = look.waiting
    text, wants = (waiting.text, waiting.wants) if waiting else ("", ())
    if view.rotation.undoing:
        text = (
            "the rotation turns back, but what it asked for may still be approved at the vendor, so it is looked for "
            f"until it is rejected there: {text}"
        )
    return Leave(step=Step.ISSUE, kind="vendor", text=text, until=until, wants=wants)


def decided_at(view: View, doubt: Sequence[AttemptState], look: SettleLook) -> float:
    """When a look that finds the request open no more counts (epoch s); 0 where it is open, or was no request.

    It may have been approved just now, and take effect a moment later.
    """
    closed = look.outcome is Settled.NOT_APPLIED and look.waiting is None
    return look.since + view.traits.settle_s if closed and requested(view, doubt) else 0.0


def turned_down(view: View, doubt: Sequence[AttemptState], look: SettleLook) -> tuple[ev.Body, ...]:
    """How the rotation turns back, where its request was rejected, or nobody decided in time. Empty: it was no request.

    Where an earlier issue ended the old version there is nothing to turn back to: see `not_approved`.
    """
    undoing = view.rotation.undoing
    if look.outcome is not Settled.NOT_APPLIED or not requested(view, doubt) or view.rotation.forward_only:
        return ()
    reason, hint = _why(view, look), _first(look)
    if undoing is None:
        return (ev.Undoing(code=ev.NOT_APPROVED, reason=reason, hint=hint),)
    return (ev.Undoing(code=undoing.code, reason=f"{undoing.reason}; {reason}", hint=hint),) if look.waiting else ()


def _why(view: View, look: SettleLook) -> str:
    if look.waiting:
        return (
            f"nobody approved version {view.to.number} at the vendor in time; the request is still open there, and may "
            f"take effect late: {look.waiting.text}"
        )
    return look.note or f"the vendor has no request for version {view.to.number} any more, and did not carry it out"


def _first(look: SettleLook) -> str:
    """What to do before another one is asked for."""
    return "have the open request rejected at the vendor" if look.waiting else "agree on it with whoever rejected it"


def not_approved(view: View, last: AttemptState | None) -> Stop | None:
    """Stuck, where the old version was ended and the request for another was rejected. None: ask, or ask again.

    Only who was told of that asks again: no schedule does.
    """
    if last is None or not view.rotation.forward_only or not requested(view, (last,)):
        return None
    stuck, look = view.rotation.stuck, view.looks.settle
    told = stuck is not None and stuck.code == ev.NOT_APPROVED
    if told and not view.scheduled:
        return None
    said = f": {_why(view, look)}" if look else ""
    reason = f"the vendor ended the old version, its new value never reached us, and another was not approved{said}"
    return Stop(
        step=Step.ISSUE,
        code=ev.NOT_APPROVED,
        reason=stuck.reason if stuck and told else reason,
        next=f"see that it will be approved at the vendor, then: keyturn resume {view.name}, which asks again",
    )
