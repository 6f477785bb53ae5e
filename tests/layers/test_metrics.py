"""The metrics: every outcome is counted once, labels stay few, workers are summed up, the page is protected."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy.settings.settings import Settings
from ccproxy_middleware import MetricsMiddleware, ModelMappingMiddleware
from ccproxy_middleware.toolkit.errors import ApiError, StreamAborted
from ccproxy_middleware.toolkit.record import get_record
from support.asgi import Answer, Inner, call, http_scope
from support.paths import ROOT
from support.providers.scripted import Endless, Failure, Raw, Reply, ScriptedProvider, ToolCall
from support.serving.boosted import EXECUTOR, READ, boosted
from support.serving.process import started
from support.serving.proxied import proxied
from support.serving.servers import eventually, serve

pytestmark = pytest.mark.anyio

MESSAGE = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
KEY = {"x-api-key": "planted-client-key"}
CHAT = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "generic",
    "gen_ai_request_model": "gpt-4o-mini",
    "tier": "SMALL_MODEL",
}


class Page:
    """A scraped page, read by Prometheus' own parser."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: list[Metric] = list(text_string_to_metric_families(text))

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that carry these labels."""
        return sum(
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str) -> set[str]:
        """Every value of every label of the samples of this name."""
        samples = [sample for family in self.families for sample in family.samples if sample.name == name]
        return {value for sample in samples for value in sample.labels.values()}

    @property
    def names(self) -> set[str]:
        return {sample.name for family in self.families for sample in family.samples}


# One client, since to make one takes long; each request has a connection of its own, so that all workers get some.
http = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), timeout=30.0)


def scrape(url: str, headers: Mapping[str, str] = {}) -> Page:
    return Page(http.get(f"{url}/metrics", headers=headers).raise_for_status().text)


async def scraped(app: ASGIApp) -> Page:
    return Page((await call(app, http_scope("GET", "/metrics"))).body.decode())


def post(url: str, **fields: Any) -> httpx.Response:
    return http.post(f"{url}/v1/messages", json={**MESSAGE, **fields}, headers=KEY)


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        ({"request-class": "main"}, ("main", "none")),
        ({"request-class": "subagent", "agent-type": "Explore"}, ("subagent", "Explore")),
        ({"request-class": "subagent", "agent-type": "of a person's own"}, ("subagent", "other")),
        ({"request-class": "made up", "agent-type": "made up"}, ("other", "other")),
    ],
)
def test_agents_are_counted_by_known_names_only(told: dict[str, str], labels: tuple[str, str]) -> None:
    headers = {f"x-claude-code-{name}": value for name, value in told.items()}
    with proxied(ScriptedProvider([Reply("Hello")])) as url:
        http.post(f"{url}/v1/messages", json=MESSAGE, headers={**KEY, **headers})
        page = scrape(url)
    agent = dict(zip(("request_class", "agent_type"), labels, strict=True))
    assert page.value("ccproxy_agent_requests_total") == page.value("ccproxy_agent_requests_total", **agent) == 1
    assert page.value("ccproxy_agent_tokens_total", kind="output", **agent) > 0


def test_client_that_tells_nothing_is_not_counted_as_an_agent() -> None:
    with proxied(ScriptedProvider([Reply("Hello")])) as url:
        post(url)
        assert "ccproxy_agent_requests_total" not in scrape(url).names


def test_every_outcome_is_counted_once() -> None:
    provider = ScriptedProvider(
        [
            Reply("Hello"),
            Reply("Hello"),
            Failure(500),
            Reply("at last"),
            Failure(400, "no"),
            Raw([b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hal"}}]}\n\n']),
        ]
    )
    with proxied(provider) as url:
        assert post(url).status_code == 200
        assert post(url, stream=True).status_code == 200
        assert post(url).status_code == 200  # by a retry
        assert post(url).status_code == 400
        with pytest.raises(httpx.RemoteProtocolError):
            post(url, stream=True)
        assert post(url, max_tokens="many").status_code == 400
        counting = {"model": MESSAGE["model"], "messages": MESSAGE["messages"]}
        assert http.post(f"{url}/v1/messages/count_tokens", json=counting).status_code == 200
        assert http.get(f"{url}/v1/models").status_code == 200
        assert http.get(f"{url}/nothing").status_code == 404
        assert http.get(f"{url}/health").status_code == 200
        page = scrape(url)
    requests = {
        (route, status, outcome, tier): page.value(
            "ccproxy_requests_total", route=route, status=status, outcome=outcome, tier=tier
        )
        for route, status, outcome, tier in (
            ("messages", "200", "complete", "SMALL_MODEL"),
            ("messages", "200", "aborted", "SMALL_MODEL"),
            ("messages", "400", "complete", "SMALL_MODEL"),
            ("count_tokens", "200", "complete", "SMALL_MODEL"),
            ("models", "200", "complete", "none"),
            ("other", "404", "complete", "none"),
            ("other", "200", "complete", "none"),
        )
    }
    assert list(requests.values()) == [3, 1, 2, 1, 1, 1, 1]
    assert page.value("ccproxy_requests_total") == 10
    assert page.value("ccproxy_errors_total", type="invalid_request_error") == 2
    assert page.value("ccproxy_errors_total", type="not_found_error") == 1
    assert page.value("ccproxy_errors_total", type="api_error") == 1
    assert page.value("ccproxy_errors_total") == 4
    assert page.value("ccproxy_retries_total") == 1
    assert page.value("ccproxy_upstream_connections_total") >= 1
    assert page.value("ccproxy_active_streams") == 0
    assert page.value("gen_ai_server_request_duration_seconds_count", **CHAT) == 6
    assert page.value("gen_ai_server_request_duration_seconds_count", error_type="") == 3
    assert page.value("gen_ai_server_time_to_first_token_seconds_count", **CHAT) == 2


def test_tokens_are_counted_by_kind() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 50,
        "total_tokens": 1050,
        "prompt_tokens_details": {"cached_tokens": 800},
    }
    with proxied(ScriptedProvider([Reply("a", usage=usage), Reply("b", usage=usage)])) as url:
        post(url)
        post(url, stream=True)
        page = scrape(url)
    kinds = {kind: page.value("ccproxy_tokens_total", kind=kind, tier="SMALL_MODEL") for kind in ("input", "output")}
    assert kinds == {"input": 400, "output": 100}
    assert page.value("ccproxy_tokens_total", kind="cache_read") == 1600
    assert page.value("gen_ai_client_token_usage_sum", **CHAT, gen_ai_token_type="input") == 2000
    assert page.value("gen_ai_client_token_usage_sum", **CHAT, gen_ai_token_type="output") == 100
    assert page.value("gen_ai_client_token_usage_count") == 4


async def test_stream_is_active_until_its_client_leaves() -> None:
    with proxied(ScriptedProvider([Endless()])) as url:
        async with (
            httpx.AsyncClient(base_url=url) as client,
            client.stream("POST", "/v1/messages", json={**MESSAGE, "stream": True}) as answer,
        ):
            chunks = answer.aiter_bytes()
            await anext(chunks)
            assert Page((await client.get("/metrics")).text).value("ccproxy_active_streams") == 1
        await eventually(lambda: scrape(url).value("ccproxy_requests_total", outcome="disconnected"))
        page = scrape(url)
    assert page.value("ccproxy_active_streams") == 0
    assert page.value("ccproxy_requests_total", route="messages", status="200", outcome="disconnected") == 1
    assert page.value("ccproxy_errors_total") == 0


def test_boost_is_counted_with_its_cache() -> None:
    planner = ScriptedProvider([Reply("## Guidance\nGUIDANCE: call Read with path a.txt")] * 2)
    executor = ScriptedProvider(lambda body: Reply(tool_calls=[ToolCall("Read", {"path": "a.txt"}, "call_1")]))
    with boosted(planner, executor) as proxy:
        for _ in range(2):
            answer = http.post(
                f"{proxy.url}/v1/messages", json={**MESSAGE, "model": "claude-opus-4-8", "tools": [READ]}
            )
            assert answer.status_code == 200
        page = scrape(proxy.url)
    assert page.value("ccproxy_boosts_total", outcome="guidance", tier="BIG_MODEL") == 1
    assert page.value("ccproxy_boosts_total", outcome="cached", tier="BIG_MODEL") == 1
    assert page.value("ccproxy_boost_loops_total", tier="BIG_MODEL") == 2
    assert page.value("ccproxy_boost_cache_hits_total") == 1
    assert EXECUTOR in page.labels("gen_ai_server_request_duration_seconds_count")


def test_names_that_clients_make_up_are_no_labels() -> None:
    with proxied(ScriptedProvider()) as url:
        for n in range(12):
            post(url, model=f"made-up-{n}")
            http.get(f"{url}/v1/models/made-up-{n}")
            http.get(f"{url}/made-up-{n}")
            http.request(f"MADE{n}", url)
        page = scrape(url)
    assert "made-up" not in page.text.lower()
    assert page.value("gen_ai_server_request_duration_seconds_count", gen_ai_request_model="other", tier="none") == 12
    assert len([line for line in page.text.splitlines() if line.startswith("ccproxy_requests_total")]) < 10


def test_page_needs_the_client_key_where_there_is_one() -> None:
    with proxied(ScriptedProvider(), anthropic_api_key="planted-client-key,other") as url:
        assert http.get(f"{url}/metrics").status_code == 401
        assert http.get(f"{url}/metrics", headers={"x-api-key": "wrong"}).status_code == 401
        assert http.get(f"{url}/metrics", headers={"authorization": "Bearer other"}).status_code == 200
        assert http.post(f"{url}/v1/messages", json=MESSAGE).status_code == 401
        page = scrape(url, KEY)
        assert http.get(f"{url}/health").status_code == 200
    assert page.value("ccproxy_requests_total", route="messages", status="401") == 1
    assert page.value("ccproxy_errors_total", type="authentication_error") == 1
    assert "planted" not in page.text


def test_no_page_where_metrics_are_off() -> None:
    with proxied(ScriptedProvider(), metrics=False) as url:
        assert http.get(f"{url}/metrics").status_code == 404


def test_default_stack_has_the_page() -> None:
    assert Settings.explicit(openai_api_key="k").ccproxy_layers[0] == "metrics"


@pytest.mark.parametrize(
    ("method", "status", "body"), [("GET", 200, True), ("HEAD", 200, False), ("POST", 405, True), ("DELETE", 405, True)]
)
async def test_page_is_only_read(method: str, status: int, body: bool) -> None:
    inner = Inner()
    answer = await call(MetricsMiddleware(inner), http_scope(method, "/metrics"))
    assert (answer.status, bool(answer.body), inner.scopes) == (status, body, [])


async def test_page_is_openmetrics_where_that_is_wanted() -> None:
    app = MetricsMiddleware(Inner())
    await call(app, http_scope("POST", "/v1/messages"))
    answer = await call(app, http_scope("GET", "/metrics", {"accept": "application/openmetrics-text; version=1.0.0"}))
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "ccproxy_requests" in {family.name for family in parse_openmetrics(answer.body.decode())}  # type: ignore[no-untyped-call]


async def test_two_apps_in_one_process_count_for_themselves() -> None:
    one, other = MetricsMiddleware(Inner()), MetricsMiddleware(Inner())
    await call(one, http_scope("POST", "/v1/messages"))
    assert (await scraped(one)).value("ccproxy_requests_total") == 1
    assert (await scraped(other)).value("ccproxy_requests_total") == 0


async def test_foreign_app_is_counted_alone() -> None:
    async def foreign(scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": 200}
        match scope["path"]:
            case "/v1/messages":
                headers = iter([(b"Content-Type", b"text/event-stream")])  # they may be read but once
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            case "/left":
                return
            case "/broken":
                await send(start)
                raise StreamAborted("", ApiError(504, "timeout_error", "late"))
            case "/strange":
                await send({"type": "http.response.start", "status": 418, "headers": []})
                await send({"type": "http.response.body", "body": b"teapot"})
            case _:
                raise ValueError("a bug")

    app = MetricsMiddleware(foreign, models=["m"])
    streamed = await call(app, http_scope("POST", "/v1/messages"))
    assert (streamed.headers, streamed.complete) == ({"Content-Type": "text/event-stream"}, True)
    with anyio.move_on_after(0):
        await call(app, http_scope("GET", "/left"))
    with pytest.raises(StreamAborted):
        await call(app, http_scope("GET", "/broken"))
    with pytest.raises(ValueError, match="a bug"):
        await call(app, http_scope("GET", "/bug"))
    assert (await call(app, http_scope("GET", "/strange"))).status == 418
    page = await scraped(app)
    counted = {
        (status, outcome): page.value("ccproxy_requests_total", status=status, outcome=outcome)
        for status, outcome in (
            ("200", "complete"),
            ("499", "disconnected"),
            ("200", "aborted"),
            ("500", "failed"),
            ("418", "complete"),
        )
    }
    assert list(counted.values()) == [1] * 5
    errors = {type_: page.value("ccproxy_errors_total", type=type_) for type_ in ("timeout_error", "api_error")}
    assert errors == {"timeout_error": 1, "api_error": 1}
    assert page.value("ccproxy_errors_total", type="invalid_request_error") == 1
    assert page.value("gen_ai_server_time_to_first_token_seconds_count", gen_ai_provider_name="unknown") == 1
    assert page.value("ccproxy_active_streams") == 0


def observers_that_fail(scope: Scope) -> None:
    """What a bug in another observer would do."""

    def fail(*_: Any) -> Any:
        raise ValueError("a bug in an observer")

    record = scope["ccproxy.record"]
    record.start_observers.insert(0, fail)
    record.observers.insert(0, fail)
    record.explain = fail


@pytest.mark.parametrize("starts", [1, 2])
async def test_exchange_is_counted_when_other_observers_fail(starts: int, caplog: pytest.LogCaptureFixture) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        observers_that_fail(scope)
        headers = [(b"content-type", b"text/event-stream")]
        for _ in range(starts):  # a foreign app may be wrong about that too
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: {}\n\n"})
        record = get_record(scope)
        assert record is not None
        assert record.decisions == ["the decisions can't be told: a bug, whose traceback is in the log"]

    app = MetricsMiddleware(inner)
    assert (await call(app, http_scope("POST", "/v1/messages"))).complete
    page = await scraped(app)
    assert page.value("ccproxy_requests_total", outcome="complete") == 1
    assert page.value("ccproxy_active_streams") == 0
    assert caplog.text.count("ValueError: a bug in an observer") == 2 + starts


async def test_failure_of_the_app_is_told_when_observers_fail_too() -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        observers_that_fail(scope)
        raise StreamAborted("", ApiError(504, "timeout_error", "late"))

    app = MetricsMiddleware(inner)
    with pytest.raises(StreamAborted):
        await call(app, http_scope("POST", "/v1/messages"))
    assert (await scraped(app)).value("ccproxy_errors_total", type="timeout_error") == 1


@pytest.mark.parametrize("tokens", [10**400, -1, 1.5, "7", None, 2**63])
async def test_usage_that_is_no_number_of_tokens_is_not_counted(tokens: Any) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["ccproxy.record"].usage = {"input_tokens": tokens, "output_tokens": 3}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    app = MetricsMiddleware(inner)
    await call(app, http_scope("POST", "/v1/messages"))
    page = await scraped(app)
    assert page.value("ccproxy_tokens_total", kind="output") == 3
    assert page.value("ccproxy_tokens_total", kind="input") == 0


def test_odd_blocks_are_counted_where_their_decisions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    odd = {"type": "mcp_tool_result", "content": ["plain"]}
    answered = {"role": "assistant", "content": [{"type": "text", "text": "y"}, odd]}
    messages = [MESSAGE["messages"][0], answered, MESSAGE["messages"][0]]  # type: ignore[index]
    with caplog.at_level("DEBUG", "ccproxy"), proxied(ScriptedProvider(), inspector=True) as url:
        assert post(url, stream=True, messages=messages).status_code == 200
        page = scrape(url)
    assert page.value("ccproxy_requests_total", route="messages", outcome="complete") == 1
    assert page.value("ccproxy_active_streams") == 0
    assert "1 block is left out" in caplog.text


async def test_other_scopes_pass() -> None:
    seen: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*message: Message) -> Any:
        raise AssertionError

    await MetricsMiddleware(inner)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


async def test_tier_is_known_where_the_mapping_stands_inside() -> None:
    app = MetricsMiddleware(ModelMappingMiddleware(Inner(), big="b", small="s"), models=["b", "s"])
    answer = Answer()
    await call(app, http_scope("POST", "/v1/messages"), {"model": "claude-opus-4-8"}, answer=answer)
    page = await scraped(app)
    assert page.value("ccproxy_requests_total", tier="BIG_MODEL") == 1
    assert page.value("gen_ai_server_request_duration_seconds_count", gen_ai_request_model="b") == 1


@contextmanager
def workers(directory: Path, **variables: str) -> Iterator[Any]:
    variables = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "planted-client-key", **variables}
    with serve(ScriptedProvider()) as upstream, started("gunicorn", directory, upstream.url, **variables) as proxy:
        yield proxy


@pytest.mark.parametrize("given", [False, True])
def test_workers_are_summed_up(tmp_path: Path, given: bool) -> None:
    """A directory that is given is emptied at the start and stays; one of our own goes at the end."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    shared = tmp_path / "shared"
    variables = {"TMPDIR": str(temporary)}
    if given:
        shared.mkdir()
        (shared / "counter_1.db").write_bytes(b"stale")
        variables["PROMETHEUS_MULTIPROC_DIR"] = str(shared)
    with workers(tmp_path, **variables) as proxy:
        for n in range(21):
            assert post(proxy.url, stream=n == 20).status_code == 200
        pages = [scrape(proxy.url, KEY) for _ in range(4)]
        directory = shared if given else next(temporary.glob("ccproxy-metrics-*"))
        assert directory.stat().st_mode & 0o077 == 0 or given
        proxy.terminate()
    for page in pages:
        assert page.value("ccproxy_requests_total", route="messages", status="200") == 21
        assert page.value("gen_ai_server_request_duration_seconds_count") == 21
        assert page.value("ccproxy_active_streams") == 0
    assert list(temporary.glob("ccproxy-metrics-*")) == []
    assert shared.exists() == given
    assert not list(shared.glob("gauge_live*"))  # of a worker that is gone


