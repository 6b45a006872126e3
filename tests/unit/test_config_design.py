"""The whole example of the design loads, against stub plugins with option types of their own."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml

from keyturn import config
from unit.config_stubs import DESIGN, NAMES, find, load_text, problems_of


@pytest.fixture
def design(tmp_path: Path) -> config.Configuration:
    return load_text(tmp_path, DESIGN)


def test_the_design_example_has_no_problems(design: config.Configuration) -> None:
    assert [str(problem) for problem in design.problems] == []
    design.require_usable()
    assert sorted(design.secrets) == [
        "gateway/sideband",
        "network/entity",
        "network/entity-token",
        "payments/circle-entity",
    ]
    assert design.broken == {}


def test_settings_stay_references_and_become_absolute(design: config.Configuration) -> None:
    assert design.journal == config.JournalSettings(kind="postgresql", url_ref="env:KEYTURN_JOURNAL")
    assert design.escrow.identities == ("file:/run/keyturn/age.key",)
    assert design.alerts == (config.AlertSettings(exec=("/opt/oncall/page",)),)
    assert design.limits.rotations_per_run == 20
    assert design.providers["sahamati"].options.check_every == 7 * 86_400


def test_schedule_and_overlap_are_plain_seconds_with_the_defaults_below(design: config.Configuration) -> None:
    secret = design.secrets["gateway/sideband"]
    assert secret.rotate.every_s == 30 * 86_400
    assert secret.rotate.from_date == date(2026, 1, 4)
    assert secret.rotate.jitter_s == 1800
    assert secret.rotate.min_age_s == 3600
    assert secret.overlap.strategy == "dual"
    assert secret.overlap.retire_window == "Mon-Thu 09:00-16:00 Europe/Berlin"
    assert design.secrets["network/entity"].overlap.strategy == "auto"
    assert design.secrets["network/entity-token"].rotate.after == ("network/entity",)


def test_fields_default_to_all_but_artefacts(design: config.Configuration) -> None:
    assert dict(design.secrets["gateway/sideband"].sinks[0].fields) == {"shared_secret": "shared_secret"}
    vault, custody = design.secrets["payments/circle-entity"].sinks
    assert dict(vault.fields) == {"entity_secret": "entity_secret"}
    assert dict(custody.fields) == {"recovery_file": "recovery_file"}
    renamed = design.secrets["network/entity"].sinks[1].fields
    assert dict(renamed) == {"entityId": "entity_id", "entitySecret": "entity_secret"}


def test_consumers_say_how_they_are_told(design: config.Configuration) -> None:
    eu, us = design.secrets["gateway/sideband"].consumers
    assert eu.acknowledge
    assert us.announce == config.Notify(
        exec=("/opt/kong/reload",), stdin="bundle", env={"KONG_TOKEN": "env:KONG_TOKEN"}
    )
    (signer,) = design.secrets["payments/circle-entity"].consumers
    assert signer.release == config.Notify(url="https://signer.internal/resume")


def test_every_reference_is_listed_with_its_place(design: config.Configuration) -> None:
    listed = {one.text: (one.path, one.scope) for one in design.references}
    assert listed["vault-eu:kv/ops/sahamati#password"] == ("providers.sahamati.password", "provider:sahamati")
    assert listed["env:KEYTURN_JOURNAL"] == ("journal.url", "all")
    assert listed["env:KONG_TOKEN"][1] == "secret:gateway/sideband"


def test_the_json_schema_takes_the_design_and_refuses_what_the_loader_refuses() -> None:
    schema = config.json_schema(find, NAMES)
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    written = yaml.load(DESIGN, Loader=_Dates)
    assert [error.message for error in check.iter_errors(written)] == []
    written["secrets"]["network/entity-token"]["rotate"]["before_expiry"] = "50%"
    assert [error.message for error in check.iter_errors(written)] == []
    written["providers"]["circle"]["wya"] = "console"
    written["secrets"]["network/entity"]["rotate"]["before_expiry"] = "soon"
    assert len(list(check.iter_errors(written))) == 2


class _Dates(yaml.SafeLoader):
    """As an editor reads it, with dates as texts."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        key: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for key, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def test_a_share_of_the_life_is_taken_as_well_as_a_time_before_the_expiry(tmp_path: Path) -> None:
    found = load_text(tmp_path, DESIGN.replace("before_expiry: 12h", "before_expiry: 12.5%"))
    token, entity = (found.secrets[name].rotate for name in ("network/entity-token", "network/entity"))
    assert (token.before_expiry_s, token.before_expiry_share) == (None, 0.125)
    assert (entity.before_expiry_s, entity.before_expiry_share) == (20 * 86_400.0, None)


def test_no_schema_key_lacks_a_description() -> None:
    schema = config.json_schema(find, NAMES)
    rotate = schema["$defs"]["RotateSection"]["properties"]
    assert all("description" in one for one in rotate.values())


def test_two_mistakes_far_apart_are_both_told(tmp_path: Path) -> None:
    text = DESIGN.replace("way: console", "wya: console").replace("strategy: dual", "strategy: dula")
    found = problems_of(tmp_path, text)
    assert {one.code for one in found} == {"unknown-key", "unknown-plugin"}
