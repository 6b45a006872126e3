"""Wrong configurations of API portals: told at once, with their line, and nothing is asked of anybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cli.hand import configured, put
from portals.partners import SECRET, Partners, partners

ACCOUNT, MANAGED = "providers.portal", f"secrets.{SECRET}"

ONCE: dict[str, tuple[str, str, Callable[[Partners], dict[str, Any]], str]] = {
    "no proxies": ("patch", ACCOUNT, lambda _: {"proxies": []}, "proxies"),
    "a proxy twice": ("patch", ACCOUNT, lambda one: {"proxies": [one.proxies[0]] * 2}, "each proxy once"),
    "no tenant": ("patch", ACCOUNT, lambda _: {"tenant": None}, "tenant is missing"),
    "a login in clear": ("patch", ACCOUNT, lambda _: {"client_secret": "hunter2"}, "expected a reference"),
    "an unknown way": (
        "patch",
        f"{MANAGED}.target",
        lambda _: {"way": "post"},
        "'patch', 'put', 'legacy' or 'second-key'",
    ),
    "no key in place": ("patch", f"{MANAGED}.target", lambda _: {"api_key": None}, "api_key"),
    "keys_max in place": ("patch", f"{MANAGED}.target", lambda _: {"keys_max": "3"}, "goes with way second-key"),
    "a typo": ("patch", f"{MANAGED}.target", lambda _: {"aplication": "x"}, "did you mean application?"),
    "no gateways": ("slots", ACCOUNT, lambda _: {"gateways": []}, "gateways"),
    "a gateway twice": ("same-id", ACCOUNT, lambda one: {"gateways": [one.proxies[0]] * 2}, "every gateway once"),
    "no probe path": ("slots", f"{MANAGED}.target", lambda _: {"probe_path": None}, "probe_path is missing"),
    "a slot of no name": ("slots", f"{MANAGED}.target", lambda _: {"in_use": "third"}, "'primary' or 'secondary'"),
}


@pytest.fixture(scope="module")
def teams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Partners]]:
    folder = tmp_path_factory.mktemp("bad")
    with (
        partners(folder / "a", "patch") as a,
        partners(folder / "b", "slots") as b,
        partners(folder / "c", "same-id") as c,
    ):
        yield {"patch": a, "slots": b, "same-id": c}


@pytest.mark.parametrize(("way", "place", "wrong", "says"), ONCE.values(), ids=list(ONCE))
def test_a_wrong_configuration_is_told_with_its_line(
    teams: dict[str, Partners], way: str, place: str, wrong: Callable[[Partners], dict[str, Any]], says: str
) -> None:
    one = teams[way]
    one.configure()
    configured(one, put(place, **wrong(one)))
    ran = one.keyturn("check")
    assert ran.code == 2, ran.said
    assert says in ran.said
    assert re.search(r"keyturn\.yaml:\d+:\d+", ran.said), ran.said
    assert "hunter2" not in ran.said
    one.configure()
    assert one.keyturn("check").code in (0, 8)


@pytest.mark.parametrize("way", ["patch", "slots", "same-id"])
def test_two_secrets_are_never_one_at_the_portal(teams: dict[str, Partners], way: str) -> None:
    one = teams[way]
    one.configure()

    def twice(config: dict[str, Any]) -> None:
        again = {**config["secrets"][SECRET], "sinks": [{"to": "served", "path": "again.json"}]}
        config["secrets"]["partners/again"] = again

    configured(one, twice)
    ran = one.keyturn("check")
    assert (ran.code, "the same subject at the vendor" in ran.said) == (2, True), ran.said
