"""What of a conversation with other upstreams is sent to Anthropic."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.anthropic import encode_signature
from ccproxy_middleware.conversion.responses.state import encode_state
from ccproxy_middleware.passthrough.history import digest, fit
from support.providers.anthropic_rules import refusal_of, signature

OURS = encode_signature({"p": "openai", "f": "reasoning"})
OF_RESPONSES = encode_state("openai", "gpt-5", {"encrypted_content": "x" * 99}, None)
THEIRS = {"type": "thinking", "thinking": "so", "signature": signature("so")}
ADAPTIVE = {"type": "adaptive"}
ENABLED = {"type": "enabled", "budget_tokens": 2000}


def thought(text: str, signed: str | None = None) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature(text) if signed is None else signed}


def call(id_: str = "toolu_01") -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "Read", "input": {}}


def result(id_: str = "toolu_01") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": "ok"}


def request(*messages: tuple[str, Any], **more: Any) -> dict[str, Any]:
    said = [{"role": role, "content": content} for role, content in (("user", "Hi"), *messages)]
    return {"model": "claude-sonnet-4-5", "max_tokens": 9000, "messages": said, **more}


def fitted(data: dict[str, Any], **options: Any) -> dict[str, Any]:
    found = fit(data, **options)
    kept = {name: value for name, value in data.items() if name not in found.removed}
    return {**kept, **found.fields}


@pytest.mark.parametrize(
    "data",
    [
        request(),
        request(("assistant", [THEIRS, call()]), ("user", [result()]), thinking=ENABLED),
        request(("assistant", [call()]), ("user", [result()]), thinking=ADAPTIVE),  # it need not think each time
        request(("assistant", [THEIRS, call("a"), thought("x"), call("b")]), ("user", [result("a"), result("b")])),
        request(("assistant", "text"), ("user", [{"type": "text", "text": "more"}]), thinking=ENABLED),
        request(("assistant", [{"type": "redacted_thinking", "data": "EqX"}, {"type": "text", "text": "t"}])),
        {"messages": "no list"},
        {"messages": [1, {"role": "assistant", "content": [3, None]}, {"content": []}]},
    ],
)
def test_nothing_changes_where_anthropic_has_answered(data: dict[str, Any]) -> None:
    assert not fit(data)


@pytest.mark.parametrize("signed", [OURS, OF_RESPONSES])
def test_thinking_of_other_upstreams_is_left_out(signed: str) -> None:
    data = request(
        ("assistant", [thought("a", signed), {"type": "text", "text": "one"}]),
        ("user", "go on"),
        ("assistant", [THEIRS, {"type": "text", "text": "two"}]),
        ("user", "and"),
        thinking=ENABLED,
    )
    new = fitted(data)
    assert new["messages"][1]["content"] == [{"type": "text", "text": "one"}]
    assert new["messages"][3] is data["messages"][3]
    assert new["thinking"] == ENABLED
    assert refusal_of(data)
    assert refusal_of(new) is None


def test_turn_of_nothing_else_goes_with_its_thinking() -> None:
    data = request(("assistant", [thought("a", OURS)]), ("user", "go on"))
    new = fitted(data)
    assert [message["role"] for message in new["messages"]] == ["user", "user"]
    assert refusal_of(new) is None


@pytest.mark.parametrize("thinking", [ENABLED, ADAPTIVE])
def test_thinking_is_off_for_a_loop_that_has_lost_it(thinking: dict[str, Any]) -> None:
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]
    data = request(
        ("assistant", [thought("a", OURS), call()]),
        ("user", [result(), {"type": "text", "text": "<system-reminder>"}]),
        thinking=thinking,
        temperature=1,
        context_management={"edits": edits},
    )
    new = fitted(data)
    assert new["thinking"] == {"type": "disabled"}
    assert new["context_management"] == {"edits": edits[1:]}
    assert new["temperature"] == 1
    assert refusal_of(new) is None
    alone = fit({**data, "context_management": {"edits": edits[:1]}})
    assert alone.removed == ["context_management"]
    assert "thinking is off" in alone.told()[-1]


@pytest.mark.parametrize("id_", ["call_1", "toolu_0123456789abcdef01234567"])
def test_thinking_is_off_in_a_loop_of_a_model_that_has_none(id_: str) -> None:
    data = request(("assistant", [call(id_)]), ("user", [result(id_)]), thinking=ENABLED)
    assert refusal_of(data)
    assert fitted(data)["thinking"] == {"type": "disabled"}
    assert not fit({**data, "thinking": ADAPTIVE})  # such a model need not begin with it


def test_thinking_stays_on_where_the_last_turn_of_the_loop_has_it() -> None:
    data = request(
        ("assistant", [thought("a", OURS), call("a")]),
        ("user", [result("a")]),
        ("assistant", [THEIRS, call("b")]),
        ("user", [result("b")]),
        thinking=ENABLED,
    )
    new = fitted(data)
    assert new["thinking"] == ENABLED
    assert new["messages"][1]["content"] == [call("a")]
    assert refusal_of(new) is None


def test_thinking_is_off_as_long_as_the_loop_goes_on() -> None:
    data = request(
        ("assistant", [thought("a", OURS), call("a")]),
        ("user", [result("a")]),
        ("assistant", [call("b")]),  # Anthropic's, without thinking
        ("user", [result("b")]),
        thinking=ENABLED,
    )
    assert fitted(data)["thinking"] == {"type": "disabled"}
    over = request(*[(m["role"], m["content"]) for m in data["messages"][1:-1]], ("user", [result("b")]),
                   ("assistant", "done"), ("user", "next"), thinking=ENABLED)  # fmt: skip
    assert fitted(over)["thinking"] == ENABLED


def test_ids_that_anthropic_refuses_become_others_in_both_places() -> None:
    data = request(("assistant", [call("functions.Read:0")]), ("user", [result("functions.Read:0")]))
    new = fitted(data)
    id_ = new["messages"][1]["content"][0]["id"]
    assert new["messages"][2]["content"][0]["tool_use_id"] == id_ == f"toolu_{digest('functions.Read:0')[:24]}"
    assert refusal_of(data)
    assert refusal_of(new) is None


def test_web_search_of_ours_is_left_out_with_its_call_and_citations() -> None:
    found = {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "p1.abc"}
    cited = {"type": "web_search_result_location", "encrypted_index": "p1.abc", "url": "u"}
    native = {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "Eqabc"}
    content = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]},
        {"type": "server_tool_use", "id": "srvtoolu_2", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_2", "content": [native]},
        {"type": "text", "text": "It is so.", "citations": [cited]},
    ]
    new = fitted(request(("assistant", content), ("user", "thanks")))
    assert new["messages"][1]["content"] == [*content[2:4], {"type": "text", "text": "It is so."}]
    assert refusal_of(new) is None


def test_refused_blocks_are_left_out_by_their_digests() -> None:
    foreign = thought("a", "signed-elsewhere")
    data = request(("assistant", [foreign, call()]), ("user", [result()]), thinking=ENABLED)
    assert not fit(data)
    new = fitted(data, refused={digest("signed-elsewhere")})
    assert new["messages"][1]["content"] == [call()]
    assert new["thinking"] == {"type": "disabled"}
    assert fitted(data, without_thinking=True)["messages"] == new["messages"]
    assert fitted(data, without_thinking=True, thinking="kept")["thinking"] == ENABLED
