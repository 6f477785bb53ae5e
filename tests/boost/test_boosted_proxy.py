"""BoostMiddleware in the running proxy, on both sides of the conversion, streamed and not."""

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from support.providers.scripted import Answer, Chunks, Failure, Raw, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.boosted import (
    CLAUDE,
    EXECUTOR,
    PLANNER,
    READ,
    Answered,
    Boosted,
    Place,
    ask,
    boosted,
    question,
    with_result,
)

CALL = ToolCall("Read", {"path": "a.txt"})
GUIDANCE = "ANALYSIS: The file is unread.\nGUIDANCE: Call Read with path a.txt."


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **more}


def run(
    plans: Sequence[Answer], answers: Sequence[Answer], place: Place, body: dict[str, Any], **settings: Any
) -> tuple[Answered, Boosted]:
    """One request to a proxy whose planner and executor have these answers."""
    with boosted(ScriptedProvider(plans), ScriptedProvider(answers), place, **settings) as running:
        return ask(running.url, body), running


# Plan


def test_planner_gets_one_request_without_tools_headers_or_custom_headers(place: Place, stream: bool) -> None:
    body = question("Read {a} and {{b}}.", stream=stream, system="Be brief.")
    answer, running = run([Reply("SUMMARY: Hi")], [], place, body, custom_headers={"X-Custom": "1"})
    assert answer.text == "Hi"
    [request] = running.planner.requests
    assert request.path == "/v1/chat/completions"
    assert request.body.keys() == {"model", "messages", "max_tokens", "stream", "stream_options"}
    assert request.body["model"] == PLANNER
    assert [message["role"] for message in request.body["messages"]] == ["user"]
    assert request.headers["authorization"] == "Bearer boost-key"
    assert "x-custom" not in request.headers
    assert not [name for name in request.headers if name.startswith(("anthropic-", "x-"))]
    [prompt] = running.prompts
    for part in ("Read {a} and {{b}}.", "Be brief.", "## Read", "- path (string, required)", "1 of 3"):
        assert part in prompt


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []},
        {"model": "claude-haiku-4-5"},
        {"model": "gpt-4o"},
        {"tool_choice": {"type": "none"}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ],
    ids=["no-tools", "other-tier", "no-tier", "no-choice", "json-schema"],
)
def test_other_requests_pass_untouched(place: Place, stream: bool, more: dict[str, Any]) -> None:
    answer, running = run([], [Reply("plain")], place, question(stream=stream, **more))
    assert answer.text == "plain"
    assert answer.outcome == (None, None)
    assert running.planner.requests == []
    assert [message["role"] for message in running.executor.completions[0]["messages"]] == ["user"]


def test_own_template_is_filled(place: Place) -> None:
    answer, running = run(
        [Reply("SUMMARY: ok")], [], place, question(), boost_wrapper_template="{{x}} {user_request} {loop_count}"
    )
    assert answer.text == "ok"
    assert running.prompts == ["{x} What is in a.txt? 1 of 3"]


# Summary


def test_summary_is_the_answer(place: Place, stream: bool) -> None:
    plan = Reply("<think>SUMMARY: no</think>\n**Final answer:** It is **done**.\n\n", usage=usage(70, 9))
    answer, running = run([plan], [], place, question(stream=stream))
    assert answer.text == "It is **done**."
    assert (answer.message["stop_reason"], answer.message["model"]) == ("end_turn", CLAUDE)
    assert (answer.message["usage"]["input_tokens"], answer.message["usage"]["output_tokens"]) == (70, 9)
    assert answer.headers["x-upstream-model"] == PLANNER
    assert answer.outcome == ("1", "summary")
    assert running.executor.requests == []


def test_summary_that_was_cut_says_so(place: Place, stream: bool) -> None:
    answer, _ = run([Reply("SUMMARY: It was a", finish_reason="length")], [], place, question(stream=stream))
    assert (answer.text, answer.message["stop_reason"]) == ("It was a", "max_tokens")


def test_planner_that_answers_with_json_is_read_too(place: Place, stream: bool) -> None:
    completion = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "SUMMARY: Hi"}, "finish_reason": "stop"}],
        "usage": usage(5, 2),
    }
    plan = Raw([json.dumps(completion).encode()], headers={"content-type": "application/json"})
    answer, _ = run([plan], [], place, question(stream=stream))
    assert (answer.text, answer.message["usage"]["input_tokens"]) == ("Hi", 5)