def test_dashboard_asks_for_what_there_is() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"\b(?:ccproxy|gen_ai)_\w+(?={)", query)}
    variables = {item["name"] for item in dashboard["templating"]["list"]}
    with proxied(ScriptedProvider()) as url:
        post(url, stream=True)
        exported = set(re.findall(r"^# TYPE (\w+)", scrape(url).text, re.MULTILINE))
    suffixes = ("_bucket", "_sum", "_count")
    bases = {next((name.removesuffix(end) for end in suffixes if name.endswith(end)), name) for name in asked}
    assert bases - exported == set()
    families = {name for name in exported if not name.endswith("_created")}
    assert families == bases
    documented = re.findall(r"^\| `((?:ccproxy|gen_ai)_\w+)`", (ROOT / "docs/layers.md").read_text(), re.MULTILINE)
    assert {name.removesuffix("_total") for name in families} == set(documented)
    assert {name for query in queries for name in re.findall(r"\$(\w+)", query)} <= {*variables, "__rate_interval"}


def test_panels_without_a_series_yet_say_0() -> None:
    panels = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())["panels"]
    shown = [panel for panel in panels if panel.get("targets")]
    assert len(shown) > 10
    for panel in shown:
        queries = [target["expr"] for target in panel["targets"]]
        says_0 = panel["fieldConfig"]["defaults"].get("noValue") == "0"
        assert says_0 or all(query.endswith("vector(0)") for query in queries), panel["title"]


