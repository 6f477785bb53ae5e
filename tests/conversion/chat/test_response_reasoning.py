"""The signature in which a provider's state rides, and the small readers of reasoning."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.conversion.anthropic.signatures import (
    MAX_SIGNATURE_CHARS,
    add_details,
    decode_signature,
    encode_signature,
)
from ccproxy_middleware.conversion.chat.reasoning import thought_signature


def packed(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return "p1." + base64.urlsafe_b64encode(data).decode().rstrip("=")


@given(
    st.fixed_dictionaries(
        {"p": st.text()},
        optional={
            "f": st.text(),
            "calls": st.dictionaries(st.text(), st.text()),
            "details": st.lists(st.dictionaries(st.text(), st.none() | st.integers(0, 9) | st.text())),
        },
    )
)
def test_signature_round_trip(envelope: dict[str, Any]) -> None:
    signature = encode_signature(envelope)
    assert signature.startswith("p1.")
    assert signature[3:].replace("-", "").replace("_", "").isalnum()
    assert decode_signature(signature) == envelope


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("", id="empty"),
        pytest.param("ErUBCkYIBRgCIkDvo", id="Claude's own"),
        pytest.param("p2." + packed("{}")[3:], id="another version"),
        pytest.param("p1.", id="nothing in it"),
        pytest.param("p1.e", id="no base64"),
        pytest.param("p1.e30!", id="illegal character"),
        pytest.param("p1.e3\u00e9", id="not ASCII"),
        pytest.param(packed("{oops"), id="no JSON"),
        pytest.param(packed("[]"), id="no object"),
        pytest.param(packed(b"\xff"), id="no UTF-8"),
        pytest.param(packed('{"p":"' + "x" * MAX_SIGNATURE_CHARS + '"}'), id="too large"),
    ],
)
def test_signature_that_is_not_ours(signature: str) -> None:
    assert decode_signature(signature) is None


@pytest.mark.parametrize(
    ("text", "envelope"),
    [
        ('{"calls":5,"details":5}', {"calls": {}, "details": []}),
        ('{"calls":{"a":1,"b":"S"},"details":[1,{"x":1}]}', {"calls": {"b": "S"}, "details": [{"x": 1}]}),
        ("{}", {}),
    ],
)
def test_forged_signature_has_the_right_types(text: str, envelope: dict[str, Any]) -> None:
    assert decode_signature(packed(text)) == envelope


def test_oversized_signature_leaves_out_the_bulk() -> None:
    large = "x" * MAX_SIGNATURE_CHARS
    envelope = {"p": "x", "calls": {"c1": "S"}, "details": [{"text": large}]}
    assert decode_signature(encode_signature(envelope)) == {"p": "x", "calls": {"c1": "S"}}
    assert decode_signature(encode_signature({"p": "x", "calls": {"c1": large}})) == {"p": "x"}


def test_signature_without_details_that_cannot_be_written() -> None:
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    assert decode_signature(encode_signature({"p": "x", "details": [{"x": nested}]})) == {"p": "x"}


def test_details_of_another_index_are_not_joined() -> None:
    details: list[dict[str, Any]] = []
    add_details(details, [{"type": "reasoning.text", "text": "a", "index": 0}])
    add_details(details, [{"type": "reasoning.text", "text": "b", "index": 1}])
    add_details(details, [{"type": "reasoning.summary", "summary": "c", "index": 1}])
    add_details(details, [{"type": "reasoning.summary", "summary": "d", "index": 1}])
    assert [detail.get("text") or detail.get("summary") for detail in details] == ["a", "b", "cd"]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"google": {"thought_signature": "S"}}, "S"),
        ({"vertex": {"thought_signature": "S"}}, "S"),
        ({"google": {}, "vertex": {"thought_signature": "S"}}, "S"),
        ({"google": {"thought_signature": ""}}, None),
        ({"google": {"thought_signature": 5}}, None),
        ({"google": "S"}, None),
        ("S", None),
    ],
)
def test_thought_signature(extra: Any, expected: str | None) -> None:
    assert thought_signature({"extra_content": extra}) == expected
