"""`overlap: {bridge: [...]}` names secrets that are derived from this one, where there is an end to bridge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keyturn import config
from keyturn.api import Field, Kind, Maker, Plugin, Traits
from unit.config_stubs import find

TEXT = """\
keyturn: 1
journal: {kind: sqlite, path: state/journal.db}
escrow: {identities: [file:age.key]}
providers:
  saha: {kind: sahamati, environment: sandbox, username: env:USER, password: env:PASSWORD}
sinks:
  custody: {kind: file, folder: /custody}
secrets:
  net/entity:
    provider: saha
    target: {entity_id: fiu-demo}
    overlap: {bridge: [NAMED]}
    sinks: [{to: custody, path: entity.json}]
  net/token:
    provider: saha
    target: {token_of: net/entity}
    sinks: [{to: custody, path: token.json}]
  net/other:
    provider: saha
    target: {entity_id: fip-demo}
    sinks: [{to: custody, path: other.json}]
"""
LINE, COLUMN = 12, 24


def derived(kind: Kind, name: str) -> Plugin:
    """The stub of Sahamati, whose issue ends the old secret, and whose token is derived from that."""
    plugin = find(kind, name)
    if (kind, name) != (Kind.PROVIDER, "sahamati"):
        return plugin
    entity = Traits(fields=(Field(name="entity_secret", by=Maker.VENDOR),), live_max=1, grace_s=0.0)
    token = Traits(fields=(Field(name="token", by=Maker.VENDOR),), live_max=None, grace_s=None, own_expiry=True)
    return replace(
        plugin,
        traits=lambda _, target: token if target.token_of else entity,
        source=lambda _, target: target.token_of,
    )


def loaded(folder: Path, text: str) -> config.Configuration:
    path = folder / "keyturn.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return config.load(config.read(path), derived)


def test_a_derived_secret_bridges_its_source(tmp_path: Path) -> None:
    found = loaded(tmp_path, TEXT.replace("NAMED", "net/token"))
    assert found.problems == ()
    assert found.secrets["net/entity"].overlap.bridge == ("net/token",)
    assert found.secrets["net/token"].source == "net/entity"


@pytest.mark.parametrize(
    ("named", "code", "hint"),
    [
        ("net/tokens", "unknown-secret", "net/token"),
        ("net/other", "bridge-underived", "name one of: net/token"),
        ("net/entity", "bridge-underived", "name one of: net/token"),
    ],
)
def test_anything_else_is_told_at_its_place(tmp_path: Path, named: str, code: str, hint: str) -> None:
    [problem] = loaded(tmp_path, TEXT.replace("NAMED", named)).problems
    assert (problem.code, problem.line, problem.column) == (code, LINE, COLUMN)
    assert hint in problem.hint
    assert problem.scope == "secret:net/entity"


def test_where_old_and_new_live_side_by_side_there_is_nothing_to_bridge(tmp_path: Path) -> None:
    text = TEXT.replace("{token_of: net/entity}", "{token_of: net/entity}\n    overlap: {bridge: [net/other]}")
    found = loaded(tmp_path, text.replace("NAMED", "net/token"))
    assert {one.code for one in found.problems if one.scope == "secret:net/token"} >= {"bridge-needless"}
