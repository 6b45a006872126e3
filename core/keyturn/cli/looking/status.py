"""`keyturn status`: what is true of each secret, from its summary row and the configuration; history is not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import floor
from typing import Any

from keyturn.cli.app import Report
from keyturn.cli.cut_over import cut_over
from keyturn.cli.estate import Estate
from keyturn.cli.looking.places import Place, places
from keyturn.clock import iso
from keyturn.config import ManagedSecret
from keyturn.engine.plan import beginning
from keyturn.engine.record.receipt import artefact_next
from keyturn.engine.rounds import due_of
from keyturn.expiry import left, span
from keyturn.journal.store import Summary
from keyturn.schedule import Due, DueStatus
from keyturn.steps import Step

STUCK = frozenset({"stuck", "misconfigured"})
ATTENTION = 8
STUCK_EXIT = 5
IN_FLIGHT = frozenset({"stuck", "holding", "waiting", "unfinished", "rotating"})


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One secret at `now`. `status` is one word, `attention` what `--fail-on` can ask for; times are epoch seconds."""

    secret: str
    provider: str | None
    status: str
    next: str
    state: Mapping[str, Any]
    now: float
    places: tuple[Place, ...] = ()
    missing: tuple[str, ...] = ()
    due: Due | None = None
    paused_until: float | None = None
    problems: tuple[str, ...] = ()
    attention: frozenset[str] = field(default=frozenset())

    @property
    def current(self) -> Mapping[str, Any] | None:
        """The version that consumers are meant to read."""
        return next((v for v in self.state.get("versions", ()) if v["state"] == "current"), None)

    @property
    def expired(self) -> bool:
        """Whether the current version is past its expiry."""
        return bool(self.current and _expired(self.current, self.now))

    @property
    def rotation(self) -> Mapping[str, Any] | None:
        """The latest rotation."""
        return self.state.get("rotation")

    @property
    def valid(self) -> list[Mapping[str, Any]]:
        """The versions that the vendor may accept now, the current one first."""
        live = [v for v in self.state.get("versions", ()) if not v["refused"]]
        return sorted(live, key=lambda v: (v["state"] != "current", -v["number"]))

    @property
    def debts(self) -> list[Mapping[str, Any]]:
        """What an ended rotation still owes; in flight the same are its next steps."""
        return [] if self.rotation and self.rotation["open"] else list(self.state.get("debts", ()))

    @property
    def waiting(self) -> Mapping[str, Any] | None:
        """What the rotation waits for."""
        return self.rotation["waiting"] if self.rotation else None

    @property
    def seen(self) -> list[Mapping[str, Any]]:
        """What the last recorded look found: code, text, hint and whether it refuses a rotation."""
        return list(self.state.get("problems", ()))

    @property
    def stuck(self) -> Mapping[str, Any] | None:
        """Why a person must act."""
        return self.rotation["stuck"] if self.rotation else None


def report(estate: Estate, globs: Sequence[str], fail_on: frozenset[str]) -> Report:
    """The answer of `keyturn status`. Raises UsageError for a glob that matches nothing."""
    rows = estate.summaries()
    now = estate.journal.now()
    standings = [standing(estate, name, rows, now) for name in chosen(estate, globs, rows)]
    return Report(
        data={"at": iso(now), "secrets": [as_data(one) for one in standings]},
        text=text(standings),
        exit_code=exit_code(standings, fail_on),
    )


def chosen(estate: Estate, globs: Sequence[str], rows: Mapping[str, Summary]) -> list[str]:
    """The configured secrets that match, and those left in flight that the configuration no longer names."""
    configured = set(estate.names())
    lost = [name for name, row in rows.items() if _in_flight(row) and name not in configured]
    known = sorted({*configured, *lost})
    estate.names(glob for glob in globs if not any(fnmatchcase(name, glob) for name in lost))
    return [name for name in known if not globs or any(fnmatchcase(name, glob) for glob in globs)]


def _in_flight(row: Summary) -> bool:
    rotation = row.state.get("rotation")
    return bool(rotation and rotation["open"])


