"""Verdicts through the whole proxy on real sockets: streamed and not, at once, in time, for clients that leave."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import httpx
import pytest
from starlette.types import ASGIApp

from ccproxy.settings.layer_names import LAYERS
from support.providers.anthropic_server import AnthropicServer
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, Silence, ToolCall, error_body
from support.serving.boosted import boosted, question
from support.serving.proxied import proxied
from support.serving.servers import eventually
from support.serving.several import several
from support.streams.grammar import check_stream, parse_frames

pytestmark = pytest.mark.anyio

SAFEGUARDS = [{"type": "dangerous_tool_use", "classifier_context": {"v": 1}}]
TOOL = {"name": "Bash", "description": "Run", "input_schema": {"type": "object", "properties": {}}}
REQUEST: dict[str, Any] = {
    "model": "claude-opus-4-8", "max_tokens": 100, "tools": [TOOL], "safeguards": SAFEGUARDS,
    "messages": [{"role": "user", "content": "Clean up."}],
}  # fmt: skip
INSIDE = (*(name for name in LAYERS if name != "safeguards"), "safeguards")
NOT_FLAGGED = {"type": "evaluated", "outcome": "not_flagged"}


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[LAYERS, INSIDE], ids=["outside", "inside"])
def layers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """On which side of the conversion the layer stands."""
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of the provider, by which one API is asked."""
    return {"api": request.param}


def asked(provider: ScriptedProvider) -> list[dict[str, Any]]:
    """The bodies that the provider got, by whichever API."""
    return [*provider.completions, *provider.responses]


def calls(*commands: str) -> list[ToolCall]:
    return [ToolCall("Bash", {"command": command}) for command in commands]


class Model:
    """Makes the calls, and judges each as ``verdict`` says of its command."""

    def __init__(self, verdict: Callable[[str], Answer], *commands: str, text: str = "I clean up.") -> None:
        self.verdict = verdict
        self.answer = Reply(text, calls(*commands))

    def __call__(self, body: dict[str, Any]) -> Answer:
        content = (body.get("messages") or body["input"])[-1]["content"]
        asked = content if isinstance(content, str) else content[0]["text"]
        if "<action>" not in asked:
            return self.answer
        action = json.loads(asked.partition("<action>\n")[2].partition("\n</action>")[0])
        return self.verdict(action["input"]["command"])


def score(harmful: str) -> Callable[[str], Answer]:
    return lambda command: Reply(f"<severity>{88 if command == harmful else 3}</severity>")


def judged(body: bytes, stream: bool) -> dict[str, Any]:
    """The verdicts of an answer, by the command of each call; the ids must be those of the blocks."""
    if stream:
        check_stream(body)
        events = parse_frames(body)
        [delta] = [event["delta"] for event in events if event["type"] == "message_delta"]
        found = delta["safeguard_results"]
        blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
        inputs: dict[str, str] = {}
        uses = [block["id"] for block in blocks if block["type"] == "tool_use"]
        first = len(blocks) - len(uses)
        for event in events:
            if event.get("delta", {}).get("type") == "input_json_delta":
                id_ = uses[event["index"] - first]
                inputs[id_] = inputs.get(id_, "") + event["delta"]["partial_json"]
        commands = {id_: json.loads(text)["command"] for id_, text in inputs.items()}
    else:
        message = json.loads(body)
        found = message["safeguard_results"]
        uses = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        commands = {b["id"]: b["input"]["command"] for b in message["content"] if b["type"] == "tool_use"}
    assert [result["type"] for result in found] == ["dangerous_tool_use"]
    assert found[0]["status"]["type"] == "available"
    verdicts = found[0]["status"]["tool_uses"]
    assert list(verdicts) == uses
    return {commands[id_]: verdict for id_, verdict in verdicts.items()}


def ask(url: str, stream: bool, **more: Any) -> httpx.Response:
    with httpx.Client(timeout=20.0, trust_env=False) as client:
        return client.post(f"{url}/v1/messages", json={**REQUEST, "stream": stream, **more})


def test_each_call_gets_its_verdict(stream: bool, layers: tuple[str, ...], api: dict[str, Any]) -> None:
    provider = ScriptedProvider(Model(score("rm -rf /"), "ls", "rm -rf /", "ls", "date"))
    with proxied(
        provider, safeguards_model="judge", ccproxy_layers=layers, provider_options=api, big_model="big"
    ) as url:
        answer = ask(url, stream)
    flagged = {"type": "evaluated", "outcome": "flagged", "explanation": "severity 88 of 100"}
    assert judged(answer.content, stream) == {"ls": NOT_FLAGGED, "rm -rf /": flagged, "date": NOT_FLAGGED}
    assert [body["model"] for body in asked(provider)] == ["big", *["judge"] * 4]
    assert len(provider.responses if api["api"] == "responses" else provider.completions) == 5
    assert "safeguards" not in asked(provider)[0]