@pytest.mark.parametrize("word", ["max_tokens", "stream_options"])
def test_planner_that_refuses_a_parameter_is_asked_without_it_from_then_on(word: str) -> None:
    def plan(body: dict[str, Any]) -> Answer:
        if word in body:
            return Failure(400, error_body(f"Unsupported parameter: '{word}'"))
        return Reply("SUMMARY: Hi")

    planner = ScriptedProvider(plan)
    with boosted(planner, ScriptedProvider([])) as running:
        assert [ask(running.url, question(text)).text for text in ("one", "two")] == ["Hi", "Hi"]
    assert [word in body for body in planner.completions] == [True, False, False]
    assert ("max_completion_tokens" in planner.completions[-1]) == (word == "max_tokens")


# Guidance


def test_guidance_goes_to_the_executor_with_the_clients_own_request(place: Place, stream: bool) -> None:
    body = question(stream=stream, system="Be brief.")
    plan = Reply(GUIDANCE, usage=usage(100, 20, prompt_tokens_details={"cached_tokens": 40}))
    execution = Reply("I read it.", [CALL], usage=usage(30, 7, completion_tokens_details={"reasoning_tokens": 3}))
    answer, running = run([plan], [execution], place, body)
    assert (answer.text, answer.calls) == ("I read it.", [("Read", {"path": "a.txt"})])
    assert (answer.message["stop_reason"], answer.message["model"]) == ("tool_use", CLAUDE)
    assert answer.headers["x-upstream-model"] == EXECUTOR
    assert answer.outcome == ("1", "guidance")
    counted = answer.message["usage"]
    assert (counted["input_tokens"], counted["cache_read_input_tokens"], counted["output_tokens"]) == (90, 40, 27)
    assert counted["output_tokens_details"]["thinking_tokens"] == 3
    [sent] = running.executor.completions
    assert sent["model"] == EXECUTOR
    assert sent["tools"][0]["function"]["name"] == "Read"
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["system", "user", "system"]
    assert [message["content"] for message in sent["messages"]][:2] == ["Be brief.", "What is in a.txt?"]
    assert "The file is unread." in sent["messages"][-1]["content"]
    assert "Call Read with path a.txt." in sent["messages"][-1]["content"]


def test_prompts_prefix_stays_the_same_from_turn_to_turn(place: Place) -> None:
    with boosted(
        ScriptedProvider([Reply(GUIDANCE)] * 2), ScriptedProvider([Reply(tool_calls=[CALL])] * 2), place
    ) as running:
        ask(running.url, question(system="S"))
        ask(running.url, with_result(system="S"))
        first, second = (body["messages"] for body in running.executor.completions)
    assert second[: len(first) - 1] == first[:-1]
    assert second[-1]["role"] == first[-1]["role"] == "system"


def test_answer_without_a_call_is_tried_again_with_what_was_tried(place: Place, stream: bool) -> None:
    answer, running = run(
        [Reply("GUIDANCE: Use Read."), Reply("GUIDANCE: Call Read, path a.txt.")],
        [Reply("I would read it."), Reply("Now.", [CALL])],
        place,
        question(stream=stream),
    )
    assert (answer.text, len(answer.calls)) == ("Now.", 1)
    assert answer.outcome == ("2", "guidance")
    assert "I would read it." not in running.prompts[0]
    for part in ("Use Read.", "I would read it.", "2 of 3"):
        assert part in running.prompts[1]


@pytest.mark.parametrize("other", [Reply("Well."), Reply(""), Failure(500), Raw([b"data: {"]), Raw([b"no"])])
def test_no_plan_is_another_loop(place: Place, stream: bool, other: Answer) -> None:
    answer, running = run([other, Reply("SUMMARY: Fine.")], [], place, question(stream=stream))
    assert answer.text == "Fine."
    assert answer.outcome == ("2", "summary")
    assert len(running.prompts) == 2


def test_planner_that_times_out_is_another_loop() -> None:
    slow = Raw([b": wait\n\n", 0.6, b"data: [DONE]\n\n"])
    answer, _ = run([slow, Reply("SUMMARY: Fine.")], [], "outside", question(), request_timeout=0.2)
    assert (answer.text, answer.outcome) == ("Fine.", ("2", "summary"))


def test_repeated_guidance_ends_the_loops_early(place: Place, stream: bool) -> None:
    answer, running = run(
        [Reply("GUIDANCE: Use  Read."), Reply("GUIDANCE: Use Read.\n")], [Reply("No.")], place, question(stream=stream)
    )
    assert answer.text == "No."
    assert answer.outcome == ("2", "guidance")
    assert len(running.prompts) == 2


