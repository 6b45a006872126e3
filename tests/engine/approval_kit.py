"""A vendor whose work-flow turns every issue into a request, in a rig, and as a plugin of the real program."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keyturn.api import Plugin, hookimpl
from keyturn.engine.bench import Bench
from keyturn.engine.job import Job
from keyturn.engine.record import events as ev
from keyturn.engine.record.state import RotationState
from keyturn.journal import open_journal
from keyturn.testing.fakes import FAKES, Vendor
from keyturn.testing.fakes.desk import AtDesk, Desk
from keyturn.testing.rig import Rig
from program import Folder

DAY = 86_400.0
PATIENCE = 7 * DAY
PUT, NAME = "put", "portal/app"
PLUGIN_FILE = "from engine.approval_kit import keyturn_plugin\n"
WORLDS: dict[str, tuple[Vendor, Desk]] = {}
"""What accounts name by `world:`: the program makes its plugins anew in every run."""


def with_desk(vendor: Vendor) -> Desk:
    """From now on this vendor has a work-flow."""
    desk = Desk(vendor.clock, PATIENCE)
    vendor.wire, vendor.faults = desk, desk.faults
    return desk


@dataclass
class DeskRig(Rig):
    """The rig at a vendor with a work-flow."""

    bent: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.desk = with_desk(self.vendor)

    def job(self, bench: Bench) -> Job:
        job = super().job(bench)
        return replace(job, provider=AtDesk(job.provider, self.desk), traits=replace(job.traits, **self.bent))

    @property
    def rotation(self) -> RotationState:
        rotation = self.state().rotation
        assert rotation
        return rotation

    @property
    def current(self) -> int:
        version = self.state().current
        assert version
        return version.number

    def events(self, kind: type[ev.Body] | None = None) -> list[ev.Body]:
        with closing(open_journal(self.settings, clock=self.clock, runner="reader", operator="reader")) as journal:
            bodies = [ev.body(one) for one in journal.events("app/main")]
        return [one for one in bodies if one and (kind is None or isinstance(one, kind))]

    def sent(self) -> int:
        """How often issue left this machine, by the journal."""
        return len([one for one in self.events(ev.Sent) if isinstance(one, ev.Sent) and one.verb == "issue"])


def asked(folder: Path, fake: str, **more: Any) -> DeskRig:
    """Version 2 was asked for, and waits for an approval."""
    rig = adopted(folder, fake, **more)
    outcome = rig.rotate()
    assert outcome.status == "waiting", outcome
    return rig


def adopted(folder: Path, fake: str, **more: Any) -> DeskRig:
    """Version 1 is current."""
    folder.mkdir(exist_ok=True)
    rig = DeskRig(folder=folder, fake=fake, **more)
    rig.adopt()
    return rig


@dataclass
class Town(Folder):
    """The real program with that vendor as a plugin, one secret in a file sink, due every day."""

    fake: str = "second-key"

    def __post_init__(self) -> None:
        self.vendor = FAKES[self.fake].make_vendor(self.clock, {})
        self.desk = with_desk(self.vendor)
        WORLDS[str(self.folder)] = (self.vendor, self.desk)
        self.furnish({})
        self._write()
        handle, bundle, _ = self.vendor.seed()
        assert handle
        self.well("adopt", NAME, "--from-stdin", "--handle", handle, stdin=json.dumps(bundle.reveal()))

    def run(self) -> Any:
        """What cron does."""
        return self.keyturn("run")

    def _write(self) -> None:
        (self.folder / "desk.py").write_text(PLUGIN_FILE)
        (self.folder / "desk.py").chmod(0o600)
        self.write(
            {
                "plugins": ["desk.py"],
                "providers": {"portal": {"kind": "desk", "world": str(self.folder)}},
                "sinks": {"served": {"kind": "file", "folder": "served"}},
                "secrets": {
                    NAME: {
                        "provider": "portal",
                        "rotate": {"every": "1d", "from": "2026-01-01"},
                        "overlap": {"strategy": "dual", "hold": "1h"},
                        "sinks": [{"to": "served", "path": "app.json"}],
                    }
                },
            }
        )


def _load() -> Callable[..., Any]:
    def make(context: Any, account: Any) -> Any:
        vendor, desk = WORLDS[account.world]
        inner = FAKES["second-key"].plugin.load()(context, vendor.account)
        return AtDesk(inner, desk)

    return make


@hookimpl
def keyturn_plugin() -> Plugin:
    """The fake `second-key`, with a work-flow."""
    return replace(FAKES["second-key"].plugin, name="desk", load=_load)
