"""Everything that is wrong is told at once, at its place, and stops no more than it has to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keyturn import config
from keyturn.api import Kind, Plugin, Traits
from keyturn.errors import UsageError
from unit.config_stubs import find, load_text, problems_of

HEAD = """\
keyturn: 1
journal: {kind: sqlite, path: state/journal.db}
escrow: {identities: [file:age.key]}
"""
ACCOUNTS = """\
providers:
  circle: {kind: circle, environment: live, api_key: env:KEY}
  portal: {kind: apiportal, url: https://p.internal, tenant: acme, client_id: env:A, client_secret: env:B}
sinks:
  custody: {kind: file, folder: /custody}
  aws: {kind: aws, region: eu-west-1}
"""
GOOD = """\
secrets:
  pay/one:
    provider: portal
    sinks: [{to: aws, name: one}]
"""
BASE = HEAD + ACCOUNTS + GOOD


TOO_EARLY = "keyturn: 1\njournal: {kind: postgresql, url: env:J}\nescrow: {identities: [env:K]}\n"


def secret(body: str, name: str = "pay/two") -> str:
    return BASE + f"  {name}: {body}\n"


CIRCLE = "{provider: circle, target: {canary_wallet: w}, sinks: [%s]}"
BOTH = "{to: custody, path: c, fields: [entity_secret]}, {to: custody, path: r, fields: [recovery_file]}"

CASES = {
    "a key nobody knows": (BASE + "journl: {}\n", "unknown-key", "all"),
    "no version of the format": (BASE.replace("keyturn: 1\n", ""), "missing-key", "all"),
    "another version of the format": (BASE.replace("keyturn: 1", "keyturn: 2"), "bad-value", "all"),
    "a key written twice": (BASE + "keyturn: 1\n", "duplicate-key", "all"),
    "a secret written twice": (secret("{provider: portal}", "pay/one"), "duplicate-key", "secret:pay/one"),
    "an anchor": (BASE + "limits: &a {rotations_per_run: 1}\n", "yaml-alias", "all"),
    "an alias": (BASE + "limits: *a\n", "yaml-alias", "all"),
    "a tag": (BASE + "limits: !!python/object:os.system {}\n", "yaml-tag", "all"),
    "broken YAML": (BASE + "limits: {\n", "yaml-syntax", "all"),
    "a second document": (BASE + "---\nkeyturn: 1\n", "yaml-syntax", "all"),
    "far too deep": (BASE + "limits: " + "[" * 50 + "]" * 50 + "\n", "yaml-depth", "all"),
    "a number that is not plainly one": (BASE + "limits: {rotations_per_run: 012}\n", "bad-value", "all"),
    "sqlite without a path": (BASE.replace(", path: state/journal.db", ""), "bad-value", "all"),
    "an alert to nobody": (BASE + "alerts: [{}]\n", "bad-value", "all"),
    "a recipient that is none": (BASE.replace("age.key]", "age.key], recipients: [ssh-ed25519]"), "bad-value", "all"),
    "a default nobody knows": (BASE + "defaults: {rotate: {evry: 1d}}\n", "unknown-key", "all"),
    "a vendor without TLS": (BASE.replace("https://p", "http://p"), "bad-value", "provider:portal"),
    "an unknown plugin": (BASE.replace("kind: circle", "kind: square"), "unknown-plugin", "provider:circle"),
    "an account without kind": (BASE.replace("kind: circle, ", ""), "missing-key", "provider:circle"),
    "a value in place of a reference": (BASE.replace("env:KEY", "hunter2"), "bad-value", "provider:circle"),
    "an account called like a reference form": (BASE.replace("  aws:", "  env:").replace("to: aws", "to: env"),
        "bad-name", "sink:env"),
    "a reference to no sink": (BASE.replace("env:KEY", "vlt:kv/a#b"), "unknown-sink", "provider:circle"),
    "an account that is a text": (BASE.replace("{kind: aws, region: eu-west-1}", "aws"), "bad-value", "sink:aws"),
    "a name that leaves its folder": (secret("{provider: portal}", "../etc"), "bad-name", "secret:../etc"),
    "a name in capitals": (secret("{provider: portal}", "Pay"), "bad-name", "secret:Pay"),
    "an unknown provider": (secret("{provider: prtal, sinks: [{to: aws, name: b}]}"), "unknown-provider",
        "secret:pay/two"),
    "an unknown sink": (secret("{provider: circle, sinks: [{to: was, name: b}]}"), "unknown-sink", "secret:pay/two"),
    "no sink": (secret("{provider: circle}"), "missing-key", "secret:pay/two"),
    "a place key of another sink": (secret(CIRCLE % BOTH.replace("path", "name")), "unknown-key", "secret:pay/two"),
    "a target key nobody knows": (secret((CIRCLE % BOTH).replace("wallet", "walet")), "unknown-key", "secret:pay/two"),
    "a target where none is taken": (BASE.replace("provider: portal", "provider: portal\n    target: {a: b}"),
        "unknown-key", "secret:pay/one"),
    "a field the vendor does not make": (secret(CIRCLE % BOTH.replace("fields: [", "fields: [secrt, ")),
        "unknown-field", "secret:pay/two"),
    "an artefact beside the value": (secret(CIRCLE % "{to: custody, path: c, fields: [recovery_file, entity_secret]}"),
        "artefact-not-apart", "secret:pay/two"),
    "an artefact nobody keeps": (secret(CIRCLE % "{to: custody, path: c}"), "unpublished-field", "secret:pay/two"),
    "an unknown overlap": (secret(f"{(CIRCLE % BOTH)[:-1]}, overlap: {{strategy: duel}}}}"), "unknown-plugin",
        "secret:pay/two"),
    "both calendars": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{every: 1d, cron: 1 1 * * *}}}}"), "bad-value",
        "secret:pay/two"),
    "a cron with seconds": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{cron: 0 1 1 * * *}}}}"), "bad-value",
        "secret:pay/two"),
    "a window without a zone": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{window: Sun 02:00-04:00}}}}"), "bad-value",
        "secret:pay/two"),
    "a share of nothing": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{before_expiry: 0%}}}}"), "bad-value",
        "secret:pay/two"),
    "a share of all": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{before_expiry: 100%}}}}"), "bad-value",
        "secret:pay/two"),
    "a share that is no number": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{before_expiry: abc%}}}}"), "bad-value",
        "secret:pay/two"),
    "no time before the expiry": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{before_expiry: 0s}}}}"), "bad-value",
        "secret:pay/two"),
    "after nobody": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{after: [pay/won]}}}}"), "unknown-secret",
        "secret:pay/two"),
    "after itself": (secret(f"{(CIRCLE % BOTH)[:-1]}, rotate: {{after: [pay/two]}}}}"), "after-cycle",
        "secret:pay/two"),
    "a command and a URL": (
        secret(f"{(CIRCLE % BOTH)[:-1]}, consumers: [{{name: a, announce: {{exec: [x], url: https://y}}}}]}}"),
        "bad-value", "secret:pay/two"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code", "scope"), CASES.values(), ids=CASES)
def test_it_is_told_with_a_code_a_place_and_a_reach(tmp_path: Path, text: str, code: str, scope: str) -> None:
    found = load_text(tmp_path, text)
    assert (code, scope) in [(one.code, one.scope) for one in found.problems], [str(one) for one in found.problems]
    for one in found.problems:
        assert one.file.endswith("keyturn.yaml")
        assert one.line >= 1
        assert one.message[0].islower() or not one.message[0].isalpha()
        assert not one.message.endswith(".")
    if scope == "all":
        with pytest.raises(UsageError) as caught:
            found.require_usable()
        assert (caught.value.code, caught.value.exit_code) == ("config-invalid", 2)
    else:
        found.require_usable()


def test_the_base_of_these_cases_is_good(tmp_path: Path) -> None:
    assert problems_of(tmp_path, BASE) == ()
    assert problems_of(tmp_path, secret(CIRCLE % BOTH)) == ()


def test_a_problem_stands_at_its_line_and_column_with_a_suggestion(tmp_path: Path) -> None:
    (one,) = problems_of(tmp_path, BASE.replace("region:", "regoin:").replace("eu-west-1", "x, region: eu"))
    assert (one.line, one.column) == (9, 20)
    assert one.path == "sinks.aws.regoin"
    assert one.hint == "did you mean region?"


@pytest.mark.parametrize(("written", "wanted"), [("100%", "between 0% and 100%"), ("soon", "a duration such as 20d")])
def test_a_bad_time_before_the_expiry_is_told_at_its_place(tmp_path: Path, written: str, wanted: str) -> None:
    text = BASE + f"    rotate:\n      before_expiry: {written}\n"
    (one,) = problems_of(tmp_path, text)
    assert (one.line, one.path) == (len(text.splitlines()), "secrets.pay/one.rotate.before_expiry")
    assert wanted in one.message


def test_a_value_never_shows(tmp_path: Path) -> None:
    text = BASE.replace("env:KEY", "hunter2-canary").replace("https://p.internal", "https://u:hunter2-canary@p")
    text = text.replace("sinks: [{to: aws, name: one}]", "sinks: [{to: aws, name: [hunter2-canary]}]")
    found = load_text(tmp_path, text)
    assert len(found.problems) == 3
    assert "hunter2" not in repr(found.problems)


def test_an_error_in_a_secret_stops_only_that_secret(tmp_path: Path) -> None:
    found = load_text(tmp_path, secret("{provider: circle}"))
    assert list(found.secrets) == ["pay/one"]
    assert list(found.broken) == ["pay/two"]
    found.require(["pay/one"])
    with pytest.raises(UsageError, match="pay/two"):
        found.require(["pay/one", "pay/two"])


def test_an_error_in_an_account_stops_what_uses_it(tmp_path: Path) -> None:
    text = secret(CIRCLE % BOTH).replace("region: eu-west-1", "region: eu, retries: yes")
    found = load_text(tmp_path, text)
    assert list(found.secrets) == ["pay/two"]
    assert [one.path for one in found.broken["pay/one"]] == ["sinks.aws.retries"]


def test_all_scalars_stay_text_for_plugins(tmp_path: Path) -> None:
    text = secret((CIRCLE % BOTH).replace("canary_wallet: w", "canary_wallet: 012345"))
    assert load_text(tmp_path, text).secrets["pay/two"].target.canary_wallet == "012345"
    text = BASE.replace("region: eu-west-1", "region: no")
    assert load_text(tmp_path, text).sinks["aws"].options.region == "no"


@pytest.mark.parametrize(("written", "good"), [("true", True), ("yes", False), ("1", False), ("True", False)])
def test_truth_values_are_true_or_false_only(tmp_path: Path, written: str, good: bool) -> None:
    account = f"  s: {{kind: sahamati, environment: sandbox, username: env:A, password: env:B, strict: {written}}}\n"
    assert (problems_of(tmp_path, BASE.replace("providers:\n", "providers:\n" + account)) == ()) is good


def test_two_secrets_with_one_subject_are_both_stopped(tmp_path: Path) -> None:
    found = load_text(tmp_path, secret("{provider: portal, sinks: [{to: aws, name: two}]}"))
    assert {(one.code, one.scope) for one in found.problems} == {
        ("one-subject", "secret:pay/one"),
        ("one-subject", "secret:pay/two"),
    }
    first, second = found.problems
    assert f"pay/one at {second.file}:{second.line}" in first.message
    assert not found.secrets


def test_two_bindings_with_one_place_are_both_stopped(tmp_path: Path) -> None:
    found = load_text(tmp_path, secret(CIRCLE % f"{{to: aws, name: one}}, {BOTH}"))
    assert [one.code for one in found.problems] == ["one-place", "one-place"]
    assert set(found.broken) == {"pay/one", "pay/two"}


def test_one_secret_may_not_write_one_place_twice(tmp_path: Path) -> None:
    text = BASE.replace("[{to: aws, name: one}]", "[{to: aws, name: one}, {to: aws, name: one}]")
    assert {one.code for one in problems_of(tmp_path, text)} == {"one-place"}


ALIAS = "  same: {kind: aws, region: eu-west-1}\n"


@pytest.mark.parametrize("reference", ["aws:one#key", "same:one#key"])
def test_an_account_may_not_need_what_only_it_can_publish(tmp_path: Path, reference: str) -> None:
    text = BASE.replace("client_secret: env:B", f"client_secret: {reference}")
    found = load_text(tmp_path, text.replace("sinks:\n", "sinks:\n" + ALIAS, 1))
    assert {one.code for one in found.problems} == {"credential-cycle"}
    assert "provider:portal" in {one.scope for one in found.problems}
    assert "pay/one" in found.broken


def test_a_sink_may_not_read_its_own_credential_from_itself(tmp_path: Path) -> None:
    vault = "  v: {kind: vault, url: https://v, mount: kv, auth: {token: v:ops/token#token}}\n"
    (one,) = problems_of(tmp_path, BASE.replace("sinks:\n", "sinks:\n" + vault, 1))
    assert (one.code, one.scope) == ("credential-cycle", "sink:v")


@pytest.mark.parametrize(
    ("old", "new"),
    [("url: env:J", "url: aws:one#key"), ("identities: [env:K]", "identities: [aws:one#key]")],
    ids=["journal", "escrow"],
)
def test_journal_and_escrow_may_not_read_a_sink_since_they_are_opened_first(tmp_path: Path, old: str, new: str) -> None:
    assert old in TOO_EARLY
    (one,) = problems_of(tmp_path, TOO_EARLY.replace(old, new) + ACCOUNTS + GOOD)
    assert (one.code, one.scope) == ("reference-too-early", "all")


def test_a_reference_to_what_is_no_place_of_its_sink_is_refused(tmp_path: Path) -> None:
    def deaf(kind: Kind, name: str) -> Plugin:
        plugin = find(kind, name)
        return replace(plugin, place=None) if name == "aws" else plugin

    path = tmp_path / "keyturn.yaml"
    path.write_text(BASE.replace("env:KEY", "aws:one#key"))
    found = config.load(config.read(path), deaf)
    assert [(one.code, one.scope) for one in found.problems] == [("reference-unreadable", "provider:circle")]


def test_a_credential_that_another_account_rotates_is_no_circle(tmp_path: Path) -> None:
    assert problems_of(tmp_path, BASE.replace("env:KEY", "aws:one#key")) == ()


def test_a_circle_of_after_names_every_secret_in_it(tmp_path: Path) -> None:
    text = secret((CIRCLE % BOTH)[:-1] + ", rotate: {after: [pay/one]}}")
    text = text.replace("provider: portal\n", "provider: portal\n    rotate: {after: [pay/two]}\n")
    found = load_text(tmp_path, text)
    assert {(one.code, one.scope) for one in found.problems} == {
        ("after-cycle", "secret:pay/one"),
        ("after-cycle", "secret:pay/two"),
    }


def test_a_plugin_that_breaks_stops_only_what_uses_it(tmp_path: Path) -> None:
    def explode(*_: object) -> Traits:
        raise KeyError("hunter2-canary")

    def broken(kind: Kind, name: str) -> Plugin:
        plugin = find(kind, name)
        return replace(plugin, traits=explode) if name == "circle" else plugin

    path = tmp_path / "keyturn.yaml"
    path.write_text(secret(CIRCLE % BOTH))
    found = config.load(config.read(path), broken)
    assert [(one.code, one.scope) for one in found.problems] == [("plugin-broken", "secret:pay/two")]
    assert "hunter2" not in repr(found.problems)
    assert list(found.secrets) == ["pay/one"]


def test_a_calendar_of_its_own_replaces_that_of_the_defaults(tmp_path: Path) -> None:
    text = BASE + "defaults: {rotate: {every: 30d, from: 2026-01-01, jitter: 5m}}\n"
    text = text.replace("provider: portal\n", 'provider: portal\n    rotate: {cron: "0 1 * * 0"}\n')
    rotate = load_text(tmp_path, text).secrets["pay/one"].rotate
    assert (rotate.every_s, rotate.cron, rotate.jitter_s) == (None, "0 1 * * 0", 300.0)


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    text = BASE.replace("folder: /custody", "folder: custody") + "alerts: [{exec: [./page, now]}, {exec: [mail]}]\n"
    text = text.replace("{to: aws, name: one}", "{to: aws, name: one}, {to: custody, path: c, template: t.j2}")
    found = load_text(tmp_path, text + "plugins: [own/p.py]\n")
    assert found.problems == ()
    assert found.journal.path == tmp_path / "state/journal.db"
    assert found.sinks["custody"].options.folder == tmp_path / "custody"
    assert found.alerts[0].exec == (str(tmp_path / "page"), "now")
    assert found.alerts[1].exec == ("mail",)
    assert found.secrets["pay/one"].sinks[1].place.template == tmp_path / "t.j2"
    assert found.plugins == (tmp_path / "own/p.py",)
