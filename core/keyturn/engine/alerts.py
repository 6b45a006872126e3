"""Alerts: what a person should look at, told once each to whoever is on call. Never a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from keyturn.clock import iso
from keyturn.config.model import AlertSettings
from keyturn.engine.bench import Bench
from keyturn.engine.effects.driver import Driver
from keyturn.engine.effects.leases import holding
from keyturn.engine.job import Job
from keyturn.engine.record import events as ev
from keyturn.engine.record.receipt import artefact_next
from keyturn.errors import HeldElsewhereError, PluginError, Refused
from keyturn.journal.store import Summary
from keyturn.process import run
from keyturn.schedule import Due, DueStatus

HANDED_IN_S = 3600.0
"""How long after a version was set an artefact that a person is asked for may take to be handed in."""

UNHEARD_S = 3600.0
"""How long an endpoint may owe that it accepts what is published before somebody is told."""

ARTEFACT = "artefact"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to look at. `key` names this very occurrence; `attention`: the exit code says so too.

    `code` is that of the problem, where it is one.
    """

    key: str
    what: str
    text: str
    next: str
    attention: bool = True
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One secret after a round: its summary row, where it stands in its schedule, and the time (epoch s).

    `begin` is what to type while it has no current version.
    """

    name: str
    row: Summary | None
    due: Due
    now: float
    begin: str

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a person should look at."""
        return alerts_due(self)


def alerts_due(one: Standing) -> tuple[Finding, ...]:
    """What a person should look at: stuck, refused, held, unheard, lacking, unmanaged, short, late or paused. Pure."""
    name, row, due, now = one.name, one.row, one.due, one.now
    found = [
        _stuck(row),
        *_problems(row),
        _leaked(name, row),
        _gap(name, row),
        _hold_max(name, row, now),
        _unheard(name, row, now),
        _artefact(name, row, now),
        _unmanaged(row, one.begin),
        _short(name, row, due, now),
        _late(name, row, due, now),
    ]
    return tuple(finding for finding in found if finding)


def _stuck(row: Summary | None) -> Finding | None:
    rotation = row.state.get("rotation") if row else None
    if row is None or rotation is None or row.status != "stuck":
        return None
    stuck = rotation["stuck"]
    return Finding(
        key=f"stuck:{rotation['id']}:{stuck['code']}",
        what="stuck",
        text=f"stuck: {stuck['reason']}",
        next=stuck["next"],
        attention=False,  # its outcome has the exit code already
    )


def _problems(row: Summary | None) -> Iterator[Finding]:
    """What the last look found that refuses a rotation: told once each time that it comes up."""
    state = row.state if row else {}
    for problem in state.get("problems", []):
        if problem["fatal"]:
            yield Finding(
                key=f"problem:{problem['code']}:{problem['since']:.0f}",
                what="problem",
                text=f"{problem['text']} [{problem['code']}], seen {iso(state['checked_at'])}",
                next=problem["hint"],
                code=problem["code"],
            )


def _leaked(name: str, row: Summary | None) -> Finding | None:
    """A compromised version that the vendor goes on accepting: rotating has not stopped whoever has it."""
    rotation = row.state.get("rotation") if row else None
    if row is None or not rotation or not rotation.get("compromised"):
        return None
    replaced = [version for version in row.state["versions"] if version["id"] != rotation["to"]]
    alive = [v for v in replaced if any(one["verdict"] == "accepted" for one in v.get("observed", ()))]
    if not alive:
        return None
    numbers = ", ".join(str(version["number"]) for version in alive)
    return Finding(
        key=f"leaked:{rotation['id']}",
        what="leaked",
        text=f"compromised, and still accepted by the vendor when last asked: version {numbers}",
        next=f"have the vendor end it; keyturn status {name} shows how long it may live",
    )


def _hold_max(name: str, row: Summary | None, now: float) -> Finding | None:
    rotation = row.state.get("rotation") if row else None
    if not rotation or not rotation["open"] or None in (rotation["published_at"], rotation["hold_max_s"]):
        return None
    until = rotation["published_at"] + rotation["hold_max_s"]
    if now < until:
        return None
    missing = ", ".join((rotation["waiting"] or {}).get("missing", ())) or "nobody"
    return Finding(
        key=f"hold-max:{rotation['id']}",
        what="hold-max",
        text=f"old and new have both served since before hold_max ended at {iso(until)}; missing: {missing}",
        next=f"keyturn status {name}",
        attention=False,
    )


def _unheard(name: str, row: Summary | None, now: float) -> Finding | None:
    """Where the new version is not known to be accepted: consumers there may be refused, and may be when it returns."""
    rotation = row.state.get("rotation") if row else None
    owing = [debt["where"] for debt in row.state.get("debts", ()) if debt["kind"] == "verify"] if row else []
    if row is None or rotation is None or row.status == "stuck" or not owing or rotation["published_at"] is None:
        return None
    if now < rotation["published_at"] + UNHEARD_S:
        return None
    since = iso(rotation["published_at"])
    return Finding(
        key=f"unheard:{rotation['id']}",
        what="unheard",
        text=f"published {since}, and not known to be accepted since then at {', '.join(owing)}",
        next=f"keyturn status {name}; once it answers: keyturn resume {name}; where it is gone for good: "
        f"keyturn resume {name} --drop {owing[0]} --reason TEXT",
        attention=False,  # its outcome has the exit code already
    )


def _gap(name: str, row: Summary | None) -> Finding | None:
    """The old version was ended, or may have been, and no run has published the new one yet."""
    rotation = row.state.get("rotation") if row else None
    since = rotation.get("gap_since") if rotation else None
    if row is None or rotation is None or since is None or row.status == "stuck":
        return None
    waiting = rotation["waiting"]
    why = f": {waiting['text']}" if waiting else ""
    return Finding(
        key=f"gap:{rotation['id']}",
        what="gap",
        text=f"consumers may have had nothing valid since {iso(since)}{why}",
        next=f"keyturn resume {name}",
        attention=False,  # its outcome has the exit code already
    )


