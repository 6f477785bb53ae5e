"""The Message tab: the answer in one piece, of each API, whole or partial."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from support.paths import DATA
from support.providers.scripted import Chunks, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.browsed import opened
from support.serving.inspected import KEY, STREAM, Inspected, inspected

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

ARGUMENTS = {"path": "a b.txt", "limit": 3, "script": "one\ntwo" + "x" * 5000}
LOOK = ToolCall("Look", json.dumps(ARGUMENTS))
TOOLS = [{"name": "Look", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}]
CUT = Chunks([{"id": "c", "choices": [{"index": 0, "delta": {"content": "Half of"}}]}], done=False)
ANSWERS = {
    "all": Reply(["It is ", "there."], [LOOK], reasoning=["I must ", "look."]),
    "broken": Reply("x", [ToolCall("Look", '{"path": "a')]),
    "cut": CUT,
    "fail": Failure(400, error_body("No such model here", code="model_not_found")),
    "empty": Reply(""),
}
STREAMS = [json.loads(path.read_text()) for path in sorted((DATA / "cases").glob("t*.json"))]


def said(text: str, **more: Any) -> dict[str, Any]:
    return {**STREAM, "tools": TOOLS, "messages": [{"role": "user", "content": text}], **more}


def answer_to(body: dict[str, Any]) -> Any:
    turn = (body.get("messages") or body["input"])[-1]["content"]
    return ANSWERS[turn if isinstance(turn, str) else turn[0]["text"]]


@pytest.fixture(scope="module", params=["chat", "responses"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Inspected]:
    with inspected(ScriptedProvider(answer_to), provider_options={"api": request.param}) as inspector:
        yield inspector


@pytest.fixture
def page(browser: "Browser", proxy: Inspected) -> "Iterator[Page]":
    with opened(browser, proxy.url, key=KEY) as page:
        yield page


def shown(page: "Page", proxy: Inspected, body: dict[str, Any]) -> Any:
    """The answer's place in the Message tab of a new exchange."""
    with suppress(httpx.RemoteProtocolError):  # a stream that is broken off
        proxy.ask(body)
    page.goto(f"{proxy.url}/ui/#{proxy.listed()[-1]['id']}")
    place = page.wait_for_selector(".answer")
    assert place is not None
    return place


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_answer_stands_in_one_piece(page: "Page", proxy: Inspected, stream: bool) -> None:
    place = shown(page, proxy, said("all", stream=stream))
    assert page.inner_text(".turn.user .words") == "all"
    for side in ("as the client got it", "as the provider gave it"):
        page.click(f".switch >> text={side}")
        assert page.inner_text(".answer > .words") == "It is there."
        if page.query_selector(".thinking") is not None:
            assert page.inner_text(".thinking .words") == "I must look."
        assert page.inner_text(".answer .call b") == "Look"
        names = [name.inner_text() for name in page.query_selector_all(".call dt")]
        values = [value.inner_text() for value in page.query_selector_all(".call dd")]
        assert dict(zip(names, values, strict=True)) == {name: str(value) for name, value in ARGUMENTS.items()}
        assert page.query_selector(".partial, .warn") is None
    page.click(".switch >> text=as the client got it")
    assert place is not None


def test_partial_answer_says_so(page: "Page", proxy: Inspected) -> None:
    shown(page, proxy, said("cut"))
    if proxy.listed()[-1]["status"] == 200:
        page.wait_for_selector(".partial >> text=Partial: the stream was broken off.")
        assert page.inner_text(".answer > .words.unfinished") == "Half of"
    page.wait_for_selector(".failure")


def test_error_stands_in_the_answer(page: "Page", proxy: Inspected) -> None:
    shown(page, proxy, said("fail"))
    assert "No such model here" in page.inner_text(".answer .failure")
    page.click(".switch >> text=as the provider gave it")
    assert "No such model here" in page.inner_text(".answer .failure")
    assert page.query_selector(".partial") is None
    page.click(".switch >> text=as the client got it")


ASSEMBLE = "(answers) => import('./message.js').then(({ assemble }) => answers.map((answer) => assemble(answer)))"


