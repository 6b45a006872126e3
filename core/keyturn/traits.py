"""Whether declared traits can be true together. Pure; the registry, `check` and the contract suite ask it."""

from __future__ import annotations

import re

from keyturn.model import Field, Maker, Recipe, Revoke, Traits

LETTERS_MAX = 256


def validate_traits(traits: Traits) -> list[str]:
    """What contradicts itself in these traits, one line each; empty when they are sound."""
    return [
        *_fields(traits.fields),
        *_slots(traits),
        *_overlap(traits),
        *_numbers(traits),
    ]


def _fields(fields: tuple[Field, ...]) -> list[str]:
    found: list[str] = []
    names = [field.name for field in fields]
    if len(set(names)) != len(names):
        found.append("two fields have one name")
    if not any(not field.artefact and field.sensitive for field in fields):
        found.append("no sensitive field: there is nothing to rotate")
    for field in fields:
        found += [f"field {field.name}: {text}" for text in _field(field)]
    return found


def _field(field: Field) -> list[str]:
    found: list[str] = []
    if field.artefact and field.by is not Maker.VENDOR:
        found.append("an artefact comes out of issue, so the vendor makes it")
    if field.recipe and field.by is not Maker.US:
        found.append("only a field that we make has a recipe")
    if field.recipe:
        found += _recipe(field.recipe)
    if field.pattern and not field.artefact:
        found.append("a pattern is for an artefact: nobody hands in another field")
    if not _compiles(field.pattern):
        found.append("its pattern is no regular expression")
    return found


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _recipe(recipe: Recipe) -> list[str]:
    found: list[str] = []
    if recipe.length < 1:
        found.append("a recipe makes at least one character")
    if len(set(recipe.alphabet)) < 2:  # noqa: PLR2004 - one letter is no choice
        found.append("a recipe needs two different characters to choose from")
    if len(recipe.alphabet) > LETTERS_MAX or len(set(recipe.alphabet)) != len(recipe.alphabet):
        found.append(f"an alphabet is {LETTERS_MAX} different characters at most, each once: a draw is one byte")
    if recipe.forbid_prefix and recipe.prefix.startswith(recipe.forbid_prefix):
        found.append("a recipe forbids its own prefix")
    return found


def _slots(traits: Traits) -> list[str]:
    by_slot = {field.name for field in traits.fields if field.by is Maker.SLOT}
    if not traits.slots:
        return ["fields come from a slot, and there are none"] if by_slot else []
    found: list[str] = []
    if len({slot.name for slot in traits.slots}) < max(2, len(traits.slots)):
        found.append("slots are used in turn: at least two, with names of their own")
    if traits.live_max is None or not 2 <= traits.live_max <= len(traits.slots):  # noqa: PLR2004 - old and new
        found.append("slots need a live_max of at least 2, and no more than there are slots")
    if traits.dies_by_issue:
        found.append("with slots, issue may not end the old version")
    found += [
        f"slot {s.name}: fixes other fields than those made by the slot"
        for s in traits.slots
        if set(s.fixed) != by_slot
    ]
    return found


def _overlap(traits: Traits) -> list[str]:
    unending = traits.coexist and traits.revoke is Revoke.NONE and not traits.own_expiry
    ended = traits.dies_by_issue or traits.revoke is not Revoke.NONE
    wrong = {
        "live_max is at least 1": traits.live_max is not None and traits.live_max < 1,
        "with a grace, two versions live at once: live_max is not 1": traits.live_max == 1 and traits.grace_s,
        "where old and new coexist, the old one must be revocable, or end by its own expiry": unending,
        "own_expiry is for versions that neither issue nor a call can end": traits.own_expiry and ended,
        "own_expiry needs derived_s: the longest life of a version that does not say when it ends": traits.own_expiry
        and not traits.derived_s,
        "reset_by names artefacts": not set(traits.reset_by) <= set(traits.artefacts),
        "watch_s is for vendors that refuse a version first and remove it later": traits.watch_s
        and traits.revoke is not Revoke.REFUSE_REMOVE,
    }
    in_place = {
        "grace_max_s": traits.grace_max_s,
        "attended": traits.attended,
        "answer_is_commit": traits.answer_is_commit,
    }
    found = [text for text, holds in wrong.items() if holds]
    return found + [
        f"{name} is for vendors where issue ends the old version"
        for name, given in in_place.items()
        if given and traits.coexist
    ]


def _numbers(traits: Traits) -> list[str]:
    times = {
        "grace_s": traits.grace_s or 0.0,
        "activation_s": traits.activation_s,
        "revocation_s": traits.revocation_s,
        "grace_max_s": traits.grace_max_s,
        "settle_s": traits.settle_s,
        "settle_every_s": traits.settle_every_s,
        "life_min_s": traits.life_min_s,
        "check_every_s": traits.check_every_s or 0.0,
        "derived_s": traits.derived_s,
        "min_age_s": traits.min_age_s,
        "patience_s": traits.patience_s,
        "probe_every_s": traits.probe_every_s,
        "watch_s": traits.watch_s,
    }
    found = [f"{name} is negative" for name, value in times.items() if value < 0]
    if traits.probes_max < 1:
        found.append("probes_max is at least 1: a version is never published unproven")
    found += [
        "a rate needs calls, per_s and burst above 0" for r in traits.rates if min(r.calls, r.per_s, r.burst) <= 0
    ]
    return found
