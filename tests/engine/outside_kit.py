"""A vendor whose secret others reset too, looked at by every run that finds the last look older than a week."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.short_kit import DAY, NAME, VENDORS, MeanVendor, Ran, Town
from keyturn.api import (
    Call,
    Field,
    InspectRequest,
    InspectResponse,
    Maker,
    Plugin,
    Problem,
    Repeat,
    Secret,
    Traits,
    hookimpl,
)
from keyturn.testing.fakes import grace
from keyturn.testing.fakes.options import GraceAccount
from keyturn.testing.fakes.world import Credential
from keyturn.testing.rig import Rig

PLUGIN_FILE = "from engine.outside_kit import keyturn_plugin\n"
WEEK = 7 * DAY
LAG = 600.0
FIXED = "fiu-demo"
EXPIRED = Problem(
    code="user-refused", text="the designated user is refused", hint="reset the password, then: keyturn run"
)


def nobody() -> None:
    """Nobody meddles."""


class WatchedVendor(MeanVendor):
    """Somebody may act right before or right after a reset of ours; `problems` is what an inspect finds."""

    before: Callable[[], object] = staticmethod(nobody)
    after: Callable[[], object] = staticmethod(nobody)
    problems: tuple[Problem, ...] = ()
    looks = 0

    def reset(self, call: Call, expiry_s: float) -> Secret:
        """Make another secret, with somebody else at work."""
        self.before()
        raw = super().reset(call, expiry_s)
        self.after()
        return raw

    @property
    def holds(self) -> str:
        """The value that it accepts now."""
        newest = self.newest("main")
        assert newest is not None
        return str(newest.fields[grace.FIELD])


class WatchedProvider(grace.GraceProvider):
    """Counts its looks, and finds the problems that are planned."""

    def inspect(self, request: InspectRequest, /) -> InspectResponse:
        """See `keyturn.api.Provider.inspect`."""
        vendor: Any = self.vendor
        vendor.looks += 1
        return replace(super().inspect(request), problems=vendor.problems)


def _load() -> Any:
    def make(context: Any, account: GraceAccount) -> WatchedProvider:
        return WatchedProvider(context, account.model_copy(update={"world": VENDORS[account.world]}))

    return make


def _traits(_account: GraceAccount, _target: Any) -> Traits:
    return Traits(
        fields=(
            Field(name="entity_id", by=Maker.FIXED, value=FIXED, sensitive=False),
            Field(name=grace.FIELD, by=Maker.VENDOR),
        ),
        live_max=1,
        grace_s=0.0,
        repeat=Repeat.DESTROYS,
        readable=True,
        answer_is_commit=True,
        check_every_s=WEEK,
    )


@hookimpl
def keyturn_plugin() -> Plugin:
    """The fake `grace`, watched."""
    return replace(grace.PLUGIN, name="watched", traits=_traits, load=_load)


@dataclass
class Watched(Town):
    """One secret at that vendor, adopted at the start; somebody else resets it by `vendor.seed()`."""

    rotate: Mapping[str, Any] = field(default_factory=lambda: {"before_expiry": "20d"})

    def __post_init__(self) -> None:
        self.vendor: WatchedVendor = WatchedVendor(self.clock, {})
        VENDORS[str(self.folder)] = self.vendor
        self._build()
        _, bundle, _ = self.vendor.seed()
        self._private("custody/entity.json", json.dumps({"entity_id": "fiu-demo", **bundle.reveal()}))
        ran = self.keyturn("adopt", NAME, "--from-sink", "custody")
        assert ran.code == 0, ran.err

    def keyturn(self, *args: str, stdin: str = "") -> Ran:
        """The program, with something to read."""
        before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin.encode()))
        try:
            return super().keyturn(*args)
        finally:
            sys.stdin = before

    def typed(self, command: str, reason: str = "told") -> Ran:
        """What was printed, as a person types it."""
        words = command.removeprefix("keyturn ").replace("TEXT", reason).split()
        return self.keyturn(*words, *(["--yes"] if words[0] == "rotate" else []))

    @property
    def served(self) -> str:
        """What consumers read."""
        return str(json.loads((self.folder / "custody/entity.json").read_text())[grace.FIELD])

    @property
    def numbers(self) -> dict[int, str]:
        """The versions that are not retired, with their states."""
        return {v["number"]: v["state"] for v in self.row().state["versions"]}

    def next(self) -> str:
        """What status says to type."""
        return str(self.keyturn("status", "--json").json["secrets"][0]["next"])

    def _build(self) -> None:
        super()._build()
        self._private("watched.py", PLUGIN_FILE)

    def _configuration(self) -> dict[str, Any]:
        found = super()._configuration()
        found["plugins"] = ["watched.py"]
        found["providers"]["vendor"]["kind"] = "watched"
        return found


class LaggingVendor(grace.GraceVendor):
    """Its read is served by a copy that hears of each reset `read_lag_s` later; `blank`: it shows an empty value."""

    read_lag_s = 0.0
    blank = False

    def newest(self, owner: str) -> Credential | None:
        """What a read shows now."""
        if self.blank:
            return Credential(
                handle="", owner=owner, fields={grace.FIELD: ""}, born_at=0.0, ends_at=self.clock.now() + DAY
            )
        heard = self.clock.now() - self.read_lag_s
        shown = [one for one in self.credentials if one.owner == owner and one.born_at <= heard]
        return shown[-1] if shown and self.read_lag_s else super().newest(owner)


def lagging(folder: Path, **account: Any) -> tuple[Rig, LaggingVendor]:
    """Version 1 is adopted, long ago."""
    rig = Rig(folder=folder, fake="grace", account=account)
    rig.vendor = vendor = LaggingVendor(rig.clock, account)
    rig.adopt()
    rig.clock.advance(DAY)
    return rig, vendor
