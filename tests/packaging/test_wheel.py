"""What a user installs: the wheel, its entry points, and plugins of others beside it."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
FOLDERS = ("core", "providers", "sinks")
PACKAGES = {path.parent.name for folder in FOLDERS for path in (ROOT / folder).glob("*/__init__.py")}
ASK = """
import sys
sys.path.append(sys.argv[1])
from keyturn.errors import UsageError
from keyturn.plugins.hookspecs import Kind
from keyturn.plugins.registry import Registry
registry = Registry()
print(sorted(claim.owner for claim in registry.listed() if claim.name == "acme"))
try:
    registry.find(Kind.PROVIDER, "acme")
except UsageError as error:
    print(error.code, error.message)
print("acme_hook" in sys.modules, "keyturn_file" in sys.modules)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=ROOT, check=True, capture_output=True, timeout=60)
    (built,) = out.glob("*.whl")
    return zipfile.Path(built)


def test_the_wheel_holds_the_packages_at_its_top_and_nothing_else(wheel: zipfile.Path) -> None:
    assert {"keyturn", "keyturn_file", "keyturn_pingauthorize"} <= PACKAGES
    tops = {path.name for path in wheel.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == PACKAGES
    assert (wheel / "keyturn" / "py.typed").exists()
    assert (wheel / "keyturn" / "testing" / "sink_contract.py").exists()
    assert not [name for name in wheel.root.namelist() if "test_" in name.rsplit("/", 1)[-1]]


def test_every_entry_point_of_the_wheel_names_a_module_in_it(wheel: zipfile.Path) -> None:
    (info,) = [path for path in wheel.iterdir() if path.name.endswith(".dist-info")]
    points = configparser.ConfigParser()
    points.read_string((info / "entry_points.txt").read_text())
    assert {"keyturn.providers", "keyturn.sinks", "keyturn.overlaps"} <= set(points.sections())
    names = set(wheel.root.namelist())
    for group in points.sections():
        for target in points[group].values():
            module = target.split(":")[0].replace(".", "/")
            assert names & {f"{module}.py", f"{module}/__init__.py"}, target


def test_two_installed_plugins_of_one_name_are_refused_by_name_and_neither_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("keyturn-acme", "acme-typo"):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[keyturn.providers]\nacme = acme_hook\n")
    (tmp_path / "acme_hook.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    owners, refusal, imported = asked.stdout.splitlines()
    assert owners == "['acme-typo 1.0', 'keyturn-acme 1.0']"
    assert refusal.startswith("plugin-clash")
    assert "acme-typo 1.0" in refusal
    assert "keyturn-acme 1.0" in refusal
    assert imported == "False False"
    assert not ran.exists()