# After the last loop


def test_last_full_answer_is_the_best_there_is(place: Place, stream: bool) -> None:
    plans = [Reply(f"GUIDANCE: {n}", usage=usage(100, 10)) for n in range(3)]
    answers = [Reply("first", usage=usage(7, 1)), Reply("second", usage=usage(7, 1)), Reply("", usage=usage(7, 1))]
    answer, _ = run(plans, answers, place, question(stream=stream))
    assert (answer.text, answer.message["stop_reason"]) == ("second", "end_turn")
    assert answer.outcome == ("3", "guidance")
    assert (answer.message["usage"]["input_tokens"], answer.message["usage"]["output_tokens"]) == (321, 33)


def test_plain_request_is_the_last_resort(place: Place, stream: bool) -> None:
    plans = [Reply("Hm.", usage=usage(10, 1))] * 3
    answer, running = run(plans, [Reply("plain", usage=usage(7, 2))], place, question(stream=stream))
    assert answer.text == "plain"
    assert answer.outcome == ("3", "fallback")
    assert answer.message["usage"]["input_tokens"] == 37
    assert [message["role"] for message in running.executor.completions[0]["messages"]] == ["user"]


def test_text_after_results_is_an_answer(place: Place, stream: bool) -> None:
    answer, running = run([Reply("GUIDANCE: Say what it is.")], [Reply("It is 42.")], place, with_result(stream=stream))
    assert (answer.text, answer.message["stop_reason"]) == ("It is 42.", "end_turn")
    assert answer.outcome == ("1", "guidance")
    [prompt] = running.prompts
    assert "<request>\nWhat is in a.txt?\n</request>" in prompt
    assert '[assistant calls Read]\n{"path":"a.txt"}\n\n[result of Read]\nforty-two' in prompt


def test_silence_after_results_is_no_answer(place: Place, stream: bool) -> None:
    answer, _ = run(
        [Reply("GUIDANCE: Say it."), Reply("SUMMARY: It is 42.")], [Reply(" ")], place, with_result(stream=stream)
    )
    assert answer.text == "It is 42."
    assert answer.outcome == ("2", "summary")


@pytest.mark.parametrize("fails", ["executor", "fallback"])
def test_error_of_the_executor_has_its_status(place: Place, stream: bool, fails: str) -> None:
    plans: list[Answer] = [Reply(GUIDANCE)] if fails == "executor" else [Failure(503)] * 3
    answer, _ = run(plans, [Failure(429, error_body("slow down"))], place, question(stream=stream))
    assert (answer.status, answer.message["error"]["type"]) == (429, "rate_limit_error")


def test_executor_that_breaks_off_before_the_call_and_fails_again_is_a_real_error(place: Place, stream: bool) -> None:
    half = Chunks([{"choices": [{"index": 0, "delta": {"content": "I"}}]}], done=False)
    answer, _ = run([Reply(GUIDANCE)], [half, Failure(502)], place, question(stream=stream))
    assert (answer.status, answer.message["error"]["type"]) == (502, "api_error")


SPOILED = error_body("Failed to call a function.", code="tool_use_failed")


@pytest.mark.parametrize("failure", [Failure(500), Failure(400, SPOILED), Raw([b"data: {"])])
def test_executor_that_the_guidance_has_spoiled_is_asked_without_it(
    place: Place, stream: bool, failure: Answer
) -> None:
    answer, running = run([Reply(GUIDANCE)], [failure, Reply("plain")], place, question(stream=stream))
    assert answer.text == "plain"
    assert answer.outcome == ("1", "fallback")
    assert len(running.prompts) == 1


def test_forced_call_takes_no_summary(place: Place, stream: bool) -> None:
    body = question(stream=stream, tool_choice={"type": "any"})
    answer, running = run([Reply("SUMMARY: Done."), Reply(GUIDANCE)], [Reply(tool_calls=[CALL])], place, body)
    assert len(answer.calls) == 1
    assert "SUMMARY is not allowed" in running.prompts[0]


# Cache


def test_same_request_is_planned_once(place: Place, stream: bool) -> None:
    with boosted(ScriptedProvider([Reply("SUMMARY: Once.", usage=usage(50, 5))]), ScriptedProvider([]), place) as it:
        first = ask(it.url, question(stream=stream))
        second = ask(it.url, question(stream=not stream))
    assert (first.text, second.text) == ("Once.", "Once.")
    assert second.outcome == ("1", "cached")
    counted = second.message["usage"]
    assert (counted["input_tokens"], counted["cache_read_input_tokens"], counted["output_tokens"]) == (0, 50, 0)


