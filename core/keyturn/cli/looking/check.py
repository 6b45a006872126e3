"""`keyturn check`: the configuration, the plugins and the journal; online the vendors and sinks too. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from keyturn.model import Problem
from keyturn.plugins.registry import Registry

WORKERS = 4
EXIT = {"ready": 0, "configured": 0, "warning": 0, "unmanaged": 8, "refused": 3, "misconfigured": 2, "unusable": 2}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One secret: configured (offline), ready, warning, unmanaged, refused, misconfigured or unusable."""

    secret: str
    verdict: str
    problems: tuple[Problem, ...] = ()
    endpoints: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """The verdict as one JSON object."""
        return {
            "secret": self.secret,
            "verdict": self.verdict,
            "endpoints": list(self.endpoints),
            "problems": [asdict(problem) for problem in self.problems],
        }


def report(session: Session, globs: Sequence[str], *, online: bool) -> Report:
    """The answer of `keyturn check`. Raises UsageError where there is no configuration, or a glob matches nothing."""
    source = read(locate(session.config))
    registry = Registry(source.plugins)
    configuration = load(source, registry.find)
    broken = registry.broken()
    if any(problem.scope == "all" for problem in configuration.problems):
        return _answer(configuration, broken, [])
    with session.estate() as estate:
        verdicts = list(_verdicts(estate, globs, online=online))
    return _answer(_narrowed(configuration, globs), broken, verdicts)


def _narrowed(configuration: Configuration, globs: Sequence[str]) -> Sequence[ConfigProblem] | Configuration:
    """With globs, the problems of other secrets are left out."""
    if not globs:
        return configuration
    wanted = [name for name in configuration.broken if any(fnmatchcase(name, glob) for glob in globs)]
    return list(dict.fromkeys(problem for name in wanted for problem in configuration.broken[name]))


def _answer(
    found: Configuration | Sequence[ConfigProblem], broken: dict[str, KeyturnError], verdicts: Sequence[Verdict]
) -> Report:
    problems = found.problems if isinstance(found, Configuration) else found
    codes = [EXIT[one.verdict] for one in verdicts] + [2 for _ in problems]
    return Report(
        data={
            "problems": [{k: v for k, v in asdict(one).items()} for one in problems],
            "plugins_broken": [{"source": name, "message": str(error)} for name, error in broken.items()],
            "secrets": [one.as_data() for one in verdicts],
        },
        text="\n".join(_lines(problems, broken, verdicts)),
        exit_code=most_severe(codes),
    )
