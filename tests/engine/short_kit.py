"""A vendor that grants less than it is asked for, as a plugin of the real program, on a clock that tests drive."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from keyturn.api import Call, Field, Maker, Plugin, Repeat, Seconds, Secret, Traits, hookimpl
from keyturn.cli import main
from keyturn.cli.estate import Wiring
from keyturn.escrow import new_identity
from keyturn.files import private_folder
from keyturn.journal import JournalSettings, make_journal, open_journal
from keyturn.journal.store import Event, Summary
from keyturn.testing.clock import FakeClock
from keyturn.testing.fakes import grace
from keyturn.testing.fakes.options import GraceAccount, GraceTarget

DAY = 86_400.0
NAME = "network/entity"
PLUGIN_FILE = "from engine.short_kit import keyturn_plugin\n"
VENDORS: dict[str, MeanVendor] = {}
"""What accounts name by `world:`: the program makes its plugins anew in every run."""


class MeanTarget(GraceTarget):
    """`validity_min`: the least life that counts as a full one."""

    validity_min: Seconds = 45 * DAY


class MeanVendor(grace.GraceVendor):
    """Grants at most `granted_max_s`, whatever is asked for."""

    granted_max_s = math.inf

    def reset(self, call: Call, expiry_s: float) -> Secret:
        """Make another secret, for a shorter time than asked."""
        return super().reset(call, min(expiry_s, self.granted_max_s))


def _load() -> Any:
    def make(context: Any, account: GraceAccount) -> grace.GraceProvider:
        return grace.GraceProvider(context, account.model_copy(update={"world": VENDORS[account.world]}))

    return make


def _traits(account: GraceAccount, target: MeanTarget) -> Traits:
    return Traits(
        fields=(Field(name=grace.FIELD, by=Maker.VENDOR),),
        live_max=1,
        grace_s=0.0,
        repeat=Repeat.DESTROYS,
        readable=True,
        answer_is_commit=True,
        min_age_s=DAY,
        life_min_s=target.validity_min,
    )


@hookimpl
def keyturn_plugin() -> Plugin:
    """The fake `grace` with a floor."""
    return replace(grace.PLUGIN, name="mean", target=MeanTarget, traits=_traits, load=_load)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


@dataclass
class Town:
    """One secret at that vendor, in a file, adopted at the start with a life of a year."""

    folder: Path
    rotate: Mapping[str, Any]
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.vendor = MeanVendor(self.clock, {})
        VENDORS[str(self.folder)] = self.vendor
        self._build()
        _, bundle, _ = self.vendor.seed()
        served = self.folder / "custody/entity.json"
        served.write_text(json.dumps(bundle.reveal()))
        served.chmod(0o600)
        ran = self.keyturn("adopt", NAME, "--from-sink", "custody")
        assert ran.code == 0, ran.err

    @property
    def resets(self) -> int:
        """How often the vendor was asked to replace the secret."""
        return len(self.vendor.log)

    @property
    def alerts(self) -> list[list[str]]:
        """What whoever is on call was told: what and text, one line each."""
        told = self.folder / "told"
        return [line.split("|") for line in told.read_text().splitlines()] if told.exists() else []

    def keyturn(self, *args: str) -> Ran:
        """The program in this process, in the estate's folder."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            try:
                main(args, wiring=Wiring(clock=self.clock))
            except SystemExit as end:
                return Ran(code=int(end.code or 0), out=out.getvalue(), err=err.getvalue())
        raise AssertionError("the program did not exit")

    def events(self) -> list[Event]:
        """The whole history of the secret."""
        with contextlib.closing(self._journal()) as journal:
            return list(journal.events(NAME))

    def row(self) -> Summary:
        """Its summary row."""
        with contextlib.closing(self._journal()) as journal:
            row: Summary = journal.summaries()[NAME]
            return row

    def _journal(self) -> Any:
        return open_journal(self._settings, clock=self.clock, runner="reader", operator="reader")

    @property
    def _settings(self) -> JournalSettings:
        return JournalSettings(kind="sqlite", path=self.folder / "state/journal.db")

    def _build(self) -> None:
        private_folder(self.folder / "state")
        private_folder(self.folder / "custody")
        new_identity(self.folder / "state/age.key")
        make_journal(self._settings, clock=self.clock).close()
        self._private("mean.py", PLUGIN_FILE)
        self._private("keyturn.yaml", yaml.safe_dump(self._configuration()))

    def _private(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o600)

    def _configuration(self) -> dict[str, Any]:
        told = self.folder / "told"
        return {
            "keyturn": 1,
            "journal": {"kind": "sqlite", "path": "state/journal.db"},
            "escrow": {"identities": ["file:state/age.key"]},
            "alerts": [{"exec": ["sh", "-c", f'echo "$KEYTURN_WHAT|$KEYTURN_TEXT" >> {told}']}],
            "plugins": ["mean.py"],
            "providers": {"vendor": {"kind": "mean", "world": str(self.folder)}},
            "sinks": {"custody": {"kind": "file", "folder": "custody"}},
            "secrets": {
                NAME: {
                    "provider": "vendor",
                    "rotate": dict(self.rotate),
                    "overlap": {"accept_outage": "60s"},
                    "sinks": [{"to": "custody", "path": "entity.json"}],
                }
            },
        }
