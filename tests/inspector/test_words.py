"""What a row of the list says of a request: the beginning of the user's last words."""

from typing import Any

import pytest

from ccproxy_middleware.inspector.words import MAX_AFTER, MAX_WORDS, WORDS_COST, Words, read_words

REMINDER = "<system-reminder>\nAs you answer, mind this.\n</system-reminder>"


def text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": each} for each in texts]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Read", "input": {"name": "x"}}]}
CALLS = {
    "role": "assistant",
    "content": [
        {"type": "tool_use", "id": id_, "name": name, "input": {}} for id_, name in (("b", "R"), ("c", "B"), ("d", "R"))
    ],
}
DONE = {"role": "assistant", "content": "Done"}
RESULT = user([{"type": "tool_result", "tool_use_id": "a", "content": "words of a file"}])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [user("Fix the test")]}, Words("Fix the test")),
        ({"messages": [user(text(REMINDER, "Fix  the\n test"))]}, Words("Fix the test")),
        ({"messages": [user(text("Fix it", REMINDER))]}, Words("Fix it")),
        ({"messages": [user(text(f"{REMINDER}\nFix it"))]}, Words("Fix it")),
        ({"messages": [user("one"), {"role": "assistant", "content": "yes"}, user("two")]}, Words("two")),
        ({"messages": [user("Fix it"), CALL, RESULT]}, Words("Fix it", "Read")),
        ({"messages": [user("Fix it"), CALL, RESULT, DONE]}, Words("Fix it", "Read")),
        ({"messages": [user("Fix it"), CALL, user([*RESULT["content"], *text("No, that")])]}, Words("No, that")),
        ({"messages": [user(text(REMINDER)), CALL, RESULT]}, Words(None, "Read")),
        (
            {
                "messages": [
                    user("go"),
                    CALLS,
                    user([{"type": "tool_result", "tool_use_id": id_} for id_ in "dcb"]),
                ]
            },
            Words("go", "R, B"),
        ),
        ({"input": "Fix the test"}, Words("Fix the test")),
        (
            {
                "input": [
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it"}]},
                    {"type": "function_call", "call_id": "c", "id": "fc_1", "name": "Bash", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "words"},
                ]
            },
            Words("Fix it", "Bash"),
        ),
        (
            {
                "messages": [
                    user("Fix it"),
                    {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "Bash", "arguments": "{}"}}]},
                    {"role": "tool", "tool_call_id": "c", "content": "words"},
                ]
            },
            Words("Fix it", "Bash"),
        ),
        ({"messages": []}, Words()),
        ({"messages": [{"role": "user"}, 3, None, {"role": "user", "content": [None, 3, {"text": 4}]}]}, Words()),
        ({"messages": [user([{"type": "tool_result", "tool_use_id": ["x"]}])]}, Words()),
        ({"messages": {"role": "user"}}, Words()),
        ({}, Words()),
        (["messages"], Words()),
        (None, Words()),
    ],
)  # fmt: skip
def test_last_words_of_the_user(body: Any, words: Words) -> None:
    assert read_words(body) == words


def test_words_are_short() -> None:
    calls = [{"type": "tool_use", "id": str(n), "name": f"tool{n}" + "x" * 99} for n in range(99)]
    results = [{"type": "tool_result", "tool_use_id": str(n)} for n in range(99)]
    words = read_words({
        "messages": [user("\N{SNOWMAN} " * 100_000), {"role": "assistant", "content": calls}, user(results)]
    })  # fmt: skip
    assert words.said is not None
    assert words.after is not None
    assert (len(words.said), words.said[-1]) == (MAX_WORDS, "…")
    assert len(words.after) <= MAX_AFTER
    assert len(f"{words.said}{words.after}".encode("utf-32")) < WORDS_COST
