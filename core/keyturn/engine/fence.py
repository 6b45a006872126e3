"""The only caller of plugins: a hard deadline, a validated answer, normalised errors, scrubbed texts that name it."""

from __future__ import annotations

import contextvars
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from keyturn.clock import SystemClock
from keyturn.errors import Conflict, Doubt, KeyturnError, NotSent, PluginError, Refused
from keyturn.expiry import plausible
from keyturn.model import Settled, Verdict
from keyturn.plugins.provider import PROVIDER_VERBS, ProbeResponse, SettleResponse
from keyturn.plugins.sink import SINK_VERBS
from keyturn.redact import scrub
from keyturn.secret import Bundle, Secret

MUTATING = frozenset({"issue", "reset", "retire", "stage", "promote", "discard", "notify", "renew", "command"})
HARMLESS_LATE = frozenset({"notify", "probe"})
"""What may go on behind our back: a consumer that is told late has nothing of the secret, and of a drain a deadline; a
probe asks and changes nothing.

A late call to a vendor or a sink may still change what a later step goes by, so that the process leaves the secret
alone. Were it the same here, one consumer or endpoint that hangs could have the others wait in the gap.
"""
REAL = SystemClock()
"""Deadlines of real threads are real time, also where the journal's is driven by a test."""

TEXTS = frozenset({"evidence", "text", "hint", "note"})
"""The members of answers that are words for people, and so end up in the journal."""

EXPIRIES = frozenset({"expires_at", "until"})

