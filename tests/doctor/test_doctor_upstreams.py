"""``cc-boost doctor`` with several upstreams: each is examined, and each remedy names the variables of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from ccproxy.doctor import run
from doctor import disguises
from doctor.disguises import able
from support.providers.anthropic_server import AnthropicServer
from support.providers.scripted import Failure, ScriptedProvider, error_body
from support.serving.servers import serve

SECRET = "planted-5EcReT"


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def examine(*, as_json: bool = True, write_env: bool = False, **variables: str) -> Any:
        with monkeypatch.context() as patch:
            patch.delenv("OPENAI_API_KEY", raising=False)
            for name, value in {"MAX_TOKENS_LIMIT": "32000", "MAX_RETRIES": "0", **variables}.items():
                patch.setenv(name, value)
            code = run(as_json=as_json, write_env=write_env)
        shown = capsys.readouterr()
        assert SECRET not in shown.out + shown.err
        return (json.loads(shown.out) | {"code": code}) if as_json else shown.out

    return examine


Examine = Callable[..., Any]


def check(document: Any, upstream: str, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in document["upstreams"][upstream]["checks"] if c["id"] == id_)
    return found


def claude(**options: Any) -> AnthropicServer:
    def script(body: dict[str, Any]) -> list[dict[str, Any]]:
        if body.get("tools"):
            return [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "echo hello"}}]
        return [{"type": "text", "text": "OK"}]

    return AnthropicServer(script, strict=True, **options)


def missing(model: str) -> ASGIApp:
    """A provider that has all models but one."""

    def script(body: dict[str, Any]) -> Any:
        if body["model"] == model:
            return Failure(404, error_body(f"The model `{model}` does not exist", code="model_not_found"))
        return able(body)

    return ScriptedProvider(script)


def test_every_upstream_and_every_model_that_is_named_is_examined(examine: Examine) -> None:
    local = missing("gone")
    with (
        serve(ScriptedProvider(able), lifespan="off") as first,
        serve(local, lifespan="off") as second,
        serve(claude(credentials=["key-1"]), lifespan="off") as third,
    ):
        variables = {
            "OPENAI_API_KEY": SECRET,
            "OPENAI_BASE_URL": f"{first.url}/v1",
            "BIG_MODEL": "gpt-4o,local:qwen3",
            "SMALL_MODEL": "claude:claude-haiku-4-5",
            "CLASSIFIER_MODEL": "local:gone",
            "UPSTREAM_LOCAL_BASE_URL": f"{second.url}/v1",
            "UPSTREAM_LOCAL_API_KEY": f"{SECRET}-local",
            "UPSTREAM_CLAUDE_BASE_URL": f"{third.url}/v1",
            "UPSTREAM_CLAUDE_API_KEY": "key-1",
            "UPSTREAM_CLAUDE_API": "anthropic",
        }
        document = examine(**variables)
    assert document["code"] == 1
    assert list(document["upstreams"]) == ["default", "local", "claude"]
    assert check(document, "default", "models")["outcome"] == "ok"
    found = check(document, "local", "models")
    assert (found["outcome"], found["detail"]) == ("problem", "not found: CLASSIFIER_MODEL gone")
    assert found["remedy"].startswith("Set CLASSIFIER_MODEL to a model that exists")
    assert check(document, "local", "tools")["outcome"] == "ok"
    assert {c["id"]: c["outcome"] for c in document["upstreams"]["claude"]["checks"]} == {
        "reachable": "ok", "tls": "skipped", "key": "ok", "models": "ok", "stream": "ok", "claude_code": "ok",
        "planner": "skipped",
    }  # fmt: skip


def test_remedies_and_lines_name_the_variables_of_the_upstream(examine: Examine) -> None:
    blind = ScriptedProvider(disguises.sees_nothing)
    with serve(blind, lifespan="off") as one, serve(ScriptedProvider(api_key="right"), lifespan="off") as two:
        variables = {
            "BIG_MODEL": "one:a",
            "SMALL_MODEL": "two:b",
            "UPSTREAM_ONE_BASE_URL": f"{one.url}/v1",
            "UPSTREAM_ONE_API_KEY": "k",
            "UPSTREAM_TWO_BASE_URL": f"{two.url}/v1",
            "UPSTREAM_TWO_API_KEY": f"{SECRET}-wrong",
        }
        document = examine(write_env=True, **variables)
        text = examine(as_json=False, **variables)
    assert list(document["upstreams"]) == ["one", "two"]
    assert "UPSTREAM_TWO_API_KEY" in check(document, "two", "key")["remedy"]
    assert "OPENAI_API_KEY" not in check(document, "two", "key")["remedy"]
    assert document["changes"] == {"UPSTREAM_ONE_PROVIDER_OPTIONS": '{"vision": false}'}
    assert Path(".env").read_text() == "UPSTREAM_ONE_PROVIDER_OPTIONS='{\"vision\": false}'\n"
    assert f"one: {one.url}/v1 with a" in text
    assert f"two: {two.url}/v1 with b" in text


def test_each_key_of_a_pool_is_tried(examine: Examine) -> None:
    provider = ScriptedProvider(able, api_key="good")
    with serve(provider, lifespan="off") as server:
        url = f"{server.url}/v1"
        document = examine(OPENAI_API_KEY=f"good,{SECRET}-bad", OPENAI_BASE_URL=url)
    found = next(c for c in document["checks"] if c["id"] == "keys")
    assert found["outcome"] == "problem"
    assert found["detail"].startswith("key 2 of 2: ")
    assert found["remedy"].startswith("Take it out of OPENAI_API_KEY.")


def test_upstream_of_which_no_model_is_named_and_one_with_the_clients_credential(examine: Examine) -> None:
    with serve(ScriptedProvider(able), lifespan="off") as one, serve(claude(), lifespan="off") as two:
        document = examine(
            OPENAI_API_KEY="k",
            OPENAI_BASE_URL=f"{one.url}/v1",
            BIG_MODEL="gpt-4o,mine:claude-opus-4-8",
            UPSTREAM_IDLE_BASE_URL=f"{one.url}/v1",
            UPSTREAM_IDLE_API_KEY="k",
            UPSTREAM_MINE_BASE_URL=f"{two.url}/v1",
            UPSTREAM_MINE_API_KEY="client",
            UPSTREAM_MINE_API="anthropic",
        )
    assert (document["code"], document["verdict"]) == (0, "warning")
    assert check(document, "idle", "named")["outcome"] == "warning"
    assert "NAME:model" in check(document, "idle", "named")["remedy"]
    assert check(document, "mine", "key")["outcome"] == "skipped"


def test_planners_of_upstreams_are_examined_there(examine: Examine) -> None:
    with serve(ScriptedProvider(able), lifespan="off") as one, serve(missing("o3"), lifespan="off") as two:
        document = examine(
            OPENAI_API_KEY="k",
            OPENAI_BASE_URL=f"{one.url}/v1",
            ENABLE_BOOST_SUPPORT="BIG_MODEL",
            BOOST_MODEL="plan:o3",
            UPSTREAM_PLAN_BASE_URL=f"{two.url}/v1",
            UPSTREAM_PLAN_API_KEY="k",
        )
    assert check(document, "plan", "planner")["detail"] == "its models are examined at their upstreams"
    assert check(document, "plan", "models")["detail"] == "not found: BOOST_MODEL o3"