def standing(estate: Estate, name: str, rows: Mapping[str, Summary], now: float) -> Standing:
    """What is true of one secret."""
    row = rows.get(name)
    problems = tuple(str(problem) for problem in estate.configuration.broken.get(name, ()))
    secret = estate.configuration.secrets.get(name)
    if secret is None and not problems and row is not None:
        return _unconfigured(row, now)
    when = due_of(secret, estate.traits(secret), rows, now) if secret else None
    begin = beginning(name, estate.traits(secret), secret.sinks[0].sink).partition(", or ")[0] if secret else ""
    return judge(name, row, secret, when, now, problems, begin)


def judge(
    name: str,
    row: Summary | None,
    secret: ManagedSecret | None,
    when: Due | None,
    now: float,
    problems: tuple[str, ...] = (),
    begin: str = "",
) -> Standing:
    """What is true of one configured secret; `begin` is what to type while it has no current version. Pure."""
    state: Mapping[str, Any] = row.state if row else {}
    status = "misconfigured" if problems else row.status if row else "unmanaged"
    until = state.get("paused_until") or 0.0
    return Standing(
        secret=name,
        provider=secret.provider if secret else None,
        status=status,
        next=begin if status == "unmanaged" else _next(name, status, state, when, paused=until > now),
        state=state,
        now=now,
        places=places(state, secret),
        missing=_missing(state),
        due=when,
        paused_until=until if until > now else None,
        problems=problems,
        attention=_attention(status, state, when, paused=until > now),
    )


def _unconfigured(row: Summary, now: float) -> Standing:
    """In flight, but no longer configured: nothing can be done to it before it is configured again."""
    return Standing(
        secret=row.secret,
        provider=None,
        status="stuck",
        next=f"put {row.secret} back into the configuration, then: keyturn abandon {row.secret} --reason TEXT",
        state=row.state,
        now=now,
        missing=_missing(row.state),
        problems=("a rotation is in flight, and the configuration no longer names this secret",),
        attention=frozenset({"stuck"}),
    )


def _attention(status: str, state: Mapping[str, Any], when: Due | None, *, paused: bool) -> frozenset[str]:
    found = {"stuck"} if status in STUCK else {status} & {"unmanaged"}
    found |= {"artefact" for one in state.get("debts", ()) if one["kind"] == "artefact"}
    found |= {"problem" for one in state.get("problems", ()) if one["fatal"]}
    if when and when.status in (DueStatus.DUE, DueStatus.OVERDUE):
        found.add(when.status.value)
    return frozenset({*found, "paused"} if paused else found)


def _missing(state: Mapping[str, Any]) -> tuple[str, ...]:
    """Consumers that did not acknowledge yet; those that did since the last run are left out."""
    rotation = state.get("rotation")
    if not rotation or not rotation["open"]:
        return ()
    waiting = rotation["waiting"]
    held = rotation["published_at"] and any(v["state"] == "previous" and not v["refused"] for v in state["versions"])
    wanted = waiting["missing"] if waiting else rotation["required"] if held else ()
    return tuple(name for name in wanted if name not in state["acks"])


def _next(name: str, status: str, state: Mapping[str, Any], when: Due | None, *, paused: bool) -> str:
    """The exact command to type; empty where there is nothing to do."""
    rotation = state.get("rotation")
    if status == "misconfigured":
        return f"keyturn check {name}"
    if rotation and status in IN_FLIGHT:
        return _next_in_flight(name, status, state)
    lost = [one["where"] for one in state.get("debts", ()) if one["kind"] == "artefact"]
    payable = status == "debts" and len(lost) < len(state["debts"])
    refusing = next((one for one in state.get("problems", ()) if one["fatal"] and one["hint"]), None)
    if refusing and not payable:
        return str(refusing["hint"])
    if paused and when and when.ready and not payable:
        return f"keyturn pause {name} --end"
    if (when and when.ready) or payable:
        return f"keyturn run {name}"
    return artefact_next(name, lost[0]) if lost else _next_overdue(name, when)


def _next_overdue(name: str, when: Due | None) -> str:
    """What a person does where no run will: what expires is not renewed, or waits for a window that comes too late."""
    if when is None or when.status is not DueStatus.OVERDUE:
        return ""
    if when.short and when.short.held:
        return f"keyturn rotate {name} --force --reason TEXT"
    return f"keyturn rotate {name}"


