"""Values made by recipe: of its alphabet, of its length, without bias, never beginning as forbidden."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn import mint
from keyturn.model import URL_SAFE, Field, Maker, Recipe, Slot, Traits
from keyturn.secret import Bundle

SEED = 20_260_104
DRAWS = 20_000
CHI_SQUARE_AT_1_IN_1000 = {2: 10.83, 10: 27.88, 62: 100.9, 64: 103.4, 200: 266.4}
"""The value that a fair draw from so many letters exceeds once in a thousand runs."""


def entropy(seed: int = SEED) -> mint.Entropy:
    return random.Random(seed).randbytes


def made(recipe: Recipe, seed: int = SEED) -> str:
    return mint.make(recipe, entropy(seed)).reveal()


often = settings(max_examples=40, deadline=None)
recipes = st.builds(
    Recipe,
    alphabet=st.sampled_from([URL_SAFE, "01", "abcdef0123456789", "äöü€"]),
    length=st.integers(1, 80),
    prefix=st.sampled_from(["", "kt_", "-"]),
)


@often
@given(recipes, st.integers(0, 1000))
def test_a_value_has_the_prefix_the_length_and_only_letters_of_the_alphabet(recipe: Recipe, seed: int) -> None:
    text = made(recipe, seed)
    assert text.startswith(recipe.prefix)
    drawn = text.removeprefix(recipe.prefix)
    assert len(drawn) == recipe.length
    assert set(drawn) <= set(recipe.alphabet)


@pytest.mark.parametrize("letters", CHI_SQUARE_AT_1_IN_1000)
def test_every_letter_is_as_likely_as_any_other(letters: int) -> None:
    alphabet = "".join(chr(0x100 + number) for number in range(letters))
    counts = Counter(made(Recipe(alphabet=alphabet, length=DRAWS)))
    expected = DRAWS / letters
    chi_square = sum((counts[letter] - expected) ** 2 / expected for letter in alphabet)
    assert chi_square < CHI_SQUARE_AT_1_IN_1000[letters]


@often
@given(st.integers(0, 1000))
def test_a_value_never_begins_as_the_recipe_forbids(seed: int) -> None:
    assert not made(Recipe(alphabet="ab", length=3, forbid_prefix="a"), seed).startswith("a")


def test_values_of_the_default_recipe_differ() -> None:
    assert len({made(Recipe(), seed) for seed in range(200)}) == 200


TRAITS = Traits(
    fields=(
        Field(name="key", by=Maker.US, recipe=Recipe(length=20)),
        Field(name="user", by=Maker.SLOT, sensitive=False),
        Field(name="region", by=Maker.FIXED, value="eu", sensitive=False),
        Field(name="secret", by=Maker.VENDOR),
        Field(name="recovery", by=Maker.VENDOR, artefact=True),
    ),
    live_max=2,
    grace_s=None,
    slots=(Slot(name="a", fixed={"user": "app_a"}), Slot(name="b", fixed={"user": "app_b"})),
)


def test_our_bundle_has_our_fields_those_of_the_slot_and_the_fixed_ones() -> None:
    bundle = mint.ours(TRAITS, "b", entropy()).reveal()
    assert bundle.keys() == {"key", "user", "region"}
    assert (bundle["user"], bundle["region"], len(bundle["key"])) == ("app_b", "eu", 20)


def test_a_made_up_value_looks_like_the_real_one_and_shares_no_secret_with_it() -> None:
    real = Bundle({"key": "k" * 20, "user": "app_a", "region": "eu", "secret": "s" * 33, "recovery": "r"})
    decoy = mint.decoy(TRAITS, real, entropy()).reveal()
    assert decoy.keys() == {"key", "user", "region", "secret"}
    assert (decoy["user"], decoy["region"]) == ("app_a", "eu")
    assert (len(decoy["key"]), len(decoy["secret"])) == (20, 33)
    assert decoy["key"] != "k" * 20
    assert decoy["secret"] != "s" * 33
