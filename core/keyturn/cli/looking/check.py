"""`keyturn check`: the configuration, the plugins and the journal; online vendors and sinks too. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from keyturn.cli.app import Report, Session
from keyturn.cli.estate import Estate
from keyturn.cli.render import most_severe
from keyturn.config import ConfigProblem, Configuration, load, locate, read
from keyturn.engine.checking import check
from keyturn.errors import KeyturnError
from keyturn.journal.store import Summary
from keyturn.model import Problem
from keyturn.plugins.registry import Registry

WORKERS = 4
EXIT = {"configured": 0, "ready": 0, "warning": 0, "unmanaged": 8, "refused": 3, "misconfigured": 2, "unusable": 2}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One secret. `verdict`: configured (not asked), ready, warning, unmanaged, refused, misconfigured or unusable."""

    secret: str
    verdict: str
    problems: tuple[Problem, ...] = ()
    endpoints: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The verdict as one JSON object."""
        problems = [asdict(problem) for problem in self.problems]
        return {
            "secret": self.secret,
            "verdict": self.verdict,
            "endpoints": list(self.endpoints),
            "problems": problems,
        }


def report(session: Session, globs: Sequence[str], *, online: bool) -> Report:
    """The answer of `keyturn check`. Raises UsageError where there is no configuration at all."""
    source = read(locate(session.config))
    registry = Registry(source.plugins)
    configuration = load(source, registry.find)
    verdicts: list[Verdict] = []
    failure: KeyturnError | None = None
    if not any(problem.scope == "all" for problem in configuration.problems):
        try:
            with session.estate() as estate:
                verdicts = verdicts_of(estate, globs, online=online)
        except KeyturnError as error:
            failure = error
    return answer(concerning(configuration, globs), registry.broken(), verdicts, failure)


def concerning(configuration: Configuration, globs: Sequence[str]) -> list[ConfigProblem]:
    """All problems; with globs those that stop the secrets that match, or everything."""
    wanted = [name for name in configuration.broken if any(fnmatchcase(name, glob) for glob in globs)]
    stopping = {problem for name in wanted for problem in configuration.broken[name]}
    return [one for one in configuration.problems if not globs or one in stopping or one.scope == "all"]


def verdicts_of(estate: Estate, globs: Sequence[str], *, online: bool) -> list[Verdict]:
    """Each secret's verdict; online the secrets are looked at side by side."""
    rows = estate.summaries()
    names = estate.names(globs)
    sound = [name for name in names if name not in estate.configuration.broken]
    found = {name: Verdict(secret=name, verdict="misconfigured") for name in names if name not in sound}
    if online:
        handles = known_handles(rows.values())
        jobs_or_verdicts = [_prepared(estate, name) for name in sound]  # plugins are made by one thread
        with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="check") as pool:
            checked = pool.map(lambda job: _looked_at(estate, job, handles), jobs_or_verdicts)
            found |= {one.secret: one for one in checked}
    else:
        found |= {name: _offline(name, rows.get(name)) for name in sound}
    return [found[name] for name in names]


def known_handles(rows: Iterable[Summary]) -> frozenset[str]:
    """The handles of all live versions in the estate: one vendor account may hold several secrets."""
    return frozenset(v["handle"] for row in rows for v in row.state.get("versions", ()) if v["handle"])


def _offline(name: str, row: Summary | None) -> Verdict:
    managed = row is not None and any(v["state"] == "current" for v in row.state["versions"])
    return Verdict(secret=name, verdict="configured" if managed else "unmanaged")


def _prepared(estate: Estate, name: str) -> Any:
    try:
        return estate.job(name)
    except KeyturnError as error:
        return Verdict(secret=name, verdict="unusable", problems=(_as_problem(error),))


def _looked_at(estate: Estate, job: Any, handles: Collection[str]) -> Verdict:
    if isinstance(job, Verdict):
        return job
    try:
        seen = check(estate.bench, job, handles)
    except KeyturnError as error:
        return Verdict(secret=job.name, verdict="unusable", problems=(_as_problem(error),))
    fatal = any(problem.fatal for problem in seen.problems)
    verdict = "refused" if fatal else "warning" if seen.problems else "ready"
    return Verdict(
        secret=job.name,
        verdict=verdict if seen.managed else "unmanaged",
        problems=seen.problems,
        endpoints=seen.endpoints,
    )


def _as_problem(error: KeyturnError) -> Problem:
    return Problem(code=error.code, text=str(error), hint=error.hint)


def answer(
    problems: Sequence[ConfigProblem],
    broken: Mapping[str, KeyturnError],
    verdicts: Sequence[Verdict],
    failure: KeyturnError | None,
) -> Report:
    """Everything at once; exit 2 where the configuration has a problem, whatever else there is."""
    codes = [EXIT[one.verdict] for one in verdicts] + [2 for _ in problems]
    codes += [failure.exit_code] if failure else []
    return Report(
        data={
            "problems": [asdict(one) for one in problems],
            "plugins_broken": [{"source": name, "message": str(error)} for name, error in broken.items()],
            "secrets": [one.as_data() for one in verdicts],
        },
        text="\n".join([*_problem_lines(problems, broken), *(line for one in verdicts for line in _lines(one))]),
        exit_code=most_severe(codes),
        error=failure,
    )


def _problem_lines(problems: Sequence[ConfigProblem], broken: Mapping[str, KeyturnError]) -> list[str]:
    noun = "problem" if len(problems) == 1 else "problems"
    lines = [f"the configuration has {len(problems) or 'no'} {noun}"]
    for one in problems:
        lines += [f"  {one}", *([f"    next: {one.hint}"] if one.hint else [])]
    for name, error in broken.items():
        lines += [f"  plugin {name}: {error}", f"    next: {error.hint}"]
    return lines


def _lines(one: Verdict) -> list[str]:
    where = f", asked at {', '.join(one.endpoints)}" if one.endpoints else ""
    lines = [f"{one.secret}  {one.verdict}{where}"]
    for problem in one.problems:
        lines.append(f"  {'refused' if problem.fatal else 'warning'}  {problem.text} [{problem.code}]")
        lines += [f"    next: {problem.hint}"] if problem.hint else []
    return lines
