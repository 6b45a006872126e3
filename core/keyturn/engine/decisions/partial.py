"""Partial worlds: in place, behind several endpoints that hear of a change each at its own time. Pure.

At one endpoint it is always the old version or the new one. Consumers of the first that changed are down until publish,
so nobody waits for the others: one where new is accepted and old refused is enough, and the rest is owed (`verify`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyturn.engine.decisions.actions import Action, Leave, LookAtVendor, Pause, ProbeNow, Stop
from keyturn.engine.decisions.view import View, probe, way_back
from keyturn.engine.plan import somebody_elses
from keyturn.engine.record.state import VersionState
from keyturn.model import Verdict
from keyturn.steps import Step

SILENT_SHARE = 4
"""Those who were silent are asked again after this many times as long as they may take: others hardly wait for them."""

Pair = tuple[str, str]
"""A version id (or DECOY) and an endpoint."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one endpoint says now of the new version, and of the earlier ones; `text` names it, with its evidence."""

    endpoint: str
    new: Verdict | None
    old: Verdict | None
    text: str

    @property
    def behind(self) -> bool:
        """Whether it has not heard of the change."""
        return self.new is Verdict.REFUSED and self.old is Verdict.ACCEPTED

    @property
    def neither(self) -> bool:
        """Whether it takes somebody else's secret, as far as we can tell."""
        return self.new is Verdict.REFUSED and self.old is Verdict.REFUSED


def in_place(view: View) -> bool:
    """Whether endpoints hear of the change one by one, and only asking shows which has."""
    ends = view.traits.dies_by_issue and not view.traits.answer_is_commit
    return ends and view.rotation.previous is not None


def synchronised_by(view: View) -> float:
    """Until when an endpoint may still have to hear of the new version (epoch s)."""
    return (view.rotation.issued_at or view.rotation.started_at) + view.traits.activation_s


def enough(view: View) -> bool:
    """Whether one endpoint shows now that the change has reached it. One that accepts both (a cache) shows nothing."""
    return any(_changed(view, endpoint) for endpoint in view.endpoints)


def _changed(view: View, endpoint: str) -> bool:
    old = view.rotation.previous or ""
    new = view.looks.verdict(view.to.id, endpoint, since=view.fresh_since)
    refused = view.looks.verdict(old, endpoint, since=view.fresh_since) is Verdict.REFUSED
    # An old one whose value nobody knows can not be asked for; nor is it in use.
    return new is Verdict.ACCEPTED and (refused or old in view.looks.valueless)


def synchronise(view: View, waiting: Sequence[str], *, at_most: float, every_s: float) -> Action:
    """Ask until one endpoint has changed; the old version is asked for wherever the new one is accepted.

    `waiting` did not accept yet. At `at_most` (epoch s) everybody is asked once more, and the answers count.
    """
    spent = any(view.looks.probe_counts.get((view.to.id, e), 0) >= view.traits.probes_max for e in waiting)
    over = view.now >= at_most or spent
    if over:
        last = None if spent else probe(view, [(view.to.id, e) for e in view.endpoints], since=at_most)
        return last or unsynchronised(view, Step.VERIFY, view.endpoints)
    look = asked(view, _open_questions(view, waiting), every_s)
    text = f"waiting for {', '.join(waiting)} to accept version {view.to.number}"
    until = min(view.now + view.limits.poll_s, at_most)
    # Consumers are down: however long it takes, it is not left to a later run.
    return look or Pause(
        step=Step.VERIFY, until=until, at_most=min(at_most, view.now + view.limits.patience_s), text=text
    )


def _open_questions(view: View, waiting: Sequence[str]) -> list[Pair]:
    """The new version where it was not accepted in this run, the old one where it was."""
    old, new = view.rotation.previous or "", view.to.id
    accepting = [e for e in view.endpoints if e not in waiting]
    known = [e for e in accepting if view.looks.verdict(new, e, since=view.fresh_since) is Verdict.ACCEPTED]
    return [*((new, e) for e in view.endpoints if e not in known), *((old, e) for e in known)]


def asked(view: View, pairs: Iterable[Pair], every_s: float) -> ProbeNow | None:
    """The questions whose turn it is; None when none is due.

    A question that hangs holds up all that are asked with it. So nobody is given long; those who were silent are asked
    apart, seldom, and longer each time.
    """
    todo = list(pairs)
    silent = [pair for pair in todo if _verdict(view, pair) is Verdict.UNKNOWN]
    prompt = [pair for pair in todo if pair not in silent]
    due = [pair for pair in prompt if _due(view, pair, every_s)]
    if due:
        return ProbeNow(pairs=tuple(due), within_s=_within_s(view, 1))
    within_s = _within_s(view, max((view.looks.probe_counts.get(pair, 0) for pair in silent), default=1))
    seldom_s = min(SILENT_SHARE * within_s, view.limits.looks_fresh_s / 2)
    late = [pair for pair in silent if _due(view, pair, max(every_s, seldom_s) if prompt else every_s)]
    return ProbeNow(pairs=tuple(late), within_s=within_s) if late else None


def _within_s(view: View, times: int) -> float:
    return min(view.limits.probe_s, view.limits.gap_probe_s * max(times, 1))