OUTCOMES: tuple[tuple[type[PluginError], str], ...] = (
    (NotSent, "not_sent"),
    (Refused, "refused"),
    (Conflict, "conflict"),
    (Doubt, "doubt"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a plugin call came to: `done` with its answer, or not_sent, refused, conflict, doubt with a reason.

    `values` are the secret ones that travelled in it, either way. `odd` has the expiries, by name, that no calendar
    has: the answer has None in their place.
    """

    outcome: str
    answer: Any = None
    why: str = ""
    code: str = ""
    hint: str = ""
    overran: bool = False
    values: frozenset[str] = field(default=frozenset(), repr=False)
    odd: Mapping[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether there is an answer."""
        return self.outcome == "done"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ask:
    """One call: the plugin's name for messages, the object, the verb and the request.

    `public` names the fields of bundles that are no secret, and so stay in messages.
    """

    plugin: str
    target: Any
    verb: str
    request: Any
    within_s: float
    public: frozenset[str] = frozenset()


class Fence:
    """Calls plugins, each in a thread of its own, so that a hung one can not hold the process.

    `known` gives the values to take out of every message. `inject` is called before and after each call with
    (moment, plugin, verb): a test makes faults there.
    """

    def __init__(
        self, known: Callable[[], Iterable[str]], inject: Callable[[str, str, str], None] | None = None
    ) -> None:
        self._known = known
        self._inject = inject or (lambda *_: None)

    def call(self, ask: Ask) -> Result:
        """Make one call."""
        return self.call_all([ask])[0]

    def call_all(self, asks: Sequence[Ask], landed: Callable[[int, Result], None] | None = None) -> list[Result]:
        """Make all calls side by side; `landed` is told of each result, in the caller's thread, as it comes."""
        done = _Inbox([ask.within_s for ask in asks])
        for index, ask in enumerate(asks):
            # The caller's context goes along: a plugin's notes find their way to the secret they belong to.
            run = contextvars.copy_context().run
            name = f"fence-{ask.verb}"
            threading.Thread(target=run, args=(self._run, ask, index, done), daemon=True, name=name).start()
        results: list[Result | None] = [None] * len(asks)
        for index, raw in done.arrivals():
            results[index] = self._judge(asks[index], raw)
            if landed:
                landed(index, results[index] or _OVERRUN)
        return [result or _OVERRUN for result in results]

    def clean(self, text: str) -> str:
        """A text without any value that is known."""
        return scrub(text, self._known())

    def _run(self, ask: Ask, index: int, done: _Inbox) -> None:
        try:
            self._inject("before", ask.plugin, ask.verb)
            answer = getattr(ask.target, ask.verb)(ask.request)
            self._inject("after", ask.plugin, ask.verb)
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises is an outcome, never our crash
            done.put(index, error)
        else:
            done.put(index, answer)

    def _judge(self, ask: Ask, raw: Any) -> Result:
        values = frozenset(_values(ask.request, ask.public) | _values(raw, ask.public))
        return replace(self._outcome(ask, raw, {*self._known(), *values}), values=values)

    def _outcome(self, ask: Ask, raw: Any, secrets: set[str]) -> Result:
        if raw is _TIMED_OUT:
            text = f"{ask.plugin}: {ask.verb} did not answer within {ask.within_s:g} s"
            return Result(outcome=_lost(ask.verb), why=text, code="deadline", overran=ask.verb not in HARMLESS_LATE)
        if isinstance(raw, BaseException):
            if not isinstance(raw, Exception):
                raise raw
            return _failed(ask, raw, secrets)
        if not isinstance(raw, _ANSWERS.get(ask.verb, (object,))):
            text = f"{ask.plugin}: {ask.verb} answered with {type(raw).__name__}, not what the seam asks for"
            return Result(outcome=_lost(ask.verb), why=text, code="bad-answer")
        if not _known_words(raw):
            text = f"{ask.plugin}: {ask.verb} answered with a word that this version does not know"
            return Result(outcome=_lost(ask.verb), why=text, code="bad-answer")
        if ask.verb not in _ANSWERS:
            return Result(outcome="done", answer=raw)
        odd = _odd(raw)
        return Result(outcome="done", answer=_with(_cleaned(raw, secrets), dict.fromkeys(odd)), odd=odd)


_TIMED_OUT = object()
_OVERRUN = Result(outcome="doubt", why="no answer", code="deadline", overran=True)
_ANSWERS: dict[str, tuple[type[Any], ...]] = {
    verb: tuple(table[verb] for table in (PROVIDER_VERBS, SINK_VERBS) if verb in table)
    for verb in {*PROVIDER_VERBS, *SINK_VERBS}
}


class _Inbox:
    """Answers as they arrive, each waited for until its own deadline."""

    def __init__(self, within_s: Sequence[float]) -> None:
        began_s = REAL.monotonic()
        self._until_s = {index: began_s + seconds for index, seconds in enumerate(within_s)}
        self._answers: dict[int, Any] = {}
        self._new = threading.Condition()

    def put(self, index: int, answer: Any) -> None:
        with self._new:
            self._answers[index] = answer
            self._new.notify_all()

    def arrivals(self) -> Iterable[tuple[int, Any]]:
        while self._until_s:
            landed, late = self._next()
            for index in (*landed, *late):
                del self._until_s[index]
            yield from ((index, self._answers[index]) for index in landed)
            yield from ((index, _TIMED_OUT) for index in late)

    def _next(self) -> tuple[list[int], list[int]]:
        """What has landed, and what is late, as soon as there is one of either."""
        with self._new:
            self._new.wait_for(self._arrived, timeout=max(0.0, min(self._until_s.values()) - REAL.monotonic()))
            landed = sorted(self._arrived())
            late = [
                index for index, until_s in self._until_s.items() if until_s <= REAL.monotonic() and index not in landed
            ]
            return landed, late

    def _arrived(self) -> set[int]:
        return self._until_s.keys() & self._answers.keys()


def _known_words(answer: Any) -> bool:
    """A plugin of a newer version may answer with a verdict that did not exist when this was written."""
    if isinstance(answer, ProbeResponse):
        return isinstance(answer.verdict, Verdict)
    return not isinstance(answer, SettleResponse) or isinstance(answer.outcome, Settled)


def _cleaned(answer: Any, secrets: set[str]) -> Any:
    """The answer without values in its words; its bundles are left alone."""
    if isinstance(answer, tuple | list):
        return tuple(_cleaned(one, secrets) for one in answer)
    if not is_dataclass(answer) or isinstance(answer, type):
        return answer
    return _with(answer, {name: _member(name, value, secrets) for name, value in _members(answer).items()})


def _member(name: str, value: Any, secrets: set[str]) -> Any:
    return scrub(value, secrets) if name in TEXTS and isinstance(value, str) else _cleaned(value, secrets)


def _members(answer: Any) -> dict[str, Any]:
    return {one.name: getattr(answer, one.name) for one in fields(answer)}


def _with(answer: Any, members: Mapping[str, Any]) -> Any:
    changed = {name: value for name, value in members.items() if value is not getattr(answer, name)}
    return replace(answer, **changed) if changed else answer


def _odd(answer: Any) -> Mapping[str, str]:
    """The expiries that no calendar has, by name. What is no number may be anything, a value too: it is not shown."""
    absurd = {
        name: value
        for name, value in _members(answer).items()
        if name in EXPIRIES and value is not None and not plausible(value)
    }
    return {name: f"{value:g}" if isinstance(value, int | float) else "no number" for name, value in absurd.items()}


def _lost(verb: str) -> str:
    return "doubt" if verb in MUTATING else "not_sent"


def _failed(ask: Ask, error: Exception, secrets: Iterable[str]) -> Result:
    for kind, outcome in OUTCOMES:
        if isinstance(error, kind):
            lost = outcome == "doubt" and ask.verb not in MUTATING
            why = scrub(f"{ask.plugin}: {error.why}", secrets)
            hint = scrub(error.hint, secrets)
            return Result(outcome="not_sent" if lost else outcome, why=why, code=error.code or outcome, hint=hint)
    if isinstance(error, KeyturnError):
        # Ours, by way of the context: sealing may fail after the vendor has answered, so a change is in doubt here too.
        return Result(outcome=_lost(ask.verb), why=scrub(f"{ask.plugin}: {error}", secrets), code=error.code)
    # Its words may quote the vendor's answer, and with it a value that nobody here knows yet: only where it happened.
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    why = f"{ask.plugin}: {ask.verb} failed with {type(error).__name__}{where}"
    return Result(outcome=_lost(ask.verb), why=why, code="plugin-raised")


def _values(request: Any, public: frozenset[str]) -> set[str]:
    """All secret values that travel in a request or an answer; of bundles, but what their `public` fields hold."""
    if isinstance(request, Secret):
        return {request.reveal()}
    if isinstance(request, Bundle):
        return {text for name, text in request.reveal().items() if name not in public}
    if isinstance(request, Mapping):
        return {value for inner in request.values() for value in _values(inner, public)}
    if isinstance(request, tuple | list):
        return {value for inner in request for value in _values(inner, public)}
    if is_dataclass(request) and not isinstance(request, type):
        return {value for inner in _members(request).values() for value in _values(inner, public)}
    return set()
