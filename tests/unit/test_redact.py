"""The net under the rope: a known value is taken out of a text, in every spelling it travels in."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.redact import SHORTEST, scrub
from keyturn.secret import HIDDEN

CANARY = 'can"ary/+ ä?&=\\~~~ÿx'

SPELLINGS = {
    "plain": CANARY,
    "percent": quote(CANARY, safe=""),
    "form": quote_plus(CANARY),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 without padding": base64.b64encode(CANARY.encode()).decode().rstrip("="),
    "base64 for URLs": base64.urlsafe_b64encode(CANARY.encode()).decode(),
    "json": json.dumps(CANARY)[1:-1],
}
often = settings(max_examples=60, deadline=None)
values = st.text(min_size=SHORTEST, max_size=40).filter(str.strip)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_value_is_hidden_in_every_spelling(spelling: str) -> None:
    text = scrub(f"refused: [{spelling}] twice [{spelling}]", [CANARY])
    assert text == f"refused: [{HIDDEN}] twice [{HIDDEN}]"


@often
@given(values, st.sampled_from(["", "before ", "a=b;"]), st.sampled_from(["", " after", "&c"]))
def test_no_value_of_any_letters_is_left(value: str, before: str, after: str) -> None:
    text = scrub(f"{before}{value}{after}", [value])
    assert value not in text.replace(HIDDEN, "")


def test_of_two_values_the_longer_is_taken_first_so_that_no_tail_is_left() -> None:
    assert scrub("secret-one-two", ["secret-one", "secret-one-two"]) == HIDDEN


def test_a_value_of_a_few_letters_does_not_blank_out_words() -> None:
    assert scrub("the key is on the table", ["on", "", "key"]) == "the key is on the table"


def test_a_text_without_values_stays_as_it_is() -> None:
    assert scrub("e2 answered 503", [CANARY]) == "e2 answered 503"


def test_the_name_of_the_command_stays_also_where_a_login_is_called_so() -> None:
    assert scrub("keyturn adopt app/main --from-vendor", ["keyturn"]) == "keyturn adopt app/main --from-vendor"


def test_a_value_with_half_a_surrogate_pair_is_taken_out_like_any_other() -> None:
    assert scrub("it was abc\ud800def", ["abc\ud800def"]) == f"it was {HIDDEN}"


def test_a_value_of_several_lines_is_found_on_one() -> None:
    assert scrub("it was abc def", ["abc\ndef"]) == f"it was {HIDDEN}"
