"""Secret and Bundle never show, compare, copy or store their value by accident."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from keyturn.secret import Bundle, Secret

CANARY = "canary-f00d/+ä"
PAIR = [Secret(CANARY), Bundle({"key": CANARY})]
each = pytest.mark.parametrize("held", PAIR, ids=["secret", "bundle"])


def assert_hidden(text: str) -> None:
    for form in (CANARY, json.dumps(CANARY)[1:-1], base64.b64encode(CANARY.encode()).decode(), ascii(CANARY)[1:-1]):
        assert form not in text


@dataclasses.dataclass(frozen=True)
class Holder:
    held: Any


RENDERINGS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "ascii": ascii,
    "f-string": lambda held: f"{held}",
    "f-string-repr": lambda held: f"{held!r:>40}",
    "f-string-width": lambda held: f"{Holder(held)}",
    "percent": lambda held: "%s %r" % (held, held),  # noqa: UP031 - the old way is what is tested
    "format": "{0} {0!s}".format,
    "in-list": lambda held: str([held, (held,), {"k": held}]),
    "dataclass": lambda held: repr(Holder(held)),
    "exception": lambda held: repr(ValueError(held)) + str(ValueError("x", held)),
}


@each
@pytest.mark.parametrize("render", RENDERINGS.values(), ids=RENDERINGS)
def test_no_rendering_shows_the_value_and_none_fails(held: Any, render: Callable[[Any], str]) -> None:
    assert_hidden(render(held))


@pytest.mark.parametrize("spec", ["", "s", ">40", "40.3"])
def test_a_format_width_does_not_cut_a_piece_out_of_a_secret(spec: str) -> None:
    assert format(Secret(CANARY), spec) == "<secret>"


def test_a_bundle_shows_the_names_of_its_fields() -> None:
    assert repr(Bundle({"b": CANARY, "a": CANARY})) == "<bundle a, b>"
    assert repr(Bundle()) == "<bundle empty>"


@each
def test_logging_does_not_show_the_value(held: Any) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("canary")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.warning("rotated %s to %r", held, Holder(held))
    logger.warning(held)
    logger.error("failed with %s", held, exc_info=ValueError(held))
    logger.removeHandler(handler)
    assert stream.getvalue().count("\n") >= 4
    assert_hidden(stream.getvalue())


@each
def test_a_traceback_with_its_locals_does_not_show_the_value(held: Any) -> None:
    try:
        {"known": 1}[held.missing]
    except AttributeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "held" in shown
    assert_hidden(shown)


REFUSALS: dict[str, Callable[[Any], Any]] = {
    "pickle": pickle.dumps,
    "pickle-old": lambda held: pickle.dumps(held, protocol=0),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy-inside": lambda held: copy.deepcopy([held]),
    "asdict": lambda held: dataclasses.asdict(Holder(held)),
    "equal": lambda held: held == CANARY,
    "not-equal": lambda held: held != held,  # noqa: PLR0124 - on purpose
    "in-list": lambda held: CANARY in (held, held),
    "hash": hash,
    "dict-key": lambda held: {held: 1},
    "holder-equal": lambda held: Holder(held) == Holder(Secret(CANARY)),
    "json": json.dumps,
    "json-inside": lambda held: json.dumps({"held": [held]}),
    "order": lambda held: held < held,  # noqa: PLR0124 - on purpose
    "add": lambda held: held + "x",
    "join": lambda held: str.join("", [held]),
}


@each
@pytest.mark.parametrize("use", REFUSALS.values(), ids=REFUSALS)
def test_every_accidental_use_is_refused_without_showing_the_value(held: Any, use: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError) as caught:
        use(held)
    assert_hidden("".join(traceback.format_exception(caught.value)))


def test_a_secret_can_not_be_iterated_or_indexed() -> None:
    secret: Any = Secret(CANARY)
    for use in (list, len, bytes, lambda it: it[0], "".join, dict):
        with pytest.raises(TypeError):
            use(secret)


def test_a_secret_has_no_attributes_to_walk() -> None:
    secret: Any = Secret(CANARY)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(AttributeError):
        secret.note = "x"


@pytest.mark.parametrize("wrong", [CANARY.encode(), 4711, None, [CANARY]])
def test_what_is_no_text_is_refused_without_showing_it(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Secret(wrong)
    assert type(wrong).__name__ in str(caught.value)
    assert "4711" not in str(caught.value)
    assert_hidden(str(caught.value))


def test_reveal_is_the_way_to_the_value() -> None:
    assert Secret(CANARY).reveal() == CANARY
    assert Bundle({"a": CANARY, "b": Secret("x")}).reveal() == {"a": CANARY, "b": "x"}


def test_secrets_are_compared_by_same_as_and_empty_ones_are_false() -> None:
    assert Secret(CANARY).same_as(Secret(CANARY))
    assert not Secret(CANARY).same_as(Secret("other"))
    assert Secret("x")
    assert not Secret("")


def test_a_bundle_is_a_mapping_of_its_fields() -> None:
    bundle = Bundle({"b": "2", "a": "1"})
    assert (list(bundle), len(bundle), "a" in bundle, "z" in bundle) == (["b", "a"], 2, True, False)
    assert bundle["a"].reveal() == "1"
    assert bundle.only(["a", "absent"]).reveal() == {"a": "1"}
    assert bundle.with_({"a": Secret("9"), "c": Secret("3")}).reveal() == {"b": "2", "a": "9", "c": "3"}
    assert bundle.reveal() == {"b": "2", "a": "1"}
    assert bundle.fingerprints(lambda text: f"f{text}") == {"b": "f2", "a": "f1"}


def test_a_bundle_does_not_change_with_the_dictionary_it_was_made_of() -> None:
    fields: dict[str, Secret | str] = {"a": "1"}
    bundle = Bundle(fields)
    fields["b"] = "2"
    assert list(bundle) == ["a"]
