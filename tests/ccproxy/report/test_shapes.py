"""What is left of a body in a report: fields, types and sizes."""

from typing import Any

import pytest

from ccproxy.report.shapes import MAX_ITEMS, runs, shape


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"role": "user", "content": "planted"}, {"role": "user", "content": "<7 characters>"}),
        ({"role": "planted text with blanks"}, {"role": "<24 characters>"}),
        ({"type": "tool_use", "input": {"planted": 1}}, {"type": "tool_use", "input": "<object with 1 fields>"}),
        ({"arguments": '{"planted": 1}'}, {"arguments": "<14 characters>"}),
        ({"properties": {"planted": {"type": "string"}}}, {"properties": [{"type": "string"}]}),
        ({"temperature": 0.5, "stream": True, "x": None}, {"temperature": 0.5, "stream": True, "x": None}),
        ({"stop": ["planted", "planted"]}, {"stop": [{"times": 2, "each": "<7 characters>"}]}),
    ],
)
def test_shape_has_no_text_of_the_conversation(value: Any, expected: Any) -> None:
    assert shape(value) == expected


def test_equal_items_in_a_row_are_one() -> None:
    assert runs([1, 1, 2, 1]) == [{"times": 2, "each": 1}, 2, 1]
    assert runs(list(range(MAX_ITEMS + 3)))[-1] == "<3 more>"
