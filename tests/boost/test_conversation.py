"""A request as text: the same in both dialects, short enough, without what means nothing."""

from typing import Any

import pytest

from ccproxy_middleware.boost import conversation as module
from ccproxy_middleware.boost.conversation import read_conversation
from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.providers.profiles import Profile

REMINDER = "<system-reminder>\nBe careful.\n</system-reminder>"


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


def use(id_: str, name: str, **input_: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": input_}


def result(id_: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": content, **more}


HISTORY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}, {"type": "text", "text": "Be brief."}],
    "messages": [
        user(REMINDER, "What is in {a}?"),
        {"role": "system", "content": "Skills: none."},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "I look."},
            use("1", "Read", path="a"), use("2", "Bash", command="ls"),
        ]},
        user(result("1", "forty-two"), result("2", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])),
    ],
}  # fmt: skip
TEXT = f"""\
[system prompt]
Be brief.

[user]
{REMINDER}

What is in {{a}}?

[system]
Skills: none.

[assistant]
I look.

[assistant calls Read]
{{"path":"a"}}

[assistant calls Bash]
{{"command":"ls"}}

[result of Read]
forty-two

[result of Bash]
a

b"""


def test_conversation_reads_the_same_in_both_dialects() -> None:
    openai = convert_request(HISTORY, Profile()).body
    for data in (HISTORY, openai):
        conversation = read_conversation(data)
        assert conversation.text() == TEXT
        assert (conversation.user_request, conversation.has_results) == ("What is in {a}?", True)


@pytest.mark.parametrize(
    ("messages", "request_", "has_results"),
    [
        ([user("one"), user("two")], "two", False),
        ([user("one"), {"role": "assistant", "content": "ok"}, user(REMINDER)], "one", False),
        ([user("one"), user(result("1", "r"), REMINDER)], "one", True),
        ([user("one"), user(result("1", "r"), "stop that")], "stop that", False),
        ([user("one"), user(result("1", "r")), {"role": "assistant", "content": "ok"}, user("two")], "two", False),
        ([user("one", "<system-reminder>never closed")], "one", False),
        ([{"role": "user", "content": "plain"}], "plain", False),
        ([{"role": "user", "content": [{"type": "image", "source": {}}]}], "[image]", False),
        ([{"role": "user", "content": [{"type": "image_url"}, {"type": "file"}]}], "[image]\n\n[document]", False),
        ([user("one"), user(result("1", "r"), {"type": "document", "source": {}})], "one", True),
        ([user("one"), {"role": "tool", "content": "r"}, user("[image 1]", {"type": "image_url"})], "one", True),
        ([{"role": "user", "content": None}, 7, {"role": "odd"}], "", False),
    ],
)
def test_last_request_of_the_person_is_found(messages: list[Any], request_: str, has_results: bool) -> None:
    conversation = read_conversation({"messages": messages})
    assert (conversation.user_request, conversation.has_results) == (request_, has_results)


def test_failed_result_says_so() -> None:
    calls = {"role": "assistant", "content": [use("1", "Bash", command="x")]}
    text = read_conversation({"messages": [calls, user(result("1", "no", is_error=True), result("9", ""))]}).text()
    assert text.endswith("[error of Bash]\nno\n\n[result of a tool]\n(empty)")


def test_call_whose_arguments_are_no_json_is_told_as_it_is() -> None:
    call = {"id": "1", "function": {"name": "Bash", "arguments": '{"command'}}
    text = read_conversation({"messages": [{"role": "assistant", "content": None, "tool_calls": [call, 5]}]}).text()
    assert text == '[assistant calls Bash]\n{"command'


def test_long_parts_lose_their_middle() -> None:
    long = "a" * 20_000 + "b" * 20_000
    messages = [user(long), {"role": "assistant", "content": [use("1", "W", text=long)]}, user(result("1", long))]
    data = {"system": long, "messages": messages}
    text = read_conversation(data).text()
    assert len(text) < module.MAX_SYSTEM + module.MAX_TEXT + module.MAX_ARGUMENTS + module.MAX_RESULT + 500
    assert text.count("characters left out ...]") == 4
    assert f"[... {40_000 - module.MAX_RESULT} characters left out ...]" in text
    assert "a\n[..." in text
    assert "..]\nb" in text


def test_oldest_entries_are_left_out_beyond_the_budget() -> None:
    messages = [user(f"number {n} " + "x" * 4_000) for n in range(60)]
    text = read_conversation({"system": "S", "messages": messages}).text()
    assert text.startswith("[system prompt]\nS\n\n[... ")
    assert " earlier entries left out ...]\n\n[user]\nnumber " in text
    assert "number 59 " in text
    assert "number 0 " not in text
    assert len(text) / 3.6 < module.MAX_TOKENS + 50


def test_nothing_is_said_as_such() -> None:
    assert read_conversation({"messages": "?"}).text() == "(empty)"