FULL_DISK = """
import asyncio, logging, os, pathlib, resource, sys
sys.path[:0] = sys.argv[2:]
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from ccproxy_middleware import MetricsMiddleware
from support.paths import ROOT
from support.asgi import Inner, call, http_scope

def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))

async def main():
    full_from_the_start = sys.argv[1] == "start"
    limit_files(1000 if full_from_the_start else 64 * 1024)
    inner = Inner()
    layer = MetricsMiddleware(inner)
    for status in range(200, 599):
        inner.status = status
        assert (await call(layer, http_scope("POST", "/v1/messages"))).status == status
    page = await call(layer, http_scope("GET", "/metrics"))
    print(page.status, page.body.count(b"ccproxy_requests_total{") > 20)
    for file in pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).iterdir():
        assert file.stat().st_size > 0
        assert file.stat().st_blocks * 512 >= file.stat().st_size, file

asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "page"), [("start", "503 False"), ("later", "200 True")])
def test_exchanges_go_on_when_the_disk_is_full(moment: str, page: str, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing beyond it is refused as well."""
    command = [sys.executable, "-c", FULL_DISK, moment, *sys.path[1:]]
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    warning, told = done.stdout.splitlines()
    assert warning.startswith("metrics are incomplete, their files can't be written: ")
    assert told == page
