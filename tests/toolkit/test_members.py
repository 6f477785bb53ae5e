"""Members of a JSON object, replaced in its text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.toolkit.json import members, with_members

NAMES = st.sampled_from(["model", "messages", 'q"', "\\", "é", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, VALUES), st.sampled_from([None, 1]), st.booleans())
def test_members_are_those_of_the_object(data: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only).encode()
    assert {member.name: json.loads(text[member.value : member.end]) for member in members(text)} == data
    changed = with_members(text, {"model": b'"new"'})
    assert json.loads(changed) == {**data, "model": "new"}
    changed = with_members(text, {"model": b'"new"', "a": None})
    assert json.loads(changed) == {**{name: value for name, value in data.items() if name != "a"}, "model": "new"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"model":"a","n":1.0}', b'{"model":"X","n":1.0}'),
        (b' {"n" : 1e400, "model" :\n "a" , "s":"\\ud83d"} ', b' {"n" : 1e400, "model" :\n "X" , "s":"\\ud83d"} '),
        (b'{"model":"a","model":"b"}', b'{"model":"X","model":"X"}'),
        (b'{"\\u006dodel":"a"}', b'{"\\u006dodel":"X"}'),
        (b'{"t":{"model":"in"},"model":"a"}', b'{"t":{"model":"in"},"model":"X"}'),
        (b'{"t":[{"model":{"type":"string"}}],"x":"\\"model\\":1","model":"a"}',
         b'{"t":[{"model":{"type":"string"}}],"x":"\\"model\\":1","model":"X"}'),
        (b"{}", b'{"model":"X"}'),
        (b'{"t":{"model":1}}', b'{"t":{"model":1},"model":"X"}'),
        (b"{" + b'"t":{"model":1},' * 20 + b'"model":"a"}', b"{" + b'"t":{"model":1},' * 20 + b'"model":"X"}'),
    ],
)  # fmt: skip
def test_every_other_byte_stays(text: bytes, expected: bytes) -> None:
    assert with_members(text, {"model": b'"X"'}) == expected


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'"x"', b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":[1', b'{"a" 1}', b'{"a":"x}']
)
def test_text_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any words)
        with_members(text, {"model": b"1"})
