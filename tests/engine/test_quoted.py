"""What a plugin quotes, in answers, problems and notes, reaches neither the journal nor people (promise P4)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engine.attack_kit import adopted
from engine.outside_kit import FIXED, Watched, WatchedProvider
from engine.short_kit import DAY, VENDORS
from engine.test_outside_rotations import newest
from keyturn.api import (
    InspectRequest,
    InspectResponse,
    IssueRequest,
    IssueResponse,
    Plugin,
    ProbeRequest,
    ProbeResponse,
    Problem,
    SettleRequest,
    SettleResponse,
    hookimpl,
)
from keyturn.engine.checking import look
from keyturn.engine.entry import Ask, rotate
from keyturn.errors import KeyturnError
from keyturn.model import Settled
from keyturn.testing.fakes.grace import FIELD
from keyturn.testing.fakes.options import GraceAccount
from keyturn.testing.rig import Rig

PLUGIN_FILE = "from engine.test_quoted import keyturn_plugin\n"
LOGIN = "pa55-of-the-login"


def told(code: str, text: str) -> Problem:
    """A warning."""
    return Problem(code=code, text=text, hint=f"look: {text}", fatal=False)


class Quoting:
    """A provider that quotes what it read, was given or was asked to try, in the texts of its answers."""

    def __init__(self, rig: Rig, real: Any, context: Any = None) -> None:
        self.rig, self.real, self.context = rig, real, context

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """With a problem, and a note, that hold the vendor's value."""
        found: InspectResponse = self.real.inspect(request)
        if self.context:
            self.context.note("saw", {"it": newest(self.rig)[FIELD]})
        return replace(found, problems=(told("odd", f"it showed {newest(self.rig)[FIELD]}"),))

    def probe(self, request: ProbeRequest, /) -> ProbeResponse:
        """With evidence that holds the value."""
        found: ProbeResponse = self.real.probe(request)
        return replace(found, evidence=f"200 for {request.bundle[FIELD].reveal()}")

    def issue(self, request: IssueRequest, /) -> IssueResponse:
        """With a note that holds what it answers with."""
        made: IssueResponse = self.real.issue(request)
        if self.context:
            self.context.note("answered", {"with": made.bundle[FIELD].reveal()})
        return made

    def settle(self, request: SettleRequest, /) -> SettleResponse:
        """With a remark that holds the value it found."""
        found: SettleResponse = self.real.settle(request)
        return replace(found, note=f"it is {newest(self.rig)[FIELD]} now")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def said(rig: Rig, bench: Any) -> str:
    """All that was journaled and told."""
    return repr(bench.journal.events("app/main")) + repr(bench.journal.summaries()) + "".join(rig.lines)


@pytest.mark.parametrize("outside", [True, False])
def test_a_value_that_a_plugin_quotes_in_an_answer_reaches_neither_journal_nor_people(
    tmp_path: Path, outside: Any
) -> None:
    rig = adopted(tmp_path, fake="grace")
    if outside:
        rig.vendor.seed()
    bench = rig.bench()
    job = rig.job(bench)
    provider = Quoting(rig, job.provider, job.provider.context)
    quoting = replace(job, provider=provider, traits=replace(job.traits, check_every_s=1.0))
    rig.clock.advance(DAY)
    look(bench, quoting)
    with contextlib.suppress(KeyturnError):
        rotate(bench, quoting, Ask())
    found = said(rig, bench)
    bench.journal.close()
    assert newest(rig)[FIELD] not in found
    assert "it showed <secret>" in found
    assert "'it': '<secret>'" in found


def test_a_value_that_is_found_by_settling_is_not_quoted(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    rig.vendor.faults.add("issue", "after")
    bench = rig.bench()
    job = rig.job(bench)
    rotate(bench, replace(job, provider=Quoting(rig, job.provider)), Ask())
    found = said(rig, bench)
    bench.journal.close()
    assert Settled.APPLIED.value in found
    assert "it is <secret> now" in found
    assert newest(rig)[FIELD] not in found


def test_a_note_that_quotes_a_value_is_journaled_without_it(tmp_path: Path) -> None:
    rig = adopted(tmp_path, fake="grace")
    bench = rig.bench()
    job = rig.job(bench)
    rotate(bench, replace(job, provider=Quoting(rig, job.provider, job.provider.context)), Ask())
    found = said(rig, bench)
    bench.journal.close()
    assert "'with': '<secret>'" in found
    assert newest(rig)[FIELD] not in found


# Logins, through the real program


class WithLogin(WatchedProvider):
    """Resolves its login, and quotes it together with what is no secret."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        login = self.context.resolve("file:login").reveal()
        self.context.note("logged-in", {"as": login})
        return replace(super().inspect(request), problems=(told("odd", f"{login} may not see {FIXED}"),))


def _load() -> Any:
    def make(context: Any, account: GraceAccount) -> WithLogin:
        return WithLogin(context, account.model_copy(update={"world": VENDORS[account.world]}))

    return make


@hookimpl
def keyturn_plugin() -> Plugin:
    """The watched fake, with a login."""
    from engine.outside_kit import keyturn_plugin as watched  # noqa: PLC0415 - a plugin file has one of this name

    plugin: Plugin = watched()
    return replace(plugin, load=_load)


@dataclass
class LoggedIn(Watched):
    """An estate whose account has a login."""

    def _build(self) -> None:
        super()._build()
        self._private("login", LOGIN)
        self._private("watched.py", PLUGIN_FILE)


def test_a_login_that_a_plugin_quotes_reaches_neither_journal_nor_people(tmp_path: Path) -> None:
    town = LoggedIn(folder=tmp_path)
    town.clock.advance(8 * DAY)
    ran = [town.keyturn("run"), town.keyturn("check", "--online"), town.keyturn("status")]
    found = repr(town.events()) + repr(town.row()) + "".join(one.out + one.err for one in ran)
    assert LOGIN not in found
    assert f"<secret> may not see {FIXED}" in found
    assert "'as': '<secret>'" in found