def assembled(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The same in Python."""
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "partial": ""}
        elif event["type"] == "content_block_delta":
            block = blocks[event["index"]]
            for name, key in (("text", "text"), ("thinking", "thinking"), ("partial_json", "partial")):
                block[key] = block.get(key, "") + event["delta"].get(name, "")
    kinds = {"text": "text", "thinking": "thinking", "tool_use": "call"}
    return [
        (kinds[b["type"]], parsed(b["partial"]) if b["type"] == "tool_use" else b[b["type"]]) for b in blocks.values()
    ]


def parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def test_every_stream_of_the_cases_is_assembled(page: "Page") -> None:
    assert len(STREAMS) > 10
    answers = [{"status": 200, "events": [{"json": event} for event in case["expected"]]} for case in STREAMS]
    made = page.evaluate(ASSEMBLE, answers)
    for case, message in zip(STREAMS, made, strict=True):
        blocks = [(b["kind"], b["input"] if b["kind"] == "call" else b["text"]) for b in message["blocks"]]
        assert blocks == assembled(case["expected"]), case["name"]
        types = [event["type"] for event in case["expected"]]
        assert message["whole"] == ("message_stop" in types), case["name"]
        assert (message["error"] is not None) == ("error" in types), case["name"]
        stops = [event["delta"]["stop_reason"] for event in case["expected"] if event["type"] == "message_delta"]
        assert message["stop"] == (stops[-1] if stops else None), case["name"]


ITEM = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}
DELTA = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0}
FAILED = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "x", "message": "m"}}}


@pytest.mark.parametrize(
    ("answer", "blocks", "more"),
    [
        ({"json": {"choices": []}}, [], {"whole": True}),
        ({"json": {"choices": [{"message": {"content": None, "refusal": "No."}}]}}, [("text", "No.")], {}),
        ({"json": {"error": "a text"}}, [], {"error": {"type": "error", "message": "a text"}}),
        ({"json": [1]}, [("other", None)], {}),
        ({"text": "<html>"}, [("text", "<html>")], {"whole": True}),
        ({}, [], {"whole": False}),
        ({"events": []}, [], {"whole": False}),
        ({"events": [{"text": "[DONE]"}]}, [], {"whole": False}),
        (
            {"json": {"content": [{"type": "redacted_thinking"}, {"type": "image"}], "stop_reason": "end_turn"}},
            [("thinking", "(encrypted by the provider)"), ("other", None)],
            {"stop": "end_turn"},
        ),
        (
            {"events": [{"json": ITEM}, {"json": {**DELTA, "delta": "Ha"}}, {"json": {**DELTA, "delta": "lf"}}]},
            [("text", "Half")],
            {"whole": False, "stop": None},
        ),
        ({"events": [{"json": FAILED}]}, [], {"whole": True, "error": {"type": "x", "message": "m"}}),
    ],
)
def test_odd_answers_break_nothing(page: "Page", answer: Any, blocks: Any, more: dict[str, Any]) -> None:
    (message,) = page.evaluate(ASSEMBLE, [{"status": 200, **answer}])
    assert [(block["kind"], block.get("text")) for block in message["blocks"]] == blocks
    assert {name: message[name] for name in more} == more


def test_earlier_turns_are_there_on_demand(page: "Page", proxy: Inspected) -> None:
    reminder = "<system-reminder>\nmind\n</system-reminder>"
    call = {"type": "tool_use", "id": "toolu_1", "name": "Look", "input": {"path": "a"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "y" * 2000}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": reminder}, {"type": "text", "text": "first"}]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "all"}]},
    ]
    shown(page, proxy, said("", messages=messages, system="Be brief."))
    assert page.inner_text(".earlier > summary") == "The system prompt, 2 earlier messages, 1 tools"
    assert page.query_selector(".earlier .turn") is None  # it is made when somebody looks
    assert page.inner_text(".turn.user .folded b") == "Look"
    assert page.query_selector(".turn.user .folded[open]") is None  # a long result is folded, the user's words are not
    assert page.inner_text(".turn.user > .words") == "all"
    page.click(".earlier > summary")
    page.wait_for_selector(".earlier .turn")
    turns = [turn.inner_text().split("\n")[0] for turn in page.query_selector_all(".earlier .turn")]
    assert turns == ["System", "User", "Assistant"]
    assert page.query_selector(".earlier .turn.user .folded[open]") is None
    assert page.inner_text(".earlier .turn.user > .words") == "first"


def test_users_words_are_unfolded_in_the_request(page: "Page", proxy: Inspected) -> None:
    turns = [
        {"role": role, "content": [{"type": "text", "text": f"{role} {n}"}]}
        for n in range(8)
        for role in ("user", "assistant")
    ]
    words = {"role": "user", "content": [{"type": "text", "text": "all", "cache_control": {"type": "ephemeral"}}]}
    shown(page, proxy, said("", messages=[*turns, words]))
    page.keyboard.press("2")
    left = page.wait_for_selector("[aria-label=Request] .sides > div:first-child")
    assert left is not None
    lines = left.inner_text().split("\n")
    assert "0: text all" in lines
    assert not [line for line in lines if line.startswith("type: text")]
    assert "user 3" not in [line for line in lines if line.startswith("0: text")]
