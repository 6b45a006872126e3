"""Every command's JSON document is as its schema says: one document, nothing unknown in it, nothing missing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from cli.rig import PROGRAM, estate
from cli.test_looking import KONG, adopt
from keyturn.cli.app import COMMANDS
from keyturn_pingauthorize.simulator import SECRET
from program import Ran

SCHEMAS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "schemas").glob("*.json")
}
REGISTRY: Registry[Any] = Registry().with_resources(
    [(f"{name}.json", Resource.from_contents(schema)) for name, schema in SCHEMAS.items()]
)
ELSEWHERE = {"demo", "simulate", "plugin"}
"""The first has a test of its own, the second is below; what the third prints is the plugin's own."""

LIFE = (
    ("status", "status"),
    ("plan", "plan"),
    ("check", "check --online"),
    ("run", "run"),
    ("adopt", f"adopt {SECRET} --from-sink custody"),
    ("check", "check --online"),
    ("history", f"history {SECRET}"),
    ("rotate", f"rotate {SECRET} --yes"),
    ("status", "status"),
    ("run-dry-run", "run --dry-run"),
    ("ack", f"ack {SECRET} --version 2 --consumer kong"),
    ("hold", f"hold {SECRET} --until 2h --reason slow"),
    ("rollback", f"rollback {SECRET} --reason test"),
    ("abandon", f"abandon {SECRET} --reason test"),
    ("status", "status"),
    ("resume", f"resume {SECRET}"),
    ("recover", f"recover {SECRET} --reason test --yes"),
    ("repair", f"repair {SECRET}"),
    ("pause", f"pause {SECRET} --until 1h --reason holiday"),
    ("status", "status --fail-on paused"),
    ("run", "run"),
    ("audit-verify", "audit verify"),
    ("audit-heads", "audit heads"),
    ("audit-export", "audit export --out export.jsonl"),
    ("escrow-list", "escrow list"),
    ("escrow-open", f"escrow open {SECRET} --out value.json --reason test"),
    ("plugins", "plugins"),
    ("plugins-verbose", "plugins --verbose sink file"),
    ("schema", "schema"),
    ("init", "init --folder another"),
    ("error", "history nobody"),
    ("error", "status --sideways"),
    ("error", "nonsense"),
)
"""The life of one secret: the schema, and what is typed."""


def conforms(name: str, document: Any) -> None:
    """Raises ValidationError where the document is not as the schema says."""
    Draft202012Validator(SCHEMAS[name], registry=REGISTRY).validate(document)


def silent(ran: Ran) -> Any:
    """The one document; nothing else is said anywhere."""
    assert ran.err == ""
    document = json.loads(ran.out)
    assert document["exit_code"] == ran.code
    return document


def test_every_document_in_the_life_of_a_secret_is_as_its_schema_says(tmp_path: Path) -> None:
    with estate(tmp_path, overlap={"hold": "1h"}, consumers=KONG) as rig:
        for name, typed in LIFE:
            if name == "adopt":
                adopt(rig)
            document = silent(rig.run(*typed.split(), "--json"))
            conforms(name, document)
            assert rig.initial not in json.dumps(document)


def test_every_command_has_a_schema_and_its_document_is_checked() -> None:
    checked = {typed.split()[0] for _, typed in LIFE}
    assert set(COMMANDS) - ELSEWHERE <= checked
    assert {name for name, _ in LIFE} | {"common", "demo", "simulate"} == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schemas_themselves_are_sound_and_closed(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    if name != "common":
        assert SCHEMAS[name]["additionalProperties"] is False


def test_a_running_simulator_prints_its_document_first(tmp_path: Path) -> None:
    command = [*PROGRAM, "simulate", "pingauthorize", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            conforms("simulate", json.loads("".join(iter(child.stdout.readline, "}\n")) + "}"))
        finally:
            child.terminate()
            assert child.wait(20) == 0
