"""What the inspector keeps and tells, through real sockets."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy import Settings, create_app
from ccproxy.settings.startup import startup_warnings
from ccproxy_middleware.inspector.pages import Pages
from support.paths import ROOT
from support.providers.scripted import Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.boosted import boosted, question
from support.serving.inspected import KEY, MESSAGE, STREAM, Inspected, client, inspected
from support.serving.servers import serve


def values(headers: list[list[Any]]) -> dict[str, Any]:
    return {name: value for name, value in headers}


def test_exchange_is_listed_and_shows_both_sides() -> None:
    usage = {
        "prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 60},
    }  # fmt: skip
    with inspected(ScriptedProvider([Reply("Hello", usage=usage)])) as inspector:
        answer = inspector.ask()
        (line,) = inspector.listed()
        detail = inspector.last().json()
    assert line["path"] == "/v1/messages"
    assert (line["client_model"], line["model"], line["tier"]) == ("claude-opus-4-8", "gpt-4o", "BIG_MODEL")
    assert (line["status"], line["state"], line["stop_reason"]) == (200, "ok", "end_turn")
    assert (line["input_tokens"], line["cached_tokens"], line["output_tokens"]) == (40, 60, 7)
    assert line["request_id"] == answer.headers["request-id"]
    assert 0 < line["first_byte"] <= line["duration"]
    assert detail["client"]["request"]["json"] == MESSAGE
    assert detail["client"]["answer"]["json"] == answer.json()
    (provider,) = detail["providers"]
    assert provider["name"] == "provider"
    assert provider["request"]["path"] == "/v1/chat/completions"
    assert provider["request"]["json"]["messages"] == MESSAGE["messages"]
    assert provider["answer"]["json"]["choices"][0]["message"]["content"] == "Hello"
    assert "max_tokens" not in str(detail["decisions"])


def test_stream_is_shown_as_events_with_times() -> None:
    with inspected(ScriptedProvider([Reply(["a", "b"], delay=0.02)])) as inspector:
        text = inspector.ask(STREAM).text
        detail = inspector.last().json()
    got, given = detail["client"]["answer"]["events"], detail["providers"][0]["answer"]["events"]
    assert [event["json"]["type"] for event in got] == [
        line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")
    ]
    assert given[-1]["text"] == "[DONE]"
    assert [event["json"]["choices"][0]["delta"].get("content") for event in given[1:3]] == ["a", "b"]
    for events in (got, given):
        times = [event["at"] for event in events]
        assert times == sorted(times)
        assert times[0] < times[-1]
    assert detail["tokens_per_second"] > 0


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"max_tokens_limit": 50}, "MAX_TOKENS_LIMIT"),
        ({"provider_options": {"max_output": 50}}, "max_output in PROVIDER_OPTIONS"),
    ],
)
def test_settings_are_named_as_the_user_sets_them(settings: dict[str, Any], name: str) -> None:
    with inspected(ScriptedProvider(), **settings) as inspector:
        inspector.ask()
        assert inspector.last().json()["decisions"] == [f"max_tokens 100 becomes 50: {name} is 50"]


def test_limit_that_was_learned_of_a_refusal_is_no_setting() -> None:
    refusal = (
        "max_tokens is too large: 100. This model supports at most 50 completion tokens, whereas you provided 100."
    )
    with inspected(ScriptedProvider([Failure(400, error_body(refusal)), Reply("a"), Reply("b")])) as inspector:
        inspector.ask()
        inspector.ask()
        assert inspector.last().json()["decisions"] == ["max_tokens 100 becomes 50: max_output is 50"]


def test_line_tells_what_the_user_has_said() -> None:
    usage = {
        "prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 60},
    }  # fmt: skip
    words = [{"type": "text", "text": f"my key is {KEY}"}, {"type": "text", "text": "x" * 2_000_000 + f" {KEY}"}]
    with inspected(ScriptedProvider([Reply("a", usage=usage), Reply("b")])) as inspector:
        inspector.ask()
        inspector.ask({**MESSAGE, "messages": [{"role": "user", "content": words}]})
        inspector.ask({"model": "m", "messages": 3})
        lines = inspector.listed()
    assert [line["said"] for line in lines] == ["Who's there?", "x" * 159 + "…", None]
    assert [line["after"] for line in lines] == [None] * 3
    assert lines[0]["cache_write_tokens"] in (None, 0)
    assert KEY not in json.dumps(lines)


def test_session_is_one_file() -> None:
    here = {"x-claude-code-session-id": "one"}
    with inspected(ScriptedProvider()) as inspector:
        for words in ("first", f"second {KEY}"):
            inspector.ask({**STREAM, "messages": [{"role": "user", "content": words}]}, **here)
        inspector.ask()
        answer = inspector.http.get("/ui/api/session", params={"id": "one"})
        shown = [inspector.http.get(f"/ui/api/exchanges/{line['id']}").json() for line in inspector.listed()[:2]]
        missing = inspector.http.get("/ui/api/session", params={"id": "two"})
        elsewhere = inspector.http.get("/ui/api/session", params={"id": "one", "worker": "1"})
        refused = httpx.get(f"{inspector.url}/ui/api/session", params={"id": "one"})
    assert answer.headers["content-disposition"] == 'attachment; filename="session-one.json"'
    assert (answer.json()["session_id"], answer.json()["exchanges"]) == ("one", shown)
    assert KEY not in answer.text
    assert [each.status_code for each in (missing, elsewhere, refused)] == [404, 421, 401]


def test_counting_and_failures_are_kept_too() -> None:
    refused = Failure(429, error_body("Slow down", code="rate_limit_exceeded"), {"retry-after": "7"})
    with inspected(ScriptedProvider([refused])) as inspector:
        inspector.ask({key: MESSAGE[key] for key in ("model", "messages")}, "/v1/messages/count_tokens")
        inspector.ask()
        inspector.ask({"model": "m"})
        httpx.post(f"{inspector.url}/v1/messages", json=MESSAGE)
        lines = inspector.listed()
        inspector.http.get("/health")
    assert [line["status"] for line in lines] == [200, 429, 400, 401]
    assert [line["state"] for line in lines] == ["ok", "failed", "failed", "failed"]
    assert [line["error"] for line in lines][1:] == [
        "rate_limit_error",
        "invalid_request_error",
        "authentication_error",
    ]
    assert lines[1]["error_message"] == "Slow down"


def test_no_secret_is_kept_or_shown() -> None:
    secret = {"authorization": f"Bearer {KEY}", "cookie": "a=planted-1", "x-team-secret": "planted-2"}
    with inspected(ScriptedProvider(), custom_headers={"X-Upstream-Secret": "planted-3"}) as inspector:
        body = {**MESSAGE, "messages": [{"role": "user", "content": f"my key is {KEY}."}]}
        inspector.ask(body, **secret, **{"user-agent": "me"})
        parts = ["", "case?of=request", "case?of=answer", "curl"]
        shown = "".join(inspector.last(part).text for part in parts)
        sent = values(inspector.last().json()["client"]["request"]["headers"])
    assert KEY not in shown
    assert json.dumps(KEY)[1:-1] not in shown
    assert "planted" not in shown
    assert "provider-key" not in shown
    assert "my key is [redacted]." in shown
    assert sent["user-agent"] == "me"
    assert [sent[name] for name in ("authorization", "x-api-key", "cookie", "x-team-secret")] == [None] * 4


def test_compressed_request_is_shown_plain() -> None:
    import zlib

    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(json.dumps(MESSAGE).encode()) + packer.flush()
    with inspected(ScriptedProvider()) as inspector:
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        assert inspector.http.post("/v1/messages", content=packed, headers=headers).status_code == 200
        assert inspector.last().json()["client"]["request"]["json"] == MESSAGE


def test_requests_to_planner_and_executor_are_a_list() -> None:
    planner = ScriptedProvider([Reply("ANALYSIS: a\nGUIDANCE: call Read"), Reply("ANALYSIS: a\nGUIDANCE: call it")])
    executor = ScriptedProvider([Reply("no"), Reply("", [ToolCall("Read", '{"path": "a"}')])])
    with boosted(planner, executor, inspector=True) as boost, client(boost.url, None) as inspector:
        inspector.ask(question(stream=True))
        detail = inspector.last().json()
        refused = inspector.last("case")
    assert [call["name"] for call in detail["providers"]] == ["planner", "executor", "planner 2", "executor 2"]
    assert [call["request"]["json"]["model"] for call in detail["providers"]] == ["thinker", "worker"] * 2
    assert (detail["boost_outcome"], detail["boost_loops"]) == ("guidance", 2)
    assert refused.status_code == 409
    assert "boost has changed" in refused.text


def test_replay_is_answered_like_the_original_and_says_what_it_repeats() -> None:
    provider = ScriptedProvider([Reply("one"), Reply("two")])
    with inspected(provider) as inspector:
        inspector.ask(STREAM, **{"anthropic-beta": "some-2025"})
        (first,) = inspector.listed()
        answer = inspector.ask({}, f"/ui/api/exchanges/{first['id']}/replay")
        second = inspector.listed()[1]
        sent = values(inspector.last().json()["client"]["request"]["headers"])
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"two"' in answer.text
    assert (second["replay_of"], second["path"], second["state"]) == (first["id"], "/v1/messages", "ok")
    assert sent["anthropic-beta"] == "some-2025"
    assert provider.completions[0] == provider.completions[1]


def test_curl_command_can_be_run_by_a_shell(tmp_path: Path) -> None:
    provider = ScriptedProvider()
    nasty = "a 'quoted' $HOME `id` \\ \"text\"\nand é"
    body = {**MESSAGE, "messages": [{"role": "user", "content": nasty}]}
    with inspected(provider) as inspector:
        inspector.ask(body)
        command = inspector.last("curl").text
        assert command.startswith(f"curl {inspector.url}/v1/messages ")
        env = {"ANTHROPIC_API_KEY": KEY, "PATH": "/usr/bin:/bin"}
        ran = subprocess.run(["sh", "-c", command], env=env, capture_output=True, check=True, timeout=20)
    assert json.loads(ran.stdout)["type"] == "message"
    assert provider.completions[0]["messages"] == provider.completions[1]["messages"] == body["messages"]


def events(inspector: Inspected, path: str = "/ui/api/events") -> Any:
    return inspector.http.stream("GET", path)


def test_open_page_hears_of_changes_and_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pages, "heartbeat", 0.05)
    monkeypatch.setattr(Pages, "batch", 0.01)
    heard: list[Any] = []
    with inspected(ScriptedProvider()) as inspector, client(inspector.url) as other:
        with events(inspector) as stream:
            assert stream.headers["cache-control"] == "no-store"
            lines = stream.iter_lines()
            assert next(lines) == "event: everything"
            heard.append(json.loads(next(lines).removeprefix("data: ")))
            other.ask()
            states: list[str] = []
            silent = False
            for line in lines:
                silent |= line == ":"
                if line.startswith("data: "):
                    states += [exchange["state"] for exchange in json.loads(line[6:])["exchanges"]]
                if silent and "ok" in states:
                    break
        assert len(inspector.listed()) == 1  # the page's own requests are none
    assert heard[0]["exchanges"] == []
    assert heard[0]["max_exchanges"] == 200
    assert len(heard[0]["minutes"]["requests"]) == 60


def test_events_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that shuts down waits for every open answer."""
    monkeypatch.setattr(Pages, "heartbeat", 0.02)
    monkeypatch.setattr(Pages, "batch", 0.01)
    monkeypatch.setattr(Pages, "events_limit", 0.1)
    with inspected(ScriptedProvider()) as inspector, events(inspector) as stream:
        assert stream.read().endswith(b":\n\n")