def _artefact(name: str, row: Summary | None, now: float) -> Finding | None:
    """An artefact never reached us. Once for each version; whoever sets it at the vendor has an hour to hand it in."""
    current = next((v for v in row.state["versions"] if v["state"] == "current"), None) if row else None
    lacks = current.get("lacks", ()) if current else ()
    waiting = (row.state.get("rotation") or {}).get("waiting") if row else None
    asked = bool(waiting and waiting["wants"]) and current is not None and now < current["since"] + HANDED_IN_S
    if current is None or not lacks or asked:
        return None
    return Finding(
        key=f"artefact:{current['id']}",
        what=ARTEFACT,
        text=f"version {current['number']} has no {' and no '.join(lacks)}, and older ones are void: without it the "
        "secret can not be recovered once it is lost. It is not rotated for that before it is due",
        next=artefact_next(name, lacks[0]),
    )


def _unmanaged(row: Summary | None, begin: str) -> Finding | None:
    if row is not None and row.status != "unmanaged":
        return None
    return Finding(
        key="unmanaged",
        what="unmanaged",
        text="unmanaged: there is no current version yet",
        next=begin,
    )


def _short(name: str, row: Summary | None, due: Due, now: float) -> Finding | None:
    """Granted less than the vendor should. Once for each version, also where that leaves it expired later."""
    if due.short is None:
        return None
    renewed = f"renewed {iso(due.at)}" if due.at is not None else "nothing renews it"
    then = "held, since the next one may be as short" if due.short.held else renewed
    return Finding(
        key=f"short-validity:{_current(row)}",
        what="short-validity",
        text=f"short validity: {due.short.said(now)}; {then}",
        next=f"have the vendor grant more, then: keyturn rotate {name} --force --reason TEXT",
    )


def _current(row: Summary | None) -> str:
    versions = row.state.get("versions", []) if row else []
    return next((v["id"] for v in versions if v["state"] == "current"), "")


def _late(name: str, row: Summary | None, due: Due, now: float) -> Finding | None:
    """Due and not done. What is held because it is short has been told as that."""
    if due.short and due.short.held:
        return None
    current = _current(row)
    paused = row.state.get("paused_until", 0.0) if row else 0.0
    if paused > now and due.status in (DueStatus.DUE, DueStatus.OVERDUE):
        text = f"paused until {iso(paused)}, although due: {due.why}"
        return Finding(key=f"paused:{current}", what="paused", text=text, next=f"keyturn pause {name} --end")
    if due.status is DueStatus.OVERDUE:
        text = f"overdue: {due.why}"
        return Finding(key=f"overdue:{current}", what="overdue", text=text, next=f"keyturn rotate {name}")
    return None


def send_alerts(
    bench: Bench, targets: Iterable[AlertSettings], jobs: Mapping[str, Job], standings: Iterable[Standing]
) -> list[str]:
    """Send what was not sent yet, and journal it: at least once each. What could not be delivered comes back."""
    listed = list(targets)
    return [trouble for one in standings if listed for trouble in _send(bench, listed, jobs[one.name], one)]


def _send(bench: Bench, targets: list[AlertSettings], job: Job, standing: Standing) -> Iterator[str]:
    try:
        with holding(bench, job.name) as held:
            driver = Driver(bench, job, held)
            for finding in standing.findings:
                for target in targets:
                    yield from _send_once(driver, target, finding)
    except HeldElsewhereError:
        return  # whoever works on it now, or the next run, sends it


def _send_once(driver: Driver, target: AlertSettings, finding: Finding) -> Iterator[str]:
    where = target.exec[0] if target.exec else urlsplit(target.url or "").hostname or ""
    key = f"{finding.key}@{where}"
    if key in driver.state.alerts:
        return
    try:
        _deliver(target, _facts(driver, finding), driver.bench.limits.notify_s)
    except PluginError as error:
        yield f"{driver.job.name}: {error.why}"
    else:
        driver.append(ev.Alerted(key=key, text=finding.text))


def _facts(driver: Driver, finding: Finding) -> dict[str, str]:
    """What is told. The chain's head leaves the machine with it, so that a shortened journal shows."""
    seq, head = driver.bench.journal.heads().get(driver.job.name, (0, ""))
    return {
        "event": "alert",
        "secret": driver.job.name,
        "what": finding.what,
        "text": finding.text,
        "next": finding.next,
        "at": iso(driver.now()),
        "head": f"{seq}:{head}",
    }


def _deliver(target: AlertSettings, facts: Mapping[str, str], timeout_s: float) -> None:
    """Tell one place. Raises NotSent, Refused or Doubt."""
    if target.exec:
        env = {f"KEYTURN_{name.upper()}": text for name, text in facts.items()}
        finished = run(target.exec, env=env, timeout_s=timeout_s)
        if finished.code != 0:
            raise Refused(f"{target.exec[0]} ended with exit code {finished.code}", code="alert-exit")
    elif target.url:
        _post(target.url, facts, timeout_s)


def _post(url: str, facts: Mapping[str, str], timeout_s: float) -> None:
    host = urlsplit(url).hostname
    try:
        answer = httpx.post(url, json=dict(facts), timeout=timeout_s, trust_env=False, follow_redirects=False)
    except httpx.HTTPError as error:
        raise Refused(f"{host} did not take it: {type(error).__name__}", code="unreachable") from error
    if not answer.is_success:
        raise Refused(f"{host} answered {answer.status_code}", code=f"http-{answer.status_code}")
