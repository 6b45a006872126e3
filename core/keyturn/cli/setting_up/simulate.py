"""`keyturn simulate`: a vendor's simulator on loopback, until somebody stops it."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import yaml

from keyturn.cli.app import Session
from keyturn.cli.render import document
from keyturn.cli.setting_up.plugins import registry
from keyturn.errors import UsageError
from keyturn.files import write_private
from keyturn.plugins.hookspecs import Kind, Plugin

STOPPING = {signal.SIGINT, signal.SIGTERM}


class RunningSimulator(Protocol):
    """What a provider's `simulator()(options)` gives. Listens on loopback only, between `start` and `stop`."""

    def start(self) -> None:
        """Take connections on return."""

    def stop(self) -> None:
        """Take none any more."""

    @property
    def urls(self) -> list[str]:
        """Where it listens, once started."""

    @property
    def environment(self) -> dict[str, str]:
        """What the `env:` references of `configuration` resolve to: made-up logins."""

    @property
    def initial(self) -> dict[str, dict[str, Any]]:
        """By secret: `handle` and `bundle` (and `slot`) of what is in use already and can be adopted."""

    def configuration(self, folder: Path) -> dict[str, Any]:
        """`providers` and `secrets` of a configuration in `folder`, without sinks."""


def made(plugin: Plugin, options: Mapping[str, str]) -> RunningSimulator:
    """The simulator of a provider, not started. Raises UsageError `no-simulator`, `extra-missing`, `bad-option`."""
    if plugin.simulator is None:
        raise UsageError("no-simulator", f"{plugin.name} has no simulator", hint="keyturn plugins lists the providers")
    try:
        simulator: RunningSimulator = plugin.simulator()(options)
    except ImportError as error:
        hint = "pip install 'keyturn[sim]'"
        raise UsageError(
            "extra-missing", f"simulators need more packages: {error.name} is missing", hint=hint
        ) from None
    except ValueError as error:
        raise UsageError("bad-option", str(error), hint="--option NAME=VALUE, once for each") from error
    return simulator


@contextmanager
def running(simulator: RunningSimulator) -> Iterator[RunningSimulator]:
    """Started, and stopped whatever happens."""
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def simulate(session: Session, vendor: str, options: Mapping[str, str], initial: Path | None) -> None:
    """Run until SIGINT or SIGTERM. What it is called is printed once it listens."""
    plugin = registry(session).find(Kind.PROVIDER, vendor)
    simulator = made(plugin, options)
    # Before any thread starts: all of them inherit the mask, so that the signal waits for sigwait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        with running(simulator), TemporaryDirectory(prefix="keyturn-simulate-") as folder:
            if initial:
                _write_initial(initial, simulator)
            facts = _facts(vendor, simulator, Path(folder))
            session.out.write(document(session.command, 0, facts, None) if session.json else _text(facts, initial))
            session.out.flush()
            signal.sigwait(STOPPING)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write_initial(path: Path, simulator: RunningSimulator) -> None:
    bundles = {name: one["bundle"] for name, one in simulator.initial.items()}
    write_private(path, json.dumps(bundles, indent=2).encode(), new=True)


def _facts(vendor: str, simulator: RunningSimulator, folder: Path) -> dict[str, Any]:
    initial = {name: {"handle": one.get("handle")} for name, one in simulator.initial.items()}
    return {
        "vendor": vendor,
        "urls": simulator.urls,
        "environment": simulator.environment,
        "configuration": simulator.configuration(folder),
        "initial": initial,
    }


def _text(facts: Mapping[str, Any], initial: Path | None) -> str:
    lines = [f"# {facts['vendor']} is simulated at {', '.join(facts['urls'])}; stop it with Ctrl-C", ""]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in facts["environment"].items()]
    lines += ["", "# for keyturn.yaml; each secret wants sinks: besides", _as_yaml(facts["configuration"])]
    lines += [f"# {name} is in use already, as {one['handle']}" for name, one in facts["initial"].items()]
    lines += (
        [f"# their values are in {initial}"] if initial else ["# --initial FILE writes their values, to adopt them"]
    )
    return "\n".join(lines) + "\n"


def _as_yaml(data: Any) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120)
    return text


def parsed(pairs: Sequence[str]) -> dict[str, str]:
    """`K=V` options. Raises UsageError `bad-option`."""
    for pair in pairs:
        if "=" not in pair:
            raise UsageError("bad-option", f"expected NAME=VALUE, found {pair}", hint="--option servers=3")
    return dict(pair.split("=", 1) for pair in pairs)