def test_exchange_of_another_worker_is_asked_for_again_on_a_new_connection() -> None:
    with inspected(ScriptedProvider()) as inspector:
        inspector.ask()
        answers = [inspector.http.get(f"/ui/api/{path}") for path in ("exchanges/x?worker=1", "events?worker=1")]
        gone = inspector.http.get(f"/ui/api/exchanges/{inspector.listed()[0]['id']}9")
    assert [(answer.status_code, answer.headers["connection"]) for answer in answers] == [(421, "close")] * 2
    assert gone.status_code == 404


def test_page_is_served_below_a_mount_with_strict_headers() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    app = create_app(Settings.explicit(openai_api_key="k", inspector=True))
    with serve(Starlette(routes=[Mount("/claude", app)])) as server, client(server.url, None) as inspector:
        there = inspector.http.get("/claude/ui")
        assert (there.status_code, there.headers["location"]) == (307, "ui/")
        page = inspector.http.get("/claude/ui/")
        script = inspector.http.get("/claude/ui/app.js")
        missing = inspector.http.get("/claude/ui/../../pages.py")
        data = inspector.http.get("/claude/ui/api/exchanges")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert {answer.headers["x-content-type-options"] for answer in (page, script, data)} == {"nosniff"}
    assert data.headers["cache-control"] == "no-store"
    assert missing.status_code == 404