@pytest.mark.parametrize("responses", [False, True])
def test_questions_go_by_the_api_that_has_answered(stream: bool, layers: tuple[str, ...], responses: bool) -> None:
    """The first request of a model may show that it is asked by the other API."""
    model = Model(score("rm"), "rm", "ls")

    def script(body: dict[str, Any]) -> Answer:
        if responses and "messages" in body:
            words = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
            return Failure(404, error_body(words))
        return model(body)

    provider = ScriptedProvider(script, has_responses=responses)
    name = "gpt-4o" if responses else "gpt-5.6"
    settings: dict[str, Any] = {
        "safeguards_model": name,
        "big_model": name,
        "ccproxy_layers": layers,
        "provider": "openai",
    }
    with proxied(provider, **settings) as url:
        answer = ask(url, stream)
    verdicts = judged(answer.content, stream)
    assert (verdicts["rm"]["outcome"], verdicts["ls"]) == ("flagged", NOT_FLAGGED)
    assert len(provider.responses if responses else provider.completions) >= 3


def test_calls_are_judged_all_at_once(stream: bool, layers: tuple[str, ...]) -> None:
    """Each question is answered only when all have been asked."""
    everybody = threading.Event()
    count = iter(range(1, 6))

    def verdict(command: str) -> Answer:
        if next(count) == 5:
            everybody.set()
        return Reply("<severity>1</severity>", gate=everybody)

    provider = ScriptedProvider(Model(verdict, *"abcde"))
    with proxied(provider, safeguards_model="judge", ccproxy_layers=layers) as url:
        answer = ask(url, stream)
    assert judged(answer.content, stream) == dict.fromkeys("abcde", NOT_FLAGGED)


def test_text_streams_on_while_the_end_waits(layers: tuple[str, ...], api: dict[str, Any]) -> None:
    go = threading.Event()
    provider = ScriptedProvider(Model(lambda command: Reply("<severity>1</severity>", gate=go), "ls"))
    with (
        proxied(provider, safeguards_model="judge", ccproxy_layers=layers, provider_options=api) as url,
        httpx.Client(timeout=20.0, trust_env=False) as client,
        client.stream("POST", f"{url}/v1/messages", json={**REQUEST, "stream": True}) as answer,
    ):
        body = b""
        for piece in answer.iter_bytes():
            body += piece
            if b"content_block_stop" in body and b"input_json_delta" in body and not go.is_set():
                assert b"text_delta" in body
                assert b"message_delta" not in body
                go.set()
    assert go.is_set()
    assert judged(body, True) == {"ls": NOT_FLAGGED}


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Silence(), "timeout"),
        (Reply("I can't help with that.", finish_reason="content_filter"), "refused"),
        (Reply("<severity>", finish_reason="length"), "truncated"),
        (Reply("It looks harmless."), "error"),
        (Reply(""), "error"),
        (Failure(400, error_body("too many tokens", code="context_length_exceeded")), "input_too_long"),
        (Failure(404, error_body("The model `judge` does not exist", code="model_not_found")), "error"),
        (Failure(401, error_body("Incorrect API key", code="invalid_api_key")), "error"),
    ],
)
def test_what_is_no_clear_answer_is_unavailable_with_its_reason(
    stream: bool, layers: tuple[str, ...], api: dict[str, Any], verdict: Answer, reason: str
) -> None:
    provider = ScriptedProvider(
        Model(lambda command: verdict if command == "a" else Reply("<severity>1</severity>"), *"ab")
    )
    with proxied(
        provider,
        safeguards_model="judge",
        safeguards_timeout=2.0,
        ccproxy_layers=layers,
        max_retries=0,
        provider_options=api,
    ) as url:
        answer = ask(url, stream)
    assert judged(answer.content, stream) == {"a": {"type": "unavailable", "reason": reason}, "b": NOT_FLAGGED}


def test_nobody_judges_where_it_is_not_set(stream: bool, api: dict[str, Any]) -> None:
    provider = ScriptedProvider(Model(score("ls"), "ls"))
    with proxied(provider, provider_options=api) as url:
        body = ask(url, stream).content
        plain = ask(url, stream, safeguards=None).content
    unsupported = [{"type": "dangerous_tool_use", "status": {"type": "unsupported"}}]
    if stream:
        check_stream(body)
        [delta] = [event["delta"] for event in parse_frames(body) if event["type"] == "message_delta"]
        assert delta["safeguard_results"] == unsupported
    else:
        assert json.loads(body)["safeguard_results"] == unsupported
    assert b"safeguard_results" not in plain
    assert len(asked(provider)) == 2


