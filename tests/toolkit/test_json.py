"""JSON with and without lone surrogates is read alike: only the surrogate itself changes."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.toolkit.json import loads, loads_lenient

LONE = ["\\ud83d", "\\uD83D", "\\ude00", "\\udfff", "\\udbff"]
PAIR = "\\ud83d\\ude00"

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 1234567890123456789, 10**30]),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(codec="utf-8"), max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abé\\", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, and of the same types all through."""
    return repr(one) == repr(other)


@given(values, st.sampled_from(LONE))
def test_lone_surrogate_changes_nothing_but_itself(value: Any, lone: str) -> None:
    text = json.dumps([value, "@"])
    assert same(loads(text.replace("@", lone).encode()), loads(text.replace("@", "\\ufffd").encode()))
    assert same(loads(text.replace("@", lone)), loads(text.replace("@", "\\ufffd")))


@given(values)
def test_both_readers_agree(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert same(loads_lenient(text), orjson.loads(text))


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" * 400, "NaN", "[Infinity]", "[1,]", "01", '"\t"', "", "[1] 2"])
def test_both_readers_refuse_the_same(text: str) -> None:
    refused = []
    for read in (orjson.loads, loads, loads_lenient):
        try:
            read(text)
        except ValueError:
            refused.append(read)
    assert refused in ([], [orjson.loads, loads, loads_lenient])


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        (PAIR, "😀"),
        (LONE[0] + PAIR, "\ufffd😀"),
        (PAIR + LONE[2], "😀\ufffd"),
        (LONE[2] + LONE[0], "\ufffd\ufffd"),
        (LONE[0] * 3, "\ufffd" * 3),
        (r"\\ud83d" + LONE[0], "\\ud83d\ufffd"),
        (r"\\" + LONE[0], "\\\ufffd"),
        (r"\\\\\\" + LONE[0], "\\\\\\\ufffd"),
        (r"\n" + LONE[0] + "x", "\n\ufffdx"),
    ],
)
def test_lone_surrogates_become_replacement_characters(escaped: str, expected: str) -> None:
    lone = LONE[0]  # makes sure that the document needs the lenient way
    assert loads(f'["{escaped}", "{lone}"]'.encode()) == [expected, "\ufffd"]


@pytest.mark.parametrize("run", [1, 15, 16, 17, 255, 256, 257, 4000, 4001])
def test_backslashes_before_a_surrogate_tell_whether_it_is_one(run: int) -> None:
    text = "\\" * run + "ud83d" + LONE[0]
    expected = "\\" * (run // 2) + ("\ufffd" if run % 2 else "ud83d") + "\ufffd"
    assert loads(f'["{text}"]'.encode()) == [expected]
    assert loads(f'["x{text}"]'.encode()) == ["x" + expected]


def test_half_behind_an_escaped_one_is_lone() -> None:
    assert loads(rf'["\\ud83d{LONE[2]}"]'.encode()) == ["\\ud83d\ufffd"]


def test_more_surrogates_than_are_looked_at_are_refused() -> None:
    assert loads(f'["{PAIR * 99_000}{LONE[0]}"]'.encode()) == ["😀" * 99_000 + "\ufffd"]
    for many, reason in ((LONE[0] * 100_001, "100,000"), (PAIR * 100_001 + LONE[0], "surrogate")):
        with pytest.raises(ValueError, match=reason):
            loads(f'["{many}"]'.encode())
    assert loads(f'["{PAIR * 100_001}"]'.encode()) == ["😀" * 100_001]


def test_refusal_does_not_hold_the_document() -> None:
    with pytest.raises(ValueError, match="line 1") as caught:
        loads(b'["a')
    assert (type(caught.value), caught.value.__context__) == (ValueError, None)
