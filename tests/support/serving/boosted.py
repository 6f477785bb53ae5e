"""The whole proxy with boost on real sockets, in front of a scripted planner and a scripted executor."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from starlette.types import Receive, Scope, Send

from ccproxy import Forward, Settings, create_app
from ccproxy.serving.limits import Limits
from ccproxy.serving.protocol import limited_protocol
from ccproxy_middleware import BoostMiddleware

from ..clients.sdk import accumulate
from ..providers.scripted import ScriptedProvider
from ..streams.grammar import check_stream
from .servers import serve

Place = Literal["outside", "inside"]

PLANNER, EXECUTOR, CLAUDE = "thinker", "worker", "claude-opus-4-8"
READ = {
    "name": "Read",
    "description": "Read a file",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


class Providers:
    """Both providers on one server, below ``/planner`` and ``/executor``, and the connections each was reached by."""

    def __init__(self, planner: ScriptedProvider, executor: ScriptedProvider) -> None:
        self.connections: dict[str, set[tuple[str, int]]] = {"planner": set(), "executor": set()}
        self._apps = {"planner": planner, "executor": executor}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, name, rest = scope["path"].split("/", 2)
        self.connections[name].add(tuple(scope["client"]))
        await self._apps[name]({**scope, "path": f"/{rest}"}, receive, send)


@dataclass
class Boosted:
    """What runs: the proxy's URL, the two providers, and the connections that they were reached by."""

    url: str
    planner: ScriptedProvider
    executor: ScriptedProvider
    planner_connections: set[tuple[str, int]] = field(default_factory=set)
    executor_connections: set[tuple[str, int]] = field(default_factory=set)

    @property
    def prompts(self) -> list[str]:
        """What the planner was asked."""
        return [body["messages"][-1]["content"] for body in self.planner.completions]


@contextmanager
def boosted(
    planner: ScriptedProvider, executor: ScriptedProvider, place: Place = "outside", /, **settings: Any
) -> Iterator[Boosted]:
    """Serve the proxy with boost for opus, outside FormatConversion as it is made, or inside it."""
    providers = Providers(planner, executor)
    with ExitStack() as stack:
        upstream = stack.enter_context(serve(providers, lifespan="off")).url
        plan_url, execute_url = f"{upstream}/planner/v1", f"{upstream}/executor/v1"
        base: dict[str, Any] = {
            "openai_api_key": "target-key", "openai_base_url": execute_url, "big_model": EXECUTOR, "max_retries": 0,
        }  # fmt: skip
        boost = {
            "enable_boost_support": "BIG_MODEL", "boost_base_url": plan_url, "boost_api_key": "boost-key",
            "boost_model": PLANNER,
        }  # fmt: skip
        if place == "outside":
            app = create_app(Settings.explicit(**base, **boost, **settings))
        else:
            inner = BoostMiddleware(
                Forward(execute_url, api_key="target-key", max_retries=0),
                planner=Forward(plan_url, api_key="boost-key", max_retries=0),
                model=PLANNER,
                tiers=["BIG_MODEL"],
                template=settings.pop("boost_wrapper_template", None),
            )
            app = create_app(Settings.explicit(**base, **settings), endpoint=inner)
        server = stack.enter_context(serve(app, http=limited_protocol(Limits())))
        yield Boosted(server.url, planner, executor, *providers.connections.values())
        assert server.errors == []


@dataclass(frozen=True)
class Answered:
    """The client's answer. ``message`` is the whole Anthropic message, or the error object."""

    status: int
    headers: httpx.Headers
    message: dict[str, Any]
    body: bytes

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.message["content"] if block["type"] == "text")

    @property
    def calls(self) -> list[tuple[str, Any]]:
        return [(block["name"], block["input"]) for block in self.message["content"] if block["type"] == "tool_use"]

    @property
    def outcome(self) -> tuple[str | None, str | None]:
        return self.headers.get("x-boost-loops"), self.headers.get("x-boost-outcome")


def question(text: str = "What is in a.txt?", /, **more: Any) -> dict[str, Any]:
    """A Messages request with a tool."""
    messages = [{"role": "user", "content": text}]
    return {"model": CLAUDE, "max_tokens": 100, "tools": [READ], "messages": messages, **more}


def with_result(text: str = "What is in a.txt?", /, **more: Any) -> dict[str, Any]:
    """The same, after the tool has answered."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a.txt"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "forty-two"}
    body = question(text, **more)
    body["messages"] += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return body


def ask(url: str, body: dict[str, Any], *, timeout: float = 20.0) -> Answered:
    """Send a request as a client of its own; a stream is checked, and added up as Anthropic's SDK does."""
    with httpx.Client(base_url=url, timeout=timeout, trust_env=False) as client:
        return answered(client.post("/v1/messages", json=body), body)


def answered(response: httpx.Response, body: dict[str, Any]) -> Answered:
    """The answer to this request."""
    kind = response.headers["content-type"]
    if body.get("stream") and response.status_code == 200:
        assert kind.startswith("text/event-stream")
        check_stream(response.content)
        message = accumulate(response.content)
    else:
        assert kind == "application/json"
        message = response.json()
    return Answered(response.status_code, response.headers, message, response.content)
