"""JSON on many lines is what the json module makes, to the last byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.records.indented import indented

TEXTS = st.text(max_size=8) | st.text(alphabet='"\\{}[]:, n\n', max_size=8)
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


@given(CONTENT)
def test_it_is_laid_out_as_the_json_module_does(content: Any) -> None:
    assert indented(content) == json.dumps(content, indent=1, sort_keys=True).encode()


@pytest.mark.parametrize("content", [{}, [], [[]], {"": {}}, "\\", '\\"', '"', "{", {"a\\": ["}", {}]}, [[], [1], {}]])
def test_empty_parts_and_texts_that_look_like_parts(content: Any) -> None:
    assert indented(content) == json.dumps(content, indent=1, sort_keys=True).encode()


def test_parts_within_parts_are_set_in_however_deep_they_lie() -> None:
    content: Any = 1
    for _ in range(300):
        content = [content, {"a": content}] if _ < 3 else [content]
    assert indented(content) == json.dumps(content, indent=1, sort_keys=True).encode()