def test_there_is_no_page_when_it_is_off() -> None:
    with (
        inspected(ScriptedProvider(), inspector=False) as inspector,
        client(str(inspector.http.base_url), None) as anyone,
    ):
        for page in (inspector.http.get("/ui/"), anyone.http.get("/ui"), anyone.http.get("/ui/")):
            assert page.status_code == 404
            assert "INSPECTOR=true" in page.json()["error"]["message"]
        assert anyone.http.get("/ui/api/exchanges").status_code == 401
    layers = create_app(Settings.explicit(openai_api_key="k")).user_middleware
    assert "InspectorMiddleware" not in [getattr(layer.cls, "__name__", "") for layer in layers]


@pytest.mark.parametrize(
    ("layers", "warning"),
    [("auth,format_conversion", "there is no /ui"), ("auth,inspector", "can't open /ui"), ("inspector,auth", "")],
)
def test_warning_where_the_setting_has_no_use(layers: str, warning: str) -> None:
    settings = Settings.explicit(openai_api_key="k", host="127.0.0.1", inspector=True, ccproxy_layers=layers)
    lines = startup_warnings(settings)
    assert len(lines) == bool(warning)
    assert warning in "".join(lines)


def test_hint_where_the_page_is_out_of_reach() -> None:
    settings = Settings.explicit(openai_api_key="k", host="0.0.0.0", inspector=True)
    assert "/ui answers browsers on this machine only" in startup_warnings(settings)[1]
    assert startup_warnings(Settings.explicit(openai_api_key="k", anthropic_api_key="c", inspector=True)) == []


@pytest.mark.parametrize("body", [MESSAGE, STREAM], ids=["json", "stream"])
def test_client_and_provider_notice_nothing(body: dict[str, Any]) -> None:
    seen = []
    for on in (False, True):
        provider = ScriptedProvider()
        with inspected(provider, inspector=on) as inspector:
            answer = inspector.ask(body)
        (request,) = provider.requests
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        told = [(name, value) for name, value in answer.headers.items() if name not in ("date", "request-id")]
        seen.append((request.raw, headers, told, re.sub(r"msg_\w+", "msg", answer.text)))
    assert seen[0] == seen[1]


def test_scripts_are_small_modules() -> None:
    static = ROOT / "middleware/ccproxy_middleware/inspector/static"
    scripts = sorted(static.glob("*.js"))
    assert len(scripts) > 5
    for script in scripts:
        text = script.read_text()
        assert len(text.splitlines()) < 400
        assert "innerHTML" not in text
    assert (static / "vendor/uPlot.LICENSE.txt").exists()
