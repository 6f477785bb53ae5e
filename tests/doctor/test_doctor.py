"""``cc-boost doctor`` against providers in many disguises, on real sockets."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from starlette.types import ASGIApp

from ccproxy.doctor import probe, run
from ccproxy.doctor.checks import CHECKS
from doctor import disguises
from doctor.disguises import able
from support.providers.scripted import Failure, Raw, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.servers import serve

KEY = "sk-provider-5EcReT-0123456789"
HEADER = "header-5EcReT-value"
IDS = ["configuration", *(check.id for check in CHECKS)]
NEVER_FOUND = {
    "tls": "skipped",
    "window": "skipped",
    "planner": "skipped",
    "search": "skipped",
    "truncation": "skipped",
}

Document: TypeAlias = dict[str, Any]
Examine: TypeAlias = Callable[..., Document]


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Examine:
    """Run the doctor with these variables only, in an empty directory; returns its JSON, with ``code``."""
    monkeypatch.chdir(tmp_path)

    def examine(url: str = "", *, write_env: bool = False, **variables: str) -> Document:
        known = {"OPENAI_API_KEY": KEY, "MAX_TOKENS_LIMIT": "32000", "CUSTOM_HEADER_X_TEAM": HEADER}
        known |= {"OPENAI_BASE_URL": url, "MAX_RETRIES": "0"} if url else {}
        with monkeypatch.context() as patch:
            for name, value in (known | variables).items():
                patch.setenv(name, value)
            code = run(as_json=True, write_env=write_env)
        shown = capsys.readouterr()
        assert KEY not in shown.out + shown.err
        assert HEADER not in shown.out + shown.err
        document: Document = json.loads(shown.out)
        return document | {"code": code, "errors": shown.err}

    return examine


def outcomes(document: Document) -> dict[str, str]:
    return {check["id"]: check["outcome"] for check in document["checks"]}


def told(document: Document, id: str) -> str:
    """What a check said, with its remedy."""
    return next(f"{check['detail']} | {check['remedy']}" for check in document["checks"] if check["id"] == id)


def test_all_is_well_with_a_provider_that_can_do_everything(examine: Examine) -> None:
    provider = ScriptedProvider(able, api_key=KEY)
    with serve(provider, lifespan="off") as server:
        document = examine(f"{server.url}/v1")
    expected = dict.fromkeys(IDS, "ok") | {
        "tls": "skipped",
        "planner": "skipped",
        "search": "skipped",
        "truncation": "skipped",
    }
    assert outcomes(document) == expected, document
    assert (document["verdict"], document["code"], document["env"], document["changes"]) == ("ok", 0, {}, {})
    assert all(request.headers["x-team"] == HEADER for request in provider.requests)
    assert document["requests"] == len(provider.requests) == 16  # as docs/doctor.md says
    assert all(body.get("max_tokens", 0) <= 32_000 for body in provider.completions)


@dataclass(frozen=True)
class Case:
    """A disguise, what the checks must find besides ok, and the switches that must be proposed."""

    script: disguises.Script
    found: Mapping[str, str] = field(default_factory=dict)
    words: str = ""  # in what the first of them says
    options: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


AFTER_ANSWER = (
    *("stream", "usage", "stop", "reasoning", "content_parts", "images", "system_messages", "truncation", "tools"),
    "api",
)
AFTER_TOOLS = ("parallel_tools", "tool_choice", "two_results", "long_description", "schemas", "claude_code")
NO_MORE = dict.fromkeys((*AFTER_ANSWER, *AFTER_TOOLS), "skipped")
NO_TOOLS = {"tools": "problem", **dict.fromkeys(AFTER_TOOLS, "skipped")}

CASES = {
    "refuses max_tokens": Case(
        disguises.refuses(
            "max_tokens",
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
        ),
        options={"max_tokens_field": "max_completion_tokens"},
    ),
    "refuses max_tokens in words of its own": Case(
        disguises.refuses("max_tokens", "here one says max_completion_tokens"),
        options={"max_tokens_field": "max_completion_tokens"},
    ),
    "reports no usage": Case(disguises.changed(usage={}), {"usage": "warning", "truncation": "skipped"}, "nowhere"),
    "refuses stream_options": Case(
        disguises.refuses("stream_options", "Unrecognized request argument supplied: stream_options"),
        {"usage": "warning"},
        "not in streams",
        {"stream_usage": False},
    ),
    "holds streams back": Case(disguises.holds_streams_back, {"stream": "warning"}, "in one piece"),
    "never streams": Case(
        disguises.never_streams,
        {"stream": "problem", "usage": "skipped", **NO_TOOLS},
        "whole document",
    ),
    "has no tools": Case(
        disguises.refuses("tools", "registry.ollama.ai/library/gemma:2b does not support tools"),
        NO_TOOLS,
        "does not support tools",
    ),
    "writes calls as text": Case(
        disguises.calls_as_text, NO_TOOLS, "--enable-auto-tool-choice", variables={"PROVIDER": "vllm"}
    ),
    "writes whole calls as text": Case(
        disguises.whole_calls_as_text,
        {"tools": "warning", "tool_choice": "warning"},
        '{"text_tool_calls": "auto"}',
        {"text_tool_calls": "auto"},
    ),
    "has no tools, and calls by its prompt": Case(
        disguises.prompted,
        {"tools": "warning", **dict.fromkeys(("parallel_tools", "tool_choice", "schemas"), "skipped")},
        '{"tools": "prompted"}',
        {"tools": "prompted"},
    ),
    "never calls a tool": Case(disguises.with_calls(lambda calls: []), NO_TOOLS, "not called"),
    "cuts arguments off": Case(
        disguises.with_calls(lambda calls: [ToolCall(call.name, call.text[:-6]) for call in calls]),
        NO_TOOLS,
        "broken arguments",
    ),
    "calls one tool at a time": Case(
        disguises.with_calls(lambda calls: calls[:1]), {"parallel_tools": "warning"}, "one call at a time"
    ),
    "ignores tool_choice": Case(
        lambda body: Reply("Hello!") if "tool_choice" in body else able(body), {"tool_choice": "warning"}, "ignored"
    ),
    "refuses tool_choice": Case(
        disguises.refuses("tool_choice", "deepseek-reasoner does not support this tool_choice"),
        options={"forced_tool_choice": False},
    ),
    "refuses parallel_tool_calls": Case(
        disguises.refuses("parallel_tool_calls", "Unrecognized request argument supplied: parallel_tool_calls"),
        options={"parallel_flag": False},
    ),
    "sees no images": Case(disguises.sees_nothing, {"images": "warning"}, "not accepted", {"vision": False}),
    "ignores stop": Case(lambda body: able({**body, "stop": None}), options={"stop_limit": 0}),
    "refuses stop": Case(
        disguises.refuses("stop", "Unsupported parameter: 'stop' is not supported with this model."),
        options={"stop_limit": 0},
    ),
    "reasons on request": Case(disguises.thinks_on_request),
    "reasons in the text": Case(disguises.thinks_in_text, options={"think_tags": "auto"}),
    "reasons for long": Case(disguises.thinks_long),
    "cuts long prompts off": Case(
        disguises.forgets, {"truncation": "problem"}, "OLLAMA_CONTEXT_LENGTH", variables={"PROVIDER": "ollama"}
    ),
    "is out of order": Case(disguises.fails, {"max_tokens": "skipped", "answer": "problem", **NO_MORE}, ""),
    "knows no such model": Case(
        lambda body: Failure(404, error_body(f"The model `{body['model']}` does not exist", code="model_not_found")),
        {"models": "problem", "max_tokens": "skipped", "answer": "problem", **NO_MORE},
        "not found: BIG_MODEL other",
        variables={"BIG_MODEL": "other", "MIDDLE_MODEL": "gpt-4o"},
    ),
    "takes texts alone": Case(
        disguises.refuses_if(
            lambda body: any(isinstance(m["content"], list) for m in body["messages"]), "no lists here"
        ),
        {"images": "skipped"},
        options={"content_parts": False},
    ),
    "takes one system message": Case(
        disguises.refuses_if(lambda body: disguises.roles(body).count("system") > 1, "who is the boss here"),
        options={"mid_system": "user"},
    ),
    "wants the system message first, and roles in turn": Case(
        disguises.refuses_if(disguises.has_late_system, "system message must be at the beginning"),
        options={"mid_system": "user"},
    ),
    "wants an assistant after results": Case(
        disguises.refuses_if(disguises.has_user_after_tool, "what is the user doing here"),
        options={"bridge_after_tool": True},
    ),
    "takes one result a turn": Case(
        disguises.refuses_if(
            lambda body: disguises.roles(body).count("tool") > 1, "Multiple tool calls are not supported."
        ),
        {"two_results": "warning"},
        "Multiple tool calls",
    ),
    "takes short descriptions": Case(
        disguises.refuses_if(lambda body: len(json.dumps(body.get("tools"))) > 4000, "that is a long story"),
        options={"tool_description_max": 1024},
    ),
    "knows no references": Case(
        disguises.refuses_if(lambda body: '"$ref"' in json.dumps(body.get("tools")), "bad tool"),
        options={"schema_dialect": "gemini"},
    ),
    "knows no patterns with classes": Case(
        disguises.refuses_if(lambda body: '"pattern": ' in json.dumps(body.get("tools")), "bad tool"),
        options={"schema_dialect": "llama.cpp"},
    ),
    "takes no array of a tool": Case(
        disguises.refuses_if(lambda body: '"array"' in json.dumps(body.get("tools")), "no arrays"),
        {"schemas": "warning"},
        "refused (array_without_items, nested)",
    ),
    "wants to be paid, by a code": Case(
        lambda body: Failure(429, error_body("\u4f59\u989d\u4e0d\u8db3", code="1113")),
        {"key": "problem", **dict.fromkeys(("models", "window", "max_tokens", "answer"), "skipped"), **NO_MORE},
        "lack of credit",
    ),
    "wants to be paid, with HTTP 200": Case(
        lambda body: Raw(
            [b'{"choices": null, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}'],
            headers={"content-type": "application/json"},
        ),
        {"key": "problem", **dict.fromkeys(("models", "window", "max_tokens", "answer"), "skipped"), **NO_MORE},
        "insufficient balance",
    ),
    "wants to be paid": Case(
        lambda body: Failure(402, error_body("Insufficient balance")),
        {"key": "problem", **dict.fromkeys(("models", "window", "max_tokens", "answer"), "skipped"), **NO_MORE},
        "lack of credit",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_finds_what_is_wrong_when_the_provider(name: str, examine: Examine) -> None:
    case = CASES[name]
    provider = ScriptedProvider(case.script)
    with serve(provider, lifespan="off") as server:
        document = examine(f"{server.url}/v1", **{"BIG_MODEL": "local", "SMALL_MODEL": "local", **case.variables})
    found = outcomes(document)
    expected = dict.fromkeys(IDS, "ok") | {
        "tls": "skipped",
        "window": "skipped",
        "planner": "skipped",
        "search": "skipped",
    }
    expected |= {"truncation": "skipped"} if "PROVIDER" in case.variables and name != "cuts long prompts off" else {}
    assert found == {**expected, **case.found}, document
    for id_ in list(case.found)[:1]:
        assert case.words in told(document, id_)
    options = json.loads(document["changes"].get("PROVIDER_OPTIONS", "{}"))
    assert options == case.options
    assert document["code"] == (1 if "problem" in found.values() else 0)


def test_problem_with_the_key(examine: Examine) -> None:
    with serve(ScriptedProvider(able, api_key="another"), lifespan="off") as server:
        document = examine(f"{server.url}/v1")
    assert outcomes(document)["key"] == "problem"
    assert "OPENAI_API_KEY" in told(document, "key")
    assert set(outcomes(document).values()) == {"ok", "skipped", "problem"}


@pytest.mark.parametrize("listed", [True, False])
def test_base_url_is_completed_and_written(examine: Examine, tmp_path: Path, listed: bool) -> None:
    provider: ASGIApp = ScriptedProvider(able)
    api = disguises.BelowV1(provider if listed else disguises.NoList(provider))
    with serve(api, lifespan="off") as server:
        (tmp_path / ".env").write_text(f"OPENAI_BASE_URL={server.url}\n")
        first = examine(write_env=True)
        second = examine()
    assert f"Set OPENAI_BASE_URL={server.url}/v1" in told(first, "base_url")
    assert (tmp_path / ".env").read_text() == f"OPENAI_BASE_URL={server.url}/v1\n"
    assert (outcomes(second)["base_url"], second["code"]) == ("ok", 0)


def test_base_url_stays_when_the_api_is_there_without_v1(examine: Examine) -> None:
    with serve(disguises.NoList(ScriptedProvider(able)), lifespan="off") as server:
        document = examine(server.url)
    assert outcomes(document)["base_url"] == "ok"
    assert document["changes"] == {}


def test_endpoint_in_the_base_url_is_left_off_and_written(examine: Examine, tmp_path: Path) -> None:
    with serve(ScriptedProvider(able), lifespan="off") as server:
        (tmp_path / ".env").write_text(f"OPENAI_BASE_URL={server.url}/v1/chat/completions\n")
        document = examine(write_env=True)
    assert "ends in /chat/completions" in told(document, "configuration")
    assert "MAX_TOKENS_LIMIT" not in told(document, "configuration")
    assert document["code"] == 0
    assert (tmp_path / ".env").read_text() == f"OPENAI_BASE_URL={server.url}/v1\n"


def test_base_url_is_completed_when_a_web_site_answers(examine: Examine) -> None:
    with serve(disguises.WebSite(ScriptedProvider(able)), lifespan="off") as server:
        document = examine(server.url)
        assert f"Set OPENAI_BASE_URL={server.url}/v1" in told(document, "base_url")
        other = examine(f"{server.url}/other/v1")
    assert "web page" in told(other, "base_url")
    assert outcomes(document)["key"] == "skipped"


def test_models_are_asked_for_when_there_is_no_list(examine: Examine) -> None:
    def script(body: Mapping[str, Any]) -> Any:
        known = body["model"] == "big"
        return able(dict(body)) if known else Failure(404, error_body("The model does not exist"))

    with serve(disguises.NoList(ScriptedProvider(script)), lifespan="off") as server:
        document = examine(f"{server.url}/v1", BIG_MODEL="big", SMALL_MODEL="small")
    assert told(document, "models").startswith("not found: SMALL_MODEL small | Set SMALL_MODEL to a model that exists.")
    assert outcomes(document)["claude_code"] == "ok"


def test_near_names_are_offered_when_a_model_is_missing(examine: Examine) -> None:
    provider = ScriptedProvider(lambda body: Failure(404), models=("qwen3-coder:30b", "gemma3", "llama3.2"))
    with serve(provider, lifespan="off") as server:
        document = examine(f"{server.url}/v1", BIG_MODEL="qwen3-coder", SMALL_MODEL="gemma3")
    assert "Set BIG_MODEL, MIDDLE_MODEL to a model that exists: qwen3-coder:30b." in told(document, "models")


def test_problem_when_nothing_listens(examine: Examine) -> None:
    document = examine("http://127.0.0.1:9/v1")
    assert outcomes(document)["reachable"] == "problem"
    assert "could not connect" in told(document, "reachable")


def test_tls_problem_when_the_server_speaks_plain_http(examine: Examine) -> None:
    with serve(ScriptedProvider(able), lifespan="off") as server:
        document = examine(f"{server.url}/v1".replace("http:", "https:"))
    assert (outcomes(document)["reachable"], outcomes(document)["tls"]) == ("ok", "problem")


def listing(entry: Mapping[str, Any]) -> ASGIApp:
    """An able provider with one model, and what its list says of it."""
    provider = ScriptedProvider(able)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith("/models"):
            return await provider(scope, receive, send)
        body = json.dumps({"object": "list", "data": [entry]}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    ("size", "outcome"),
    [
        ({"max_model_len": 131_072}, "ok"),
        ({"max_model_len": 24_576}, "warning"),
        ({"max_model_len": 8192}, "problem"),
        ({}, "skipped"),
    ],
)
def test_profile_and_context_size_are_read_from_the_list(
    examine: Examine, size: Mapping[str, int], outcome: str
) -> None:
    with serve(listing({"id": "local", "owned_by": "vllm", **size}), lifespan="off") as server:
        document = examine(f"{server.url}/v1", BIG_MODEL="local", SMALL_MODEL="local")
    assert outcomes(document)["window"] == outcome
    assert document["env"] == document["changes"] == {"PROVIDER": "vllm"}


def test_remedy_for_unseen_images_is_the_whole_setting(examine: Examine) -> None:
    def blind(body: Any) -> Any:
        return Reply("Blue.") if "image_url" in json.dumps(body["messages"]) else able(body)

    with serve(ScriptedProvider(blind, api_key=KEY), lifespan="off") as server:
        document = examine(f"{server.url}/v1", PROVIDER_OPTIONS='{"pdf": "text"}')
    assert outcomes(document)["images"] == "warning"
    assert told(document, "images") == (
        'accepted, but it calls a red square "Blue." | If the model sees no images, set '
        'PROVIDER_OPTIONS={"pdf": "text", "vision": false}. PROVIDER_OPTIONS is set in the environment.'
    )


def test_context_size_is_that_of_the_only_model_whatever_name_is_asked(examine: Examine) -> None:
    entry = {"id": "/models/qwen.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 8192}}
    with serve(listing(entry), lifespan="off") as server:
        document = examine(f"{server.url}/v1", BIG_MODEL="local", SMALL_MODEL="local")
    assert outcomes(document)["window"] == "problem"
    assert told(document, "window").startswith("8,192 tokens, of /models/qwen.gguf, the only model that is listed")


def test_planner_is_asked_when_boost_is_on(examine: Examine) -> None:
    planner = ScriptedProvider(able, api_key="planner-key")
    with serve(ScriptedProvider(able), lifespan="off") as server, serve(planner, lifespan="off") as other:
        boost = {"ENABLE_BOOST_SUPPORT": "BIG_MODEL", "BOOST_BASE_URL": f"{other.url}/v1", "BOOST_MODEL": "deep"}
        good = examine(f"{server.url}/v1", BOOST_API_KEY="planner-key", **boost)
        bad = examine(f"{server.url}/v1", BOOST_API_KEY="no-such-key", **boost)
    assert (outcomes(good)["planner"], outcomes(bad)["planner"]) == ("ok", "problem")
    assert "BOOST_API_KEY" in told(bad, "planner")
    assert all("x-team" not in request.headers for request in planner.requests)


def test_requests_have_a_limit(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_REQUESTS", 9)
    provider = ScriptedProvider(able)
    with serve(provider, lifespan="off") as server:
        document = examine(f"{server.url}/v1")
    assert document["requests"] == len(provider.requests) == 9
    assert "not asked: 9 requests are the most" in told(document, "schemas") + told(document, "tools")


def test_what_was_set_by_hand_stays_with_what_was_found(examine: Examine) -> None:
    with serve(ScriptedProvider(disguises.sees_nothing), lifespan="off") as server:
        document = examine(f"{server.url}/v1", PROVIDER="vllm", PROVIDER_OPTIONS='{"count_tokens": "vllm"}')
    assert document["env"]["PROVIDER"] == "vllm"
    assert json.loads(document["changes"]["PROVIDER_OPTIONS"]) == {"count_tokens": "vllm", "vision": False}
    assert list(document["changes"]) == ["PROVIDER_OPTIONS"]


def test_what_was_found_is_fine_the_next_time_when_it_is_written(examine: Examine, tmp_path: Path) -> None:
    with serve(ScriptedProvider(disguises.sees_nothing), lifespan="off") as server:
        (tmp_path / ".env").write_text(f"# mine\nOPENAI_BASE_URL={server.url}/v1")
        first = examine(write_env=True)
        second = examine(write_env=True)
    assert first["written"] == ".env"
    assert (tmp_path / ".env").read_text() == (
        f"# mine\nOPENAI_BASE_URL={server.url}/v1\nPROVIDER_OPTIONS='{{\"vision\": false}}'\n"
    )
    assert (second["written"], second["changes"]) == (None, {})
    assert json.loads(second["env"]["PROVIDER_OPTIONS"]) == {"vision": False}
    assert outcomes(second)["images"] == "skipped"


def test_message_of_the_provider_can_not_steer_the_terminal(examine: Examine) -> None:
    with serve(ScriptedProvider(lambda body: Failure(400, f"\x1b[2J{KEY} " + "x" * 1000)), lifespan="off") as server:
        document = examine(f"{server.url}/v1")
    assert "\x1b" not in told(document, "answer")
    assert len(told(document, "answer")) < 500


def test_short_placeholder_for_a_key_is_not_taken_for_a_secret(examine: Examine) -> None:
    with serve(ScriptedProvider(able), lifespan="off") as server:
        document = examine(f"{server.url}/v1", OPENAI_API_KEY="none")
    assert told(document, "reasoning").startswith("none seen")


def test_configuration_document_when_settings_are_bad(examine: Examine) -> None:
    document = examine("example.com")
    assert (document["verdict"], document["code"]) == ("configuration", 2)
    assert document["problems"][0].startswith("OPENAI_BASE_URL: given 'example.com'")


def test_lines_when_a_person_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve(ScriptedProvider(disguises.sees_nothing), lifespan="off") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{server.url}/v1 with gpt-4o, gpt-4o-mini"
    assert any(line.split() == ["ok", "Key", "accepted"] for line in lines)
    assert next(line for line in lines if "Images" in line).startswith("warning  Images ")
    assert lines[-4:] == [
        "It works, with 2 warnings.",
        "Lines for .env (--write-env writes them):",
        "  MAX_TOKENS_LIMIT=16384",
        "  PROVIDER_OPTIONS='{\"vision\": false}'",
    ]


def test_problem_at_the_top_is_not_buried_and_its_remedy_says_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("# mine\n\nexport OPENAI_BASE_URL=http://127.0.0.1:9/v1\nOPENAI_API_KEY=k\n")
    assert run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:8]] == [
        "warning",
        "remedy:",
        "problem",
        "remedy:",
        "skipped",
        "skipped",
    ]
    assert lines[4].endswith("could not connect to the provider 127.0.0.1:9: Connection refused")
    assert lines[5].endswith("OPENAI_BASE_URL is set in .env, line 3.")
    assert re.fullmatch(r"\d+ checks not asked: see Reachable", lines[8])
    assert len(lines) == 13


@pytest.mark.parametrize(
    ("files", "written"),
    [
        ({}, ".env"),
        ({".config/cc-boost/.env": "OPENAI_API_KEY=k\n"}, ".config/cc-boost/.env"),
        ({".config/cc-boost/.env": "OPENAI_API_KEY=k\n", ".env": "FOREIGN=1\n"}, ".config/cc-boost/.env"),
        ({".config/cc-boost/.env": "OPENAI_API_KEY=k\n", ".env": "# Settings of cc-boost\n"}, ".env"),
        ({".env": "OPENAI_API_KEY=k\n"}, ".env"),
    ],
)
def test_what_fits_is_written_where_settings_of_ours_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], written: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (tmp_path / ".config/cc-boost").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with serve(ScriptedProvider(disguises.sees_nothing), lifespan="off") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        assert run(write_env=True) == 0
    assert "MAX_TOKENS_LIMIT=16384\n" in (tmp_path / written).read_text()
    assert [name for name in files if name != written and "MAX_TOKENS" in (tmp_path / name).read_text()] == []


@pytest.mark.parametrize(
    ("has_responses", "variables", "outcome", "detail"),
    [
        (True, {"PROVIDER": "openai", "BIG_MODEL": "gpt-5.6"}, "ok", "Responses is used: api is auto, and gpt-5.6 is"),
        (False, {"PROVIDER": "openai", "BIG_MODEL": "gpt-5.6"}, "warning", "no answer by Responses"),
        (True, {"PROVIDER": "openai", "BIG_MODEL": "gpt-4o"}, "ok", "chat completions are used: api is auto"),
        (False, {"PROVIDER_OPTIONS": '{"api": "chat"}'}, "ok", "api is chat; Responses does not answer"),
        (True, {"PROVIDER_OPTIONS": '{"api": "responses"}'}, "ok", "Responses is used: api is responses"),
    ],
)
def test_says_by_which_api_the_provider_is_asked(
    has_responses: bool, variables: dict[str, str], outcome: str, detail: str, examine: Examine
) -> None:
    provider = ScriptedProvider(has_responses=has_responses)
    with serve(provider, lifespan="off") as server:
        document = examine(f"{server.url}/v1", **{"BIG_MODEL": "local", "SMALL_MODEL": "local", **variables})
    [check] = [check for check in document["checks"] if check["id"] == "api"]
    assert (check["outcome"], detail in check["detail"]) == (outcome, True), check