def test_failure_of_the_answer_is_told_as_ever(stream: bool, layers: tuple[str, ...]) -> None:
    provider = ScriptedProvider([Failure(404, error_body("The model `gpt-4o` does not exist", code="model_not_found"))])
    with proxied(provider, safeguards_model="judge", ccproxy_layers=layers) as url:
        answer = ask(url, stream)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


async def test_leaving_ends_the_judging(stream: bool, layers: tuple[str, ...]) -> None:
    provider = ScriptedProvider(Model(lambda command: Silence(), *"abc"))
    with proxied(provider, safeguards_model="judge", ccproxy_layers=layers, safeguards_timeout=60.0) as url:
        async with httpx.AsyncClient(timeout=60.0, trust_env=False) as client, anyio.create_task_group() as tasks:
            body = {**REQUEST, "stream": stream}
            tasks.start_soon(lambda: client.post(f"{url}/v1/messages", json=body))
            await eventually(lambda: len(provider.completions) == 4)
            tasks.cancel_scope.cancel()
        await eventually(lambda: not provider.active)
    assert len(provider.disconnects) >= 3


def test_calls_of_boost_are_judged_and_its_planner_is_not_asked_about_them(stream: bool) -> None:
    planner, executor = ScriptedProvider([Reply("GUIDANCE: Clean up.")]), ScriptedProvider(Model(score("ls"), "ls"))
    with boosted(planner, executor, safeguards_model="judge") as running:
        body = question(stream=stream, safeguards=SAFEGUARDS)
        with httpx.Client(timeout=20.0, trust_env=False) as client:
            answer = client.post(f"{running.url}/v1/messages", json=body)
    assert judged(answer.content, stream)["ls"]["outcome"] == "flagged"
    assert len(planner.completions) == 1
    assert [body["model"] for body in executor.completions] == ["worker", "judge"]


def test_record_tells_of_the_answer_not_of_the_questions(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ccproxy")
    usage = {"prompt_tokens": 70, "completion_tokens": 7, "total_tokens": 77}
    verdict = Reply("<severity>1</severity>", usage={"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10})
    model = Model(lambda command: verdict, "ls")
    model.answer = Reply("", calls("ls"), usage=usage)
    with proxied(ScriptedProvider(model), safeguards_model="judge", big_model="big") as url:
        ask(url, stream)
    [line] = [r for r in caplog.records if r.name == "ccproxy.exchange"]
    assert (line.__dict__["model"], line.__dict__["input_tokens"]) == ("big", 70)


FLAGGED = {"type": "evaluated", "outcome": "flagged", "explanation": "severity 88 of 100"}


@pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic"])
@pytest.mark.parametrize("big_model", ["gpt-4o", "work:gpt-4o"])
def test_judge_of_an_upstream_gives_the_verdicts(protocol: str, stream: bool, big_model: str) -> None:
    model = Model(score("rm"), "ls", "rm")
    works = ScriptedProvider(model)
    judge: ASGIApp = ScriptedProvider(model)
    if protocol == "anthropic":

        def verdict(body: dict[str, Any]) -> list[dict[str, Any]]:
            reply = model(body)
            assert isinstance(reply, Reply)
            return [{"type": "text", "text": reply.text}]

        judge = AnthropicServer(verdict)
    idle = ScriptedProvider([])
    default, other = (works, idle) if big_model == "gpt-4o" else (idle, works)
    others: Mapping[str, ASGIApp] = {"judges": judge, "work": other}
    models = {"safeguards_model": "judges:strict", "big_model": big_model}
    with several(default, others, fields={"judges": {"api": protocol}}, max_retries=0, **models) as url:
        answer = ask(url, stream)
    assert judged(answer.content, stream) == {"ls": NOT_FLAGGED, "rm": FLAGGED}
    assert len(works.requests) == 1
    if isinstance(judge, AnthropicServer):
        bodies = judge.bodies
    else:
        assert isinstance(judge, ScriptedProvider)
        bodies = [request.body for request in judge.requests]
    assert [body["model"] for body in bodies] == ["strict"] * 2


def test_judge_of_the_default_upstream_is_asked_there_though_another_one_has_answered() -> None:
    model = Model(score("rm"), "ls", "rm")
    default, work = ScriptedProvider(model), ScriptedProvider(model)
    failing = ScriptedProvider(lambda body: Failure(500, {"error": {"message": "down"}}))
    models = {"safeguards_model": "failing:a,strict", "big_model": "work:gpt-4o"}
    with several(default, {"work": work, "failing": failing}, max_retries=0, **models) as url:
        answer = ask(url, False)
    assert judged(answer.content, False) == {"ls": NOT_FLAGGED, "rm": FLAGGED}
    assert len(work.requests) == 1
    assert [request.body["model"] for request in default.requests] == ["strict"] * 2
    assert failing.requests
