"""Making values: ours by recipe, and made-up ones that a vendor must refuse. Entropy is an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keyturn.model import Field, Maker, Recipe, Traits
from keyturn.secret import Bundle, Secret

Entropy = Callable[[int], bytes]


def make(recipe: Recipe, entropy: Entropy) -> Secret:
    """One value by its recipe. Every character is drawn without bias."""
    while True:
        text = recipe.prefix + "".join(_draw(recipe.alphabet, entropy) for _ in range(recipe.length))
        if not recipe.forbid_prefix or not text.startswith(recipe.forbid_prefix):
            return Secret(text)


def _draw(alphabet: str, entropy: Entropy) -> str:
    limit = 256 - 256 % len(alphabet)
    while True:
        byte = entropy(1)[0]
        if byte < limit:
            return alphabet[byte % len(alphabet)]


def given(traits: Traits, slot: str | None) -> dict[str, str]:
    """The fields that need no making: fixed ones, and those of the slot."""
    fixed = {field.name: field.value for field in traits.fields if field.by is Maker.FIXED}
    of_slot: Mapping[str, str] = next((s.fixed for s in traits.slots if s.name == slot), {})
    return {**fixed, **of_slot}


def ours(traits: Traits, slot: str | None, entropy: Entropy) -> Bundle:
    """Our fields made afresh, with those of the slot and the fixed ones."""
    made = {field.name: make(field.recipe or Recipe(), entropy) for field in traits.made_by(Maker.US)}
    return Bundle(given(traits, slot)).with_(made)


def decoy(traits: Traits, like: Bundle, entropy: Entropy) -> Bundle:
    """A made-up value of the same shape: plain fields as in `like`, sensitive ones made up, artefacts left out."""

    def field(one: Field) -> Secret:
        if not one.sensitive and one.name in like:
            return like[one.name]
        length = len(like[one.name].reveal()) if one.name in like else Recipe().length
        return make(one.recipe or Recipe(length=length), entropy)

    return Bundle({one.name: field(one) for one in traits.fields if not one.artefact})