def _verdict(view: View, pair: Pair) -> Verdict | None:
    return view.looks.verdict(*pair, since=0.0)


def _due(view: View, pair: Pair, every_s: float) -> bool:
    look = view.looks.probes.get(pair)
    return look is None or look.at + every_s <= view.now


def earlier(view: View, endpoint: str) -> tuple[VersionState, ...]:
    """Versions of ours, oldest first, that this endpoint may still take, and whose value is known."""
    olds = [v for v in view.state.versions.values() if v.published and v.id != view.to.id]
    return tuple(v for v in olds if v.id not in view.looks.valueless and v.unproven_at([endpoint]))


def heard(view: View, endpoint: str) -> Heard:
    """What it says now, in words too."""
    new = view.looks.verdict(view.to.id, endpoint, since=view.fresh_since)
    olds = [(v, view.looks.verdict(v.id, endpoint, since=view.fresh_since)) for v in earlier(view, endpoint)]
    takes = [(v, verdict) for v, verdict in olds if verdict is Verdict.ACCEPTED]
    refuses = all(verdict is Verdict.REFUSED for _, verdict in olds)
    old = Verdict.ACCEPTED if takes else Verdict.REFUSED if refuses else Verdict.UNKNOWN
    told = takes or (olds if new is Verdict.REFUSED else [])
    parts = [_said(view, view.to, endpoint, new)]
    parts += [f"{'still ' if takes else ''}{_said(view, v, endpoint, verdict)}" for v, verdict in told]
    return Heard(endpoint=endpoint, new=new, old=old, text=f"{endpoint} {' and '.join(parts)}")


def _said(view: View, version: VersionState, endpoint: str, verdict: Verdict | None) -> str:
    look = view.looks.probes.get((version.id, endpoint))
    verb = {Verdict.ACCEPTED: "accepts", Verdict.REFUSED: "refuses"}.get(verdict or Verdict.UNKNOWN, "does not say of")
    return f"{verb} version {version.number} ({look.evidence if look else 'not asked'})"


def unsynchronised(view: View, step: Step, endpoints: Sequence[str]) -> Action:
    """What is to be done about endpoints that are not known to have changed: asked first, all of them are named.

    Who takes neither version is given somebody else's. Who is behind when the time is over stays so until a person
    sees to it. Who says nothing may be there again in the next run.
    """
    look = probe(view, [(v.id, e) for e in endpoints for v in earlier(view, e)], since=view.fresh_since)
    if look:
        return look
    said = [heard(view, endpoint) for endpoint in endpoints]
    behind = [one for one in said if one.behind]
    if any(one.neither for one in said):
        return _look_anew(view) or _refused(view, step, said)
    text = "; ".join(one.text for one in said)
    if not behind or view.now < synchronised_by(view):
        return Leave(step=step, kind="retry", text=text)
    return _look_anew(view) or Stop(
        step=step,
        code="not-synchronised",
        reason=f"not synchronised: {text}{_vendor_says(view)}",
        next=f"have {', '.join(one.endpoint for one in behind)} synchronised at the vendor "
        f"(in a portal: its Deployments tab); then: keyturn resume {view.name}",
    )


def _look_anew(view: View) -> LookAtVendor | None:
    """The vendor may know by now who changed it, or why an endpoint does not hear of it."""
    since = max(view.fresh_since, view.rotation.issued_at or 0.0)
    return LookAtVendor() if view.looks.vendor is None or view.looks.vendor.at < since else None


def _refused(view: View, step: Step, said: Sequence[Heard]) -> Stop:
    refusing = [one.endpoint for one in said if one.new is Verdict.REFUSED]
    text = "; ".join(one.text for one in said)
    again = f"make it accepted again at the vendor, then: keyturn resume {view.name}"
    return Stop(
        step=step,
        code="new-refused",
        reason=f"the vendor answered issue, but version {view.to.number} is refused at {', '.join(refusing)}: {text}"
        f"{_vendor_says(view)}",
        next=way_back(view, f"{again}; where somebody else changed it: {somebody_elses(view.name, view.traits)}"),
    )


def _vendor_says(view: View) -> str:
    vendor = view.looks.vendor
    if vendor is None:
        return ""
    whose = ["the vendor shows a value that is none of ours: somebody else changed it"] if vendor.foreign else []
    said = [f"the vendor says: {problem.text}" for problem in vendor.problems]
    return "".join(f"; {text}" for text in (*whose, *said))


def outstanding(view: View) -> Action | None:
    """Have the rest accept the version that is published; None where all do."""
    missing = [endpoint for endpoint in view.endpoints if endpoint not in view.to.accepted]
    if view.traits.coexist or not missing or view.to.id != view.rotation.to:
        return None
    look = probe(view, [(view.to.id, endpoint) for endpoint in missing], since=view.now - view.limits.poll_s)
    if look:
        return look
    if view.now < synchronised_by(view):
        text = f"waiting for {', '.join(missing)} to accept version {view.to.number}"
        until = view.now + view.limits.poll_s
        return Pause(step=Step.PROVE, until=until, at_most=synchronised_by(view), text=text)
    return unsynchronised(view, Step.PROVE, missing)