def test_cached_guidance_is_executed_again(place: Place, stream: bool) -> None:
    executor = ScriptedProvider([Reply(tool_calls=[CALL], usage=usage(9, 3))] * 2)
    with boosted(ScriptedProvider([Reply(GUIDANCE, usage=usage(50, 5))]), executor, place) as running:
        ask(running.url, question(stream=stream))
        second = ask(running.url, question(stream=stream))
    assert second.outcome == ("1", "cached")
    assert (second.message["usage"]["input_tokens"], second.message["usage"]["output_tokens"]) == (9, 3)


def test_billing_header_and_cache_marks_shape_no_plan(place: Place) -> None:
    def body(session: int, **mark: Any) -> dict[str, Any]:
        billing = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2; cch={session};"}
        system = [billing, {"type": "text", "text": "Be brief.", **mark}]
        messages = [{"role": "user", "content": [{"type": "text", "text": "Hi", **mark}]}]
        return {**question(), "system": system, "messages": messages, "tools": [{**READ, **mark}]}

    with boosted(ScriptedProvider([Reply("SUMMARY: Once.")]), ScriptedProvider([]), place) as running:
        ask(running.url, body(1))
        second = ask(running.url, body(2, cache_control={"type": "ephemeral"}))
    assert second.text == "Once."
    assert "x-anthropic-billing-header" not in running.prompts[0]


@pytest.mark.parametrize(
    "other",
    [
        question("Something else"),
        question(system="Be brief."),
        question(tools=[{**READ, "description": "Write a file"}]),
        with_result(),
    ],
    ids=["text", "system", "tools", "history"],
)
def test_other_requests_are_planned_anew(place: Place, other: dict[str, Any]) -> None:
    planner = ScriptedProvider([Reply("SUMMARY: one"), Reply("SUMMARY: two")])
    with boosted(planner, ScriptedProvider([]), place) as running:
        assert [ask(running.url, body).text for body in (question(), other)] == ["one", "two"]


def test_failures_are_not_cached(place: Place) -> None:
    plans: list[Answer] = [Reply("Hm."), Failure(500), Reply("Hm."), Reply("SUMMARY: Better.")]
    with boosted(ScriptedProvider(plans), ScriptedProvider([Reply("plain")]), place) as running:
        assert ask(running.url, question()).text == "plain"
        assert ask(running.url, question()).text == "Better."


def test_connections_to_both_providers_are_used_again(place: Place, stream: bool) -> None:
    planner = ScriptedProvider(lambda body: Reply(GUIDANCE))
    executor = ScriptedProvider(lambda body: Reply("I read.", [CALL]))
    with boosted(planner, executor, place) as running:
        for n in range(6):
            assert ask(running.url, question(f"{n}", stream=stream)).calls
        assert (len(running.planner_connections), len(running.executor_connections)) == (1, 1)
    assert (len(planner.requests), len(executor.requests)) == (6, 6)


def test_one_line_is_logged_for_a_request_without_its_contents(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ccproxy.boost")
    run([Failure(500, "secret-1"), Reply("SUMMARY: secret-2")], [], "outside", question("secret-3"))
    lines = [record.getMessage() for record in caplog.records if record.name == "ccproxy.boost"]
    assert [record.levelname for record in caplog.records if record.name == "ccproxy.boost"] == ["WARNING", "INFO"]
    assert "HTTP 500" in lines[0]
    assert "loops 2, outcome summary, planner " in lines[1]
    assert "secret" not in caplog.text
    assert "boost-key" not in caplog.text


def test_refusal_that_is_final_for_claude_code_stays_so(place: Place, stream: bool) -> None:
    refused = Failure(400, error_body("Field 'frobnicate' was refused."))
    headers = {"user-agent": "claude-cli/2.1.332 (external, cli)"}
    with boosted(ScriptedProvider([Reply(GUIDANCE)]), ScriptedProvider([refused]), place) as running:
        answer = httpx.post(f"{running.url}/v1/messages", json=question(stream=stream), headers=headers)
    assert answer.status_code == 424
    error = answer.json()["error"]
    assert (error["type"], error["message"]) == ("invalid_request_error", "Field 'frobnicate' was refused.")
