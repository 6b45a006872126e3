"""The demo: the ordinary commands, as child processes, on a real configuration against simulated vendors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keyturn.cli.setting_up.readme import readme
from keyturn.cli.setting_up.stage import (
    FILE,
    FILES,
    SERVED,
    Cast,
    LeftOut,
    Shelf,
    artefact_path,
    artefacts,
    on_shelf,
    on_stage,
    places,
    with_files,
)
from keyturn.clock import Clock
from keyturn.errors import KeyturnError, UsageError
from keyturn.files import private_folder, write_private
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.plugins.registry import Registry

HOLD = "2s"
FINISH_S_MAX = 40.0
PAUSE_S = 0.3
CHILD_S_MAX = 60.0
CONSUMER = "gateway"
POLICY: Mapping[str, Any] = {
    "rotate": {"every": "30d", "from": "2026-01-04"},
    "overlap": {"hold": HOLD, "accept_outage": "60s"},
    "consumers": [{"name": CONSUMER, "acknowledge": "required"}],
}


@dataclass(kw_only=True)
class Demo:
    """One run. `say` gets lines for people, the commands `bold`; `rows` is the result, one rotation each.

    A sink that does not start is left out, unless `all_sinks` are wanted.
    """

    folder: Path
    registry: Registry
    clock: Clock
    sinks: Sequence[Plugin]
    all_sinks: bool
    say: Callable[[str], None]
    bold: Callable[[str], str] = str
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    shelves: list[Shelf] = field(default_factory=list)
    _kinds: dict[str, str] = field(default_factory=dict)
    _seen_at: str = ""

    def play(self) -> list[dict[str, Any]]:
        """Everything from `init` to `audit verify`. Simulators stop whatever happens."""
        with ExitStack() as stack:
            self.type("init")
            cast = [stack.enter_context(self._simulated(plugin)) for plugin in self._vendors()]
            for plugin in self.sinks:
                self._publish_to(plugin, stack)
            self._configure(cast)
            initial = {name: each for each in cast for name in each.simulator.initial}
            for name, each in initial.items():
                self._adopt(each, name)
            self.type("check", "--online")
            self.type("plan")
            names = [one["secret"] for one in self._status()]
            first = [name for name in names if name not in initial]
            self.type("rotate", *(name for name in names if name in initial), "--yes")
            if first:
                self.type("rotate", *first, "--first", "--yes")
            self.type("status")
            self._finish()
            for name in names[:1]:
                self.type("history", name, "--limit", "12")
            self.type("audit", "verify")
            self._leave_readme(names)
        return self.rows

    # what is set up

    def _vendors(self) -> Iterator[Plugin]:
        """The first of each package: its others are much like it, and a demo takes everybody's time."""
        claims = [claim for claim in self.registry.listed() if claim.kind is Kind.PROVIDER]
        first = {claim.source.partition(".")[0]: claim.name for claim in reversed(claims)}
        for name in dict.fromkeys(claim.name for claim in claims):
            if name not in first.values():
                self.say(f"not in this demo: {name}; to see it: keyturn simulate {name}")
                continue
            try:
                plugin = self.registry.find(Kind.PROVIDER, name)
            except KeyturnError as error:
                self.say(f"left out: {error}")
                continue
            if plugin.simulator:
                yield plugin

    def _simulated(self, plugin: Plugin) -> AbstractContextManager[Cast]:
        self.say(f"simulating {plugin.name}: {plugin.summary}")
        return on_stage(plugin, self.folder)

    def _publish_to(self, plugin: Plugin, stack: ExitStack) -> None:
        try:
            self.shelves.append(stack.enter_context(on_shelf(plugin, self.folder)))
        except UsageError as error:
            if self.all_sinks:
                raise
            self.left_out.append(LeftOut.of(plugin.name, error))
            self.say(self.left_out[-1].line)
        else:
            self.say(f"publishing to {plugin.name}: {plugin.summary}")

    def _configure(self, cast: list[Cast]) -> None:
        """Complete what `init` wrote, as an operator would with an editor."""
        whole: dict[str, Any] = {"providers": {}, "sinks": {}, "secrets": {}}
        for shelf in self.shelves:
            whole["sinks"][shelf.name] = with_files(shelf.account, self._keep_logins(shelf.environment))
        for each in cast:
            configuration = with_files(each.configuration, self._keep_logins(each.simulator.environment))
            whole["providers"] |= configuration["providers"]
            self._kinds |= dict.fromkeys(configuration["providers"], each.plugin.name)
            for name, secret in configuration["secrets"].items():
                whole["secrets"][name] = {**deepcopy(POLICY), **secret, "sinks": places(each, name, self.shelves)}
        path = self.folder / "keyturn.yaml"
        write_private(path, path.read_bytes() + b"\n" + yaml.safe_dump(whole, sort_keys=False).encode())

    def _keep_logins(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The simulators' logins as private files: no child gets a value in its environment."""
        folder = private_folder(self.folder / "state" / "logins")
        for name, value in environment.items():
            write_private(folder / name, value.encode())
        return {f"env:{name}": f"file:state/logins/{name}" for name in environment}

    def _adopt(self, each: Cast, name: str) -> None:
        """Take over the value in use: from the files that consumers read, where those come first.

        The other sinks are empty; adopting copies the value there.
        """
        one = each.simulator.initial[name]
        known = [text for key in ("handle", "slot") if one.get(key) for text in (f"--{key}", str(one[key]))]
        if self.shelves[0].plugin.name != FILE:
            self.type("adopt", name, "--from-stdin", *known, stdin=json.dumps(one["bundle"]))
            return
        self._lay_out(each, name, one["bundle"])
        self.type("adopt", name, "--from-sink", FILES, *known)

    def _lay_out(self, each: Cast, name: str, bundle: Mapping[str, str]) -> None:
        """What consumers and custody have in files before Keyturn comes."""
        apart = artefacts(each, name)
        texts = {artefact_path(name, field): {field: bundle[field]} for field in apart}
        texts[self.shelves[0].path(name)] = {field: value for field, value in bundle.items() if field not in apart}
        private_folder(self.folder / SERVED)
        for path, fields in texts.items():
            file = self.folder / SERVED / path
            private_folder(file.parent)
            write_private(file, json.dumps(fields).encode())

    def _leave_readme(self, names: list[str]) -> None:
        write_private(self.folder / "README.md", readme(names, self.shelves).encode())

    # what is done

    def type(self, *args: str, stdin: str = "") -> None:
        """One ordinary command, shown with what it says."""
        self.say("\n" + self.bold(f"$ keyturn {' '.join(args)}"))
        done = self._child(args, stdin)
        self.say((done.stderr + done.stdout).rstrip())

    def _finish(self) -> None:
        """Type what `status` says until every rotation has ended, or the time is up."""
        end = self.clock.monotonic() + FINISH_S_MAX
        while True:
            secrets = self._status()
            self.rows = [self._row(one) for one in secrets]
            unfinished = [one for one in secrets if not _ended(one)]
            if not unfinished or self.clock.monotonic() > end:
                return
            for one in unfinished:
                if one["missing"]:
                    self.type(*one["next"].split()[1:])
            if not self.clock.wait(PAUSE_S) and self._may_go_on(unfinished):
                self.type("run")

    def _may_go_on(self, unfinished: list[dict[str, Any]]) -> bool:
        """Whether some hold is over, so that a run would do something."""
        return any(not one["waiting"] or (one["waiting"]["until"] or "") <= self._seen_at for one in unfinished)

    def _status(self) -> list[dict[str, Any]]:
        answer = json.loads(self._child(("status", "--json")).stdout)
        self._seen_at = answer.get("at", "")
        found: list[dict[str, Any]] = answer.get("secrets", [])
        return found

    def _row(self, one: Mapping[str, Any]) -> dict[str, Any]:
        rotation = one["rotation"] or {}
        names = ("issued", "published", "retired", "old_refused", "outage_ms")
        return {
            "secret": one["secret"],
            "provider": self._kinds.get(one["provider"], one["provider"]),
            "overlap": rotation.get("overlap"),
            "outcome": rotation.get("outcome") or one["status"],
            **{name: rotation.get(name) for name in names},
        }

    def _child(self, args: tuple[str, ...], stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "KEYTURN_CONFIG"}
        return subprocess.run(
            [sys.executable, "-P", "-m", "keyturn", *args],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=CHILD_S_MAX,
            check=False,
        )


def _ended(one: Mapping[str, Any]) -> bool:
    return bool(one["rotation"] and one["rotation"]["outcome"])
