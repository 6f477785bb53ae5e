"""``cc-boost serve`` with several upstreams, as a process of its own that reads its environment and files."""

import subprocess
from pathlib import Path

import httpx

from support.providers.anthropic_server import AnthropicServer
from support.providers.scripted import Failure, Reply, ScriptedProvider
from support.serving.process import BIN, request_body, started
from support.serving.servers import serve


def test_tiers_are_answered_by_different_providers_and_a_standby(tmp_path: Path) -> None:
    default = ScriptedProvider(lambda body: Reply("by default"))
    local = ScriptedProvider(lambda body: Failure(503, {"error": {"message": "overloaded"}}))
    claude = AnthropicServer(lambda body: [{"type": "text", "text": "by claude"}], credentials=["planted-claude"])
    with (
        serve(default, lifespan="off") as one,
        serve(local, lifespan="off") as two,
        serve(claude, lifespan="off") as three,
    ):
        (tmp_path / "routes.toml").write_text(
            '[[route]]\nwhen = { tools = ["Read"] }\nmodels = ["default:of-the-rule"]\n'
        )
        (tmp_path / ".env").write_text(
            f"UPSTREAM_LOCAL_BASE_URL={two.url}/v1\nUPSTREAM_LOCAL_API_KEY=planted-one,planted-two\n"
            f"UPSTREAM_CLAUDE_BASE_URL={three.url}/v1\nUPSTREAM_CLAUDE_API_KEY=planted-claude\n"
            "UPSTREAM_CLAUDE_API=anthropic\nBIG_MODEL=local:a,gpt-4o\nSMALL_MODEL=CLAUDE:claude-haiku-4-5\n"
            "ROUTES_FILE=routes.toml\nOPENAI_API_KEY=planted-default\nMAX_RETRIES=0\nLOG_LEVEL=INFO\n"
        )
        with started("cc-boost", tmp_path, one.url, ANTHROPIC_API_KEY="planted-client") as proxy:
            headers = {"x-api-key": "planted-client"}
            answers = {}
            for model in ("claude-haiku-4-5", "claude-opus-4-8", "local:b", "claude/claude:claude-opus-4-8"):
                body = request_body(model=model)
                answers[model] = httpx.post(f"{proxy.url}/v1/messages", json=body, headers=headers, timeout=20)
            tool = {"name": "Read", "description": "d", "input_schema": {"type": "object", "properties": {}}}
            ruled = {**request_body(model="claude-opus-4-8"), "tools": [tool]}
            answers["rule"] = httpx.post(f"{proxy.url}/v1/messages", json=ruled, headers=headers, timeout=20)
            page = httpx.get(proxy.url, timeout=20).json()
            assert proxy.terminate() in (0, -15)
        log = proxy.output.read_text()
    texts = {model: answer.json()["content"][0]["text"] for model, answer in answers.items() if answer.is_success}
    assert texts == {
        "claude-haiku-4-5": "by claude",
        "claude-opus-4-8": "by default",
        "claude/claude:claude-opus-4-8": "by claude",
        "rule": "by default",
    }
    assert [answer.json()["model"] for model, answer in answers.items() if model in texts] == [
        "claude-haiku-4-5", "claude-opus-4-8", "claude/claude:claude-opus-4-8", "claude-opus-4-8",
    ]  # fmt: skip
    assert answers["local:b"].status_code >= 500
    assert [body["model"] for body in default.completions] == ["gpt-4o", "of-the-rule"]
    assert [body["model"] for body in claude.bodies] == ["claude-haiku-4-5", "claude-opus-4-8"]
    passed = answers["claude-opus-4-8"].headers["x-cc-boost-route"]
    assert "upstream=default" in passed
    assert "local:a(" in passed
    assert "rule=1" in answers["rule"].headers["x-cc-boost-route"]
    assert set(page["upstreams"]) == {"local", "claude"}
    assert "planted" not in log


def test_bad_upstream_never_starts_a_server(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OPENAI_API_KEY": "k"}
    environment |= {"UPSTREAM_LOCAL_BASE_URL": "http://localhost:1/v1", "UPSTREAM_LOCAL_RPMS": "5"}
    command = [str(BIN / "cc-boost"), "serve"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "UPSTREAM_LOCAL_RPMS",
    ]