def _next_in_flight(name: str, status: str, state: Mapping[str, Any]) -> str:
    rotation, missing = state["rotation"], _missing(state)
    if status == "stuck":
        return str(rotation["stuck"]["next"])
    if missing:
        number = next(v["number"] for v in state["versions"] if v["id"] == rotation["to"])
        return f"keyturn ack {name} --version {number} --consumer {missing[0]}"
    if status == "holding" or (status == "rotating" and rotation["published_at"]):
        return f"keyturn run {name}"
    waiting = rotation["waiting"] or {"kind": "", "step": "", "wants": ()}
    by_person = waiting["kind"] == "person" and waiting["step"] == Step.ISSUE and not waiting["wants"]
    if by_person and not rotation.get("undoing"):
        return f"keyturn resume {name} --attend"
    wants = waiting["wants"]
    return f"keyturn resume {name}" + (f" --supply {wants[0]}=@FILE" if wants else "")


def exit_code(standings: Iterable[Standing], fail_on: frozenset[str]) -> int:
    """0, unless something is as `--fail-on` names: 5 where it is stuck, else 8."""
    found = {word for one in standings for word in one.attention & fail_on}
    if "stuck" in found:
        return STUCK_EXIT
    return ATTENTION if found else 0


def as_data(one: Standing) -> dict[str, Any]:
    """One secret as one JSON object; times in UTC."""
    waiting, stuck = one.waiting, one.stuck
    return {
        "secret": one.secret,
        "provider": one.provider,
        "status": one.status,
        "current": one.current["number"] if one.current else None,
        "valid": [_version_data(version, one.now) for version in one.valid],
        "sinks": [place.as_data() for place in one.places],
        "missing": list(one.missing),
        "waiting": waiting and {**{k: waiting[k] for k in ("step", "kind", "text")}, "until": _iso(waiting["until"])},
        "stuck": stuck and {"code": stuck["code"], "reason": stuck["reason"]},
        "debts": list(one.debts),
        "rotation": _rotation_data(one.rotation),
        "due": one.due and _due_data(one.due),
        "paused_until": _iso(one.paused_until),
        "problems": list(one.problems),
        "checked_at": _iso(one.state.get("checked_at")),
        "seen": [{name: problem[name] for name in ("code", "text", "hint", "fatal")} for problem in one.seen],
        "attention": sorted(one.attention),
        "next": one.next,
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _version_data(version: Mapping[str, Any], now: float) -> dict[str, Any]:
    """One version; `left_s` falls below zero once it expired."""
    names, expires_at = ("number", "state", "handle", "slot"), version["expires_at"]
    times = {"since": _iso(version["since"]), "expires_at": _iso(expires_at)}
    left_s = None if expires_at is None else floor(expires_at - now)
    return {
        **{name: version[name] for name in names},
        **times,
        "left_s": left_s,
        "accepted_at": list(version["accepted"]),
        "observed": [
            {
                **{name: one[name] for name in ("endpoint", "verdict", "why")},
                "at": iso(one["at"]),
                "until": _iso(one["until"]),
            }
            for one in version.get("observed", ())
        ],
    }


def _due_data(when: Due) -> dict[str, Any]:
    short = when.short and {
        "granted_s": floor(when.short.granted_s),
        "expected_s": floor(when.short.expected_s),
        "held": when.short.held,
    }
    return {"status": when.status.value, "at": _iso(when.at), "why": when.why, "short": short}


def _rotation_data(rotation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if rotation is None:
        return None
    end = rotation["ended"] or {}
    facts_ = ("outcome", "issued", "published", "retired", "old_refused", "outage_ms", "drained_ms")
    return {
        **{name: rotation[name] for name in ("id", "mode", "overlap", "open")},
        "started_at": iso(rotation["started_at"]),
        **{name: end.get(name) for name in facts_},
        "outages_ms": dict(end.get("outages_ms") or {}),
        "outstanding": list(end.get("outstanding") or ()),
        "undrained": dict(rotation.get("undrained") or {}),
    }


def text(standings: Sequence[Standing]) -> str:
    """All secrets for people, and one closing line."""
    if not standings:
        return "no secret is configured\n  next: add one under secrets: in the configuration, then: keyturn check"
    counts = Counter(one.status for one in standings)
    total = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return "\n".join([line for one in standings for line in lines(one)] + [f"{len(standings)} in all: {total}"])


def lines(one: Standing) -> list[str]:
    """One secret for people: what is valid, where it is served, who is missing, what to type next."""
    found = [f"{one.secret}  {_headline(one)}"]
    found += [f"  problem  {problem}" for problem in one.problems]
    found += [_problem_line(problem, one.state["checked_at"]) for problem in one.seen]
    found += [_version_line(version, one.now) for version in one.valid] or ["  valid    nothing that we know of"]
    found += [f"  serving  {place.line}" for place in one.places if one.current]
    if one.stuck:
        found.append(f"  stuck    {one.stuck['reason']}")
    elif one.waiting:
        found.append(f"  waiting  {one.waiting['step']}: {one.waiting['text']}")
    found += [f"  missing  {name} has not acknowledged" for name in one.missing]
    found += [f"  cut-over {line}" for line in _cut_over(one.rotation)]
    found += [f"  owed     {_debt_line(debt)}" for debt in one.debts]
    found += [f"  due      {line}" for line in _due_lines(one.due)] if one.due else []
    return [*found, *([f"  next: {one.next}"] if one.next else [])]


def _cut_over(rotation: Mapping[str, Any] | None) -> list[str]:
    """What the latest rotation cost consumers; of one under way who was not told to drain."""
    return cut_over(rotation["ended"] or {"undrained": rotation.get("undrained")}) if rotation else []


def _headline(one: Standing) -> str:
    until = one.waiting["until"] if one.waiting else None
    said = f"{one.status} until {iso(until)}" if until and one.status in ("holding", "waiting") else one.status
    late = [*sorted(one.attention & {"due", "overdue"}), *(["expired"] if one.expired else [])]
    paused = [f"paused until {iso(one.paused_until)}"] if one.paused_until else []
    return ", ".join([said, *late, *paused])


def _expired(version: Mapping[str, Any], now: float) -> bool:
    return version["expires_at"] is not None and version["expires_at"] <= now


def _version_line(version: Mapping[str, Any], now: float) -> str:
    word = "expired" if _expired(version, now) else "valid  "
    parts = [f"  {word}  version {version['number']} ({version['state']})"]
    parts += [f"{name} {version[name]}" for name in ("handle", "slot") if version[name]]
    parts += [f"until {iso(version['expires_at'])}", left(version["expires_at"], now)] if _ends_so(version) else []
    parts += _seen_parts(version)
    return ", ".join(parts)


def _ends_so(version: Mapping[str, Any]) -> bool:
    """Whether its expiry says when it ends: of one that was replaced and is seen alive what is seen says it."""
    return version["expires_at"] is not None and not version.get("observed")


def _seen_parts(version: Mapping[str, Any]) -> list[str]:
    """Where it was accepted; of a replaced version what was seen since, and how long that may last at most."""
    observed = version.get("observed", ())
    if not observed:
        return [f"seen accepted at {', '.join(version['accepted'])}"] if version["accepted"] else []
    return [
        f"still accepted at {one['endpoint']} {iso(one['at'])} ({one['why']})"
        + (f", until {iso(one['until'])} at most" if one["until"] else "")
        for one in observed
    ]


def _problem_line(problem: Mapping[str, Any], at: float) -> str:
    word = "problem" if problem["fatal"] else "warning"
    return f"  {word}  {problem['text']} [{problem['code']}], seen {iso(at)}"


def _debt_line(debt: Mapping[str, Any]) -> str:
    if debt["kind"] == "artefact":
        return f"the {debt['where']} of version {debt['number']}: without it a lost secret can not be recovered"
    where = f" at {debt['where']}" if debt["where"] else ""
    return f"{debt['kind']} version {debt['number']}{where}"


def _due_lines(when: Due) -> list[str]:
    """When it is due and why; or why nothing makes it due though something should."""
    held = when.short is not None and when.short.held
    lines = [f"{iso(when.at)} ({when.why})"] if when.at is not None and not held else []
    lines += [when.why] if held or (when.at is None and when.status is DueStatus.OVERDUE) else []
    if when.short and not held:
        granted, expected = span(when.short.granted_s), span(when.short.expected_s)
        lines.append(f"a short life: granted {granted} where at least {expected} were expected")
    return lines
