"""Bad input: a clear error with code, place and next step, an exit code that says the same, and nothing changed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crash.town import FIRST, SECRET, Town, town, write_private
from keyturn.clock import SystemClock
from keyturn_pingauthorize.simulator import Simulator

Change = Callable[[dict[str, Any]], None]


def changed(one: Town, change: Change) -> None:
    config = json.loads(one.config.read_text())
    change(config)
    write_private(one.config, json.dumps(config, indent=2))


def secret_of(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["secrets"][SECRET]
    return found


def refused(one: Town, code: str, exit_code: int, *argv: str, says: str = "") -> str:
    """The program refuses with this code, in text and as JSON, and the vendor has heard of no change."""
    args = argv or ("rotate", SECRET, "--yes")
    before = len(one.events())
    done = one.keyturn(*args)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert f"[{code}]" in done.stderr
    assert "next:" in done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    document = json.loads(one.keyturn(*args, "--json").stdout)
    assert document["exit_code"] == exit_code
    assert one.sim.log == []
    assert len(one.events()) == before
    return done.stderr


def unknown_key(config: dict[str, Any]) -> None:
    secret_of(config)["overlapp"] = {}


def escaping_name(config: dict[str, Any]) -> None:
    secret_of(config)["sinks"][0]["path"] = "../outside.json"


def plain_http(config: dict[str, Any]) -> None:
    config["providers"]["paz"]["servers"] = ["http://paz1.example.test:1443"]


def same_subject(config: dict[str, Any]) -> None:
    config["secrets"]["other"] = {**secret_of(config), "sinks": [{"to": "gateway", "path": "other.json"}]}


def same_place(config: dict[str, Any]) -> None:
    config["secrets"]["other"] = {**secret_of(config), "target": {"name_prefix": "other"}}


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (unknown_key, "unknown-key", "overlapp"),
        (escaping_name, "bad-value", "path"),
        (plain_http, "bad-value", "expected https://"),
        (same_subject, "one-subject", "other"),
        (same_place, "one-place", "other"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_wrong_configuration_is_named_with_file_line_and_column(
    tmp_path: Path, change: Change, code: str, says: str
) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        changed(one, change)
        said = refused(one, "config-invalid", 2, says=says)
        assert "keyturn.yaml:" in said
        checked = one.keyturn("check")
        assert checked.returncode == 2
        assert says in checked.stdout + checked.stderr
        assert code in json.dumps(json.loads(one.keyturn("check", "--json").stdout))


def test_a_duplicate_key_is_named(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        write_private(one.config, one.config.read_text().replace('"keyturn": 1,', '"keyturn": 1, "keyturn": 1,'))
        refused(one, "config-invalid", 2, says="keyturn")


def test_a_reference_that_does_not_resolve_is_named_without_its_value(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False, account={"password": "env:KEYTURN_NO_SUCH_VARIABLE"}) as one:
        done = one.keyturn("adopt", SECRET, "--from-sink", "gateway", "--handle", FIRST)
        assert done.returncode in (2, 3), done.stderr
        assert "env:KEYTURN_NO_SUCH_VARIABLE" in done.stderr
        assert one.sim.log == []


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "paz")])
    now = dt.datetime.fromtimestamp(SystemClock().now(), dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir()
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return paths


def test_a_certificate_that_does_not_verify_is_refused_and_never_trusted(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one, Simulator(servers=2, tls=certificate(tmp_path / "tls")) as tls:
        one.adopt()
        changed(one, lambda config: config["providers"]["paz"].update(servers=tls.urls))
        refused(one, "tls-unverified", 3, says="certificate")
        assert tls.log == []


def test_html_for_json_is_named(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        one.sim.fault("read", "html", times=99)
        refused(one, "not-json", 3)


def test_a_missing_journal_is_an_error_and_never_nothing_due(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        changed(one, lambda config: config["journal"].update(path="state/elsewhere.db"))
        for argv in (("run",), ("status",), ("rotate", SECRET, "--yes")):
            done = one.keyturn(*argv)
            assert done.returncode == 2, done.stdout
            assert "[journal-missing]" in done.stderr
            assert "keyturn init" in done.stderr
        assert not (one.folder / "state" / "elsewhere.db").exists()


def test_a_journal_from_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        database = sqlite3.connect(str(one.settings.path))
        (table,) = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%min_writer%'").fetchall()
        ]
        database.execute(f"UPDATE {table} SET min_writer = 999")
        database.commit()
        database.close()
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 2, done.stderr
        assert "[journal-newer]" in done.stderr
        assert one.sim.log == []


def test_a_journal_that_another_process_holds_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        holder = sqlite3.connect(str(one.settings.path), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        done = one.keyturn("rotate", SECRET, "--yes")
        holder.close()
        assert done.returncode == 6, done.stderr
        assert "[journal-busy]" in done.stderr
        assert one.sim.log == []


def test_a_full_disk_is_named_and_nothing_was_asked_of_the_vendor(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        size = one.settings.path.stat().st_size if one.settings.path else 0
        done = subprocess.run(
            [sys.executable, "-m", "keyturn", "rotate", SECRET, "--yes"],
            env=one.environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2)),
        )
        assert done.returncode == 6, done.stderr
        assert "[journal-" in done.stderr
        assert one.sim.log == []
        assert one.run_until_quiet() == "current"


def test_a_clock_that_went_backwards_is_refused(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        database = sqlite3.connect(str(one.settings.path))
        columns = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE '%newest%'"
        ).fetchall()
        assert columns, "where the journal keeps its newest time"
        database.execute(f"UPDATE {columns[0][0]} SET newest_at = newest_at + 3600")
        database.commit()
        database.close()
        done = one.keyturn("rotate", SECRET, "--yes")
        assert done.returncode == 3, done.stderr
        assert "[clock-backwards]" in done.stderr
        assert one.sim.log == []


def test_a_loose_configuration_file_is_not_read(tmp_path: Path) -> None:
    with town(tmp_path / "town", child=False) as one:
        one.adopt()
        one.config.chmod(0o666)
        refused(one, "config-mode", 2)
