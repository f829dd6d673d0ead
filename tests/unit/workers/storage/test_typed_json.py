"""JSON is parsed fast, to the same values as Python's own parser gives."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.storage.typed_json import parse_object

TEXTS = st.text(st.characters(), max_size=4)  # with halves of surrogate pairs
NUMBERS = st.integers() | st.floats() | st.integers(-(2**70), 2**70)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=3), st.booleans())
@example({"name": "\udcff"}, True)
@example({"loss": 0.1 + 0.2, "nan": float("nan"), "zero": -0.0, "least": 5e-324}, True)
def test_any_object_is_what_python_makes_of_it(content: dict[str, Any], is_ascii: bool) -> None:
    text = json.dumps(content, ensure_ascii=is_ascii)
    assert repr(parse_object(text)) == repr(json.loads(text))


WRITTEN = st.from_regex(r"-?[1-9][0-9]{0,25}\.[0-9]{1,25}(e-?[0-9]{1,3})?", fullmatch=True)


@given(st.floats(allow_nan=False, allow_infinity=False).map(repr) | WRITTEN)
def test_a_number_keeps_its_bits_however_it_is_written(number: str) -> None:
    text = f'{{"a": {number}}}'
    assert repr(parse_object(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 01}', "{'a': 1}", '{"a": 1} x', "nul"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an object|line 1|Expecting"):
        parse_object(text)
