"""The demo: the ordinary commands, as child processes, on a real configuration against simulated vendors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keyturn.cli.setting_up.simulate import RunningSimulator, made, running
from keyturn.clock import Clock
from keyturn.errors import KeyturnError
from keyturn.files import private_folder, write_private
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.plugins.registry import Registry

HOLD = "2s"
FINISH_S_MAX = 40.0
PAUSE_S = 0.3
CHILD_S_MAX = 60.0
SINK = "files"
CONSUMER = "gateway"
POLICY: Mapping[str, Any] = {
    "rotate": {"every": "30d", "from": "2026-01-04"},
    "overlap": {"hold": HOLD, "accept_outage": "60s"},
    "consumers": [{"name": CONSUMER, "acknowledge": "required"}],
}
README = """\
# What the demo left behind

The simulated vendors are gone, the rest is real: a configuration, a journal, an age identity, and the files that
consumers read (`served/`). In this folder try, once `keyturn` is on your path (`export PATH={path}:$PATH`):

    keyturn status
    keyturn history {name}
    keyturn audit verify
    keyturn audit export
    keyturn escrow list
    keyturn plan
    keyturn check

`keyturn simulate VENDOR` runs a vendor again; its new address goes into `keyturn.yaml`.
"""


@dataclass(frozen=True, kw_only=True)
class Cast:
    """One simulated vendor and what it wants configured."""

    plugin: Plugin
    simulator: RunningSimulator
    configuration: Mapping[str, Any]


@dataclass(kw_only=True)
class Demo:
    """One run. `say` gets lines for people, the commands `bold`; `rows` is the result, one rotation each."""

    folder: Path
    registry: Registry
    clock: Clock
    say: Callable[[str], None]
    bold: Callable[[str], str] = str
    rows: list[dict[str, Any]] = field(default_factory=list)
    _kinds: dict[str, str] = field(default_factory=dict)
    _seen_at: str = ""

    def play(self) -> list[dict[str, Any]]:
        """Everything from `init` to `audit verify`. Simulators stop whatever happens."""
        with ExitStack() as stack:
            self.type("init")
            cast = [stack.enter_context(self._on_stage(plugin)) for plugin in self._vendors()]
            self._configure(cast)
            initial = {name: one for each in cast for name, one in each.simulator.initial.items()}
            self._adopt(initial)
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
        names = [claim.name for claim in self.registry.listed() if claim.kind is Kind.PROVIDER]
        for name in dict.fromkeys(names):
            try:
                plugin = self.registry.find(Kind.PROVIDER, name)
            except KeyturnError as error:
                self.say(f"left out: {error}")
                continue
            if plugin.simulator:
                yield plugin

    def _on_stage(self, plugin: Plugin) -> _OnStage:
        self.say(f"simulating {plugin.name}: {plugin.summary}")
        return _OnStage(plugin, self.folder)

    def _configure(self, cast: list[Cast]) -> None:
        """Complete what `init` wrote, as an operator would with an editor."""
        served = private_folder(self.folder / "served")
        whole: dict[str, Any] = {
            "providers": {},
            "sinks": {SINK: {"kind": "file", "folder": served.name}},
            "secrets": {},
        }
        for each in cast:
            logins = self._keep_logins(each.simulator.environment)
            configuration = _with_files(each.configuration, logins)
            whole["providers"] |= configuration["providers"]
            self._kinds |= dict.fromkeys(configuration["providers"], each.plugin.name)
            for name, secret in configuration["secrets"].items():
                whole["secrets"][name] = {**POLICY, **secret, "sinks": _places(each, name, secret)}
        path = self.folder / "keyturn.yaml"
        write_private(path, path.read_bytes() + b"\n" + yaml.safe_dump(whole, sort_keys=False).encode())

    def _keep_logins(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The simulators' logins as private files: no child gets a value in its environment."""
        folder = private_folder(self.folder / "state" / "logins")
        for name, value in environment.items():
            write_private(folder / name, value.encode())
        return {f"env:{name}": f"file:state/logins/{name}" for name in environment}

    def _adopt(self, initial: Mapping[str, Mapping[str, Any]]) -> None:
        """Consumers read the values in use from their files; Keyturn takes them over from there."""
        for name, one in initial.items():
            file = self.folder / "served" / _file_of(name)
            private_folder(file.parent)
            write_private(file, json.dumps(one["bundle"]).encode())
            known = [text for key in ("handle", "slot") if one.get(key) for text in (f"--{key}", str(one[key]))]
            self.type("adopt", name, "--from-sink", SINK, *known)

    def _leave_readme(self, names: list[str]) -> None:
        text = README.format(name=names[0] if names else "NAME", path=Path(sys.executable).parent)
        write_private(self.folder / "README.md", text.encode())

    # what is done

    def type(self, *args: str) -> None:
        """One ordinary command, shown with what it says."""
        self.say("\n" + self.bold(f"$ keyturn {' '.join(args)}"))
        done = self._child(args)
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

    def _child(self, args: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "KEYTURN_CONFIG"}
        return subprocess.run(
            [sys.executable, "-P", "-m", "keyturn", *args],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CHILD_S_MAX,
            check=False,
        )


class _OnStage:
    """A vendor's simulator, running."""

    def __init__(self, plugin: Plugin, folder: Path) -> None:
        self._plugin, self._folder, self._stack = plugin, folder, ExitStack()

    def __enter__(self) -> Cast:
        simulator = self._stack.enter_context(running(made(self._plugin, {})))
        return Cast(plugin=self._plugin, simulator=simulator, configuration=simulator.configuration(self._folder))

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _ended(one: Mapping[str, Any]) -> bool:
    return bool(one["rotation"] and one["rotation"]["outcome"])


def _file_of(name: str) -> str:
    return f"{name}.json"


def _places(each: Cast, name: str, secret: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One file for the value, and one for each artefact."""
    artefacts = _artefacts(each, secret)
    return [
        {"to": SINK, "path": _file_of(name)},
        *({"to": SINK, "path": f"{name}.{one}", "fields": [one]} for one in artefacts),
    ]


def _artefacts(each: Cast, secret: Mapping[str, Any]) -> tuple[str, ...]:
    plugin, account = each.plugin, each.configuration["providers"][secret["provider"]]
    options = {key: value for key, value in account.items() if key != "kind"}
    made_account = plugin.account.model_validate(options) if plugin.account else None
    made_target = plugin.target.model_validate(secret.get("target", {})) if plugin.target else None
    traits: Any = plugin.traits(made_account, made_target) if plugin.traits else None
    return tuple(traits.artefacts) if traits else ()


def _with_files(data: Any, logins: Mapping[str, str]) -> Any:
    """The same configuration with `file:` references for the simulators' `env:` ones."""
    if isinstance(data, Mapping):
        return {key: _with_files(value, logins) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_with_files(value, logins) for value in data]
    return logins.get(data, data) if isinstance(data, str) else data
