"""cc-boost route: what it tells, and that the running proxy does just that."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy import Settings
from ccproxy.command_line.route import find_way
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.process import BIN
from support.serving.several import several

ROUTES = """\
[[route]]
when = { request_class = "subagent" }
models = ["local:qwen3"]
[[route]]
name = "long"
when = { input_tokens_over = 2000 }
models = ["cloud:gemini-2.5-pro"]
[[route]]
when = { images = true, tier = ["big", "middle"] }
models = ["cloud:gpt-5.5", "default:gpt-4o"]
"""
ENV = """\
OPENAI_API_KEY=planted-secret
BIG_MODEL=local:qwen3,gpt-4o
UPSTREAM_LOCAL_BASE_URL=http://localhost:1/v1
UPSTREAM_LOCAL_API_KEY=planted-secret
UPSTREAM_CLOUD_BASE_URL=https://api.openai.com/v1
UPSTREAM_CLOUD_API_KEY=planted-secret
UPSTREAM_CLAUDE_BASE_URL=https://api.anthropic.com/v1
UPSTREAM_CLAUDE_API_KEY=client
ROUTES_FILE=routes.toml
"""
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def body(model: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    blocks = [*content, {"type": "text", "text": "Hi"}]
    return {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": blocks}], **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".env").write_text(ENV)
    (tmp_path / "routes.toml").write_text(ROUTES)
    return tmp_path


def run(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    command = [str(BIN / "cc-boost"), "route", *arguments]
    return subprocess.run(command, cwd=folder, env=env, input=stdin, capture_output=True, text=True, check=False)


def test_it_says_which_rule_fits_and_why_earlier_ones_do_not(folder: Path) -> None:
    (folder / "request.json").write_text(json.dumps(body("claude-opus-5-5", IMAGE)))
    done = run(folder, "request.json", "--header", "x-claude-code-request-class=main")
    assert done.stdout.splitlines() == [
        "Model claude-opus-5-5: tier big, about 1,608 tokens of input",
        "Rules of routes.toml:",
        "  1: does not fit: request_class is main, not subagent",
        "  long: does not fit: the prompt has 1608 tokens, not over 2000",
        "  3: fits",
        "Rule 3 decides. These are asked in order, until one answers:",
        "  1. gpt-5.5 at cloud (Responses, 400,000 tokens)",
        "  2. gpt-4o at default (Chat Completions, 128,000 tokens)",
    ], done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_key_of_a_header_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text('[[key]]\nname = "ann"\nkey = "key-of-ann"\n')
    (tmp_path / "routes.toml").write_text('[[route]]\nwhen = { client_key = ["ann", "key 2"] }\nmodels = ["special"]\n')
    settings = Settings.explicit(
        openai_api_key="k",
        anthropic_api_key="one,two",
        keys_file=str(tmp_path / "keys.toml"),
        routes_file=str(tmp_path / "routes.toml"),
    )
    for key, model in ((b"key-of-ann", "special"), (b"two", "special"), (b"one", "gpt-4o"), (b"none", "gpt-4o")):
        way = find_way(settings, body("claude-opus-4-8"), [(b"X-Api-Key", key)])
        assert [candidate.model for candidate in way.candidates] == [model]


def test_it_says_what_happens_without_a_rule(folder: Path) -> None:
    done = run(folder, "-", stdin=json.dumps(body("claude-opus-5-5")))
    assert "No rule fits; the tier decides. These are asked in order, until one answers:" in done.stdout
    assert "  1. qwen3 at local (Chat Completions, " in done.stdout
    done = run(folder, "-", stdin=json.dumps(body("claude/CLAUDE:claude-opus-5-5[1m]")))
    assert "The client names the upstream, which comes before tiers and rules. It goes to:\n" in done.stdout
    assert "  1. claude-opus-5-5 at claude (Anthropic's Messages, " in done.stdout


def test_it_can_be_told_as_json(folder: Path) -> None:
    done = run(
        folder, "-", "--json", "--header", "X-Claude-Code-Request-Class: subagent", stdin=json.dumps(body("gpt"))
    )
    told = json.loads(done.stdout)
    assert told["rule"] == "1"
    assert told["rules"] == [{"rule": "1", "fits": True, "misfits": []}]
    assert told["candidates"][0].items() >= {"upstream": "local", "model": "qwen3", "api": "chat"}.items()
    tools = [{"name": "Read", "input_schema": {}}]
    (folder / "routes.toml").write_text('[[route]]\nwhen = { tools = "Bash" }\nmodels = "gpt-4o"\n')
    told = json.loads(run(folder, "-", "--json", stdin=json.dumps(body("claude-haiku-5-5", tools=tools))).stdout)
    assert (told["rule"], told["tier"]) == ("tier", "small")
    assert told["rules"][0]["misfits"] == [{"condition": "tools", "wanted": ["Bash"], "found": ["Read"]}]
    assert told["candidates"] == [
        {"upstream": "default", "model": "gpt-4o-mini", "api": "chat", "context_window": 128000}
    ]


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        (["none.json"], "", "none.json can't be read: No such file or directory"),
        (["-"], "{\n x", "standard input, line 2: it is no JSON: "),
        (["-"], "\xff", "standard input, line 1: it is no JSON"),
        (
            ["-"],
            '{"messages": []}',
            "standard input: it is no body of /v1/messages, an object with a model and messages",
        ),
        (["-"], '["x"]', "standard input: it is no body of /v1/messages"),
        (["-"], "[" * 100_000, "standard input: it is no JSON in UTF-8"),
        (["-", "--header", "no value"], "{}", "--header: given 'no value'; accepted: a name and a value"),
        (["-", "--env-file", "none"], "{}", "--env-file: given 'none'; accepted: a file that exists"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_it_says_what_can_not_be_used(folder: Path, arguments: list[str], stdin: str, problem: str) -> None:
    done = run(folder, *arguments, stdin=stdin)
    assert done.stderr.startswith(problem), done.stderr
    assert done.stderr.count("\n") == 1
    assert (done.returncode, done.stdout) == (2, "")


def test_bad_rules_are_told(folder: Path) -> None:
    (folder / "routes.toml").write_text(ROUTES.replace("tier", "tire"))
    done = run(folder, "-", stdin=json.dumps(body("claude-opus")))
    assert done.stderr == "routes.toml, line 9: when.tire: there is no such condition. Do you mean tier?\n"
    assert done.returncode == 2


ASKED: list[tuple[dict[str, Any], dict[str, str]]] = [
    (body("claude-opus-5-5"), {}),
    (body("claude-opus-5-5", IMAGE), {}),
    (body("claude-haiku-5-5", IMAGE), {}),
    (body("claude-sonnet-5-5", system="word " * 2000), {}),
    (body("claude-opus-5-5", IMAGE), {"x-claude-code-request-class": "subagent"}),
    (body("claude/cloud:own"), {"x-claude-code-request-class": "subagent"}),
    (body("default:own"), {}),
    (body("own-model"), {}),
    (body("claude-provider/own-model"), {}),
    (body("claude-opus/anything[1m]"), {}),
]


def test_the_proxy_does_what_is_told(tmp_path: Path) -> None:
    rules = tmp_path / "routes.toml"
    rules.write_text(ROUTES)
    asked: list[tuple[str, str]] = []

    def answering(name: str) -> ScriptedProvider:
        def script(request: dict[str, Any]) -> Reply:
            asked.append((name, request["model"]))
            return Reply("Hi")

        return ScriptedProvider(script)

    given = {"routes_file": str(rules), "big_model": "local:qwen3, gpt-4o"}
    upstreams = {name: {"base_url": "http://localhost:1/v1", "api_key": "k"} for name in ("local", "cloud")}
    settings = Settings.explicit(openai_api_key="k", upstreams=upstreams, **given)
    others = {name: answering(name) for name in upstreams}
    with several(answering("default"), others, **given) as url, httpx.Client(base_url=url) as http:
        for data, headers in ASKED:
            answer = http.post("/v1/messages", json=data, headers=headers)
            assert answer.status_code == 200, answer.text
            pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
            way = find_way(settings, data, pairs)
            assert asked[-1] == way.candidates[0], data["model"]
            assert answer.headers["x-cc-boost-route"].startswith(f"rule={way.rule}; ")
