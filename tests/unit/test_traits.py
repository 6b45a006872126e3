"""Traits that contradict themselves are told so, one line each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keyturn.model import Field, Maker, Rate, Recipe, Revoke, Slot, Traits
from keyturn.testing.fakes import FAKES
from keyturn.traits import validate_traits

KEY = Field(name="key", by=Maker.US)
SOUND = Traits(fields=(KEY,), live_max=None, grace_s=None, revoke=Revoke.REFUSE)
USER = Field(name="user", by=Maker.SLOT, sensitive=False)
A, B = Slot(name="a", fixed={"user": "app_a"}), Slot(name="b", fixed={"user": "app_b"})
SLOTTED = replace(SOUND, fields=(KEY, USER), live_max=2, slots=(A, B))


def recipe(**parts: Any) -> dict[str, Any]:
    return {"fields": (replace(KEY, recipe=Recipe(**parts)),)}


CONTRADICTIONS: dict[str, tuple[Traits, dict[str, Any], str]] = {
    "two fields of one name": (SOUND, {"fields": (KEY, KEY)}, "two fields have one name"),
    "nothing secret": (SOUND, {"fields": (replace(KEY, sensitive=False),)}, "no sensitive field"),
    "an artefact of ours": (SOUND, {"fields": (KEY, Field(name="f", by=Maker.US, artefact=True))}, "artefact"),
    "a recipe for the vendor": (
        SOUND,
        {"fields": (KEY, Field(name="v", by=Maker.VENDOR, recipe=Recipe()))},
        "only a field that we make",
    ),
    "a recipe of no characters": (SOUND, recipe(length=0), "at least one character"),
    "a recipe of one letter": (SOUND, recipe(alphabet="aa"), "two different characters"),
    "a recipe that forbids its prefix": (SOUND, recipe(prefix="sk_", forbid_prefix="sk"), "forbids its own prefix"),
    "fields of a slot without slots": (SOUND, {"fields": (KEY, USER)}, "there are none"),
    "one slot": (SLOTTED, {"slots": (A,)}, "at least two"),
    "two slots of one name": (SLOTTED, {"slots": (A, A)}, "names of their own"),
    "slots without a limit": (SLOTTED, {"live_max": None}, "slots need a live_max"),
    "more live than slots": (SLOTTED, {"live_max": 3}, "slots need a live_max"),
    "slots that issue ends": (SLOTTED, {"grace_s": 0.0}, "issue may not end the old version"),
    "a slot of other fields": (SLOTTED, {"slots": (A, Slot(name="b"))}, "slot b: fixes other fields"),
    "none live": (SOUND, {"live_max": 0}, "live_max is at least 1"),
    "a grace in place": (SOUND, {"live_max": 1, "grace_s": 60.0}, "live_max is not 1"),
    "nothing revocable": (SOUND, {"revoke": Revoke.NONE}, "must be revocable"),
    "an answer that commits nothing": (SOUND, {"answer_is_commit": True}, "answer_is_commit"),
    "a negative time": (SOUND, {"settle_s": -1.0}, "settle_s is negative"),
    "no probes": (SOUND, {"probes_max": 0}, "probes_max is at least 1"),
    "a rate of nothing": (SOUND, {"rates": (Rate(calls=0, per_s=1.0),)}, "a rate needs"),
}


@pytest.mark.parametrize(("traits", "change", "text"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_contradiction_is_named(traits: Traits, change: dict[str, Any], text: str) -> None:
    found = validate_traits(replace(traits, **change))
    assert any(text in line for line in found), found


@pytest.mark.parametrize("traits", [SOUND, SLOTTED], ids=["open", "slots"])
def test_sound_traits_have_nothing_wrong(traits: Traits) -> None:
    assert validate_traits(traits) == []


@pytest.mark.parametrize("fake", sorted(FAKES))
def test_the_traits_of_every_fake_are_sound(fake: str) -> None:
    plugin = FAKES[fake].plugin
    assert plugin.traits
    assert plugin.account
    target = plugin.target(name="main") if plugin.target else None
    declared: Any = plugin.traits(plugin.account.model_construct(), target)
    assert validate_traits(declared) == []
