"""cc-boost replay: a recorded request is sent again, and the difference shown."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.inspected import MESSAGE, STREAM, Inspected, inspected
from support.serving.process import BIN

KEY = "a-client-key"
ADMIN = "an-admin-key"


def replayed(proxy: Inspected, *arguments: str, id_: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it against the newest exchange."""
    known = {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": KEY, **env}
    asked: str = id_ or proxy.listed()[-1]["id"]
    return subprocess.run(
        [BIN / "cc-boost", "replay", asked, "--url", proxy.url, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=known,
        check=False,
    )


CASES: list[tuple[Answer, Answer, list[str]]] = [
    (Reply("One\nTwo"), Reply("One\nThree"), [" One", "-Two", "+Three"]),
    (Reply("Same"), Reply("Same"), ["The answers say the same."]),
    (
        Reply("", [ToolCall("Read", {"path": "a"})]),
        Reply("", [ToolCall("Read", {"path": "b"})]),
        [" tool call Read", '-    "path": "a"', '+    "path": "b"'],
    ),
]


@pytest.mark.parametrize("body", [MESSAGE, STREAM], ids=["whole", "stream"])
@pytest.mark.parametrize(("then", "now", "lines"), CASES, ids=["text", "same", "tool call"])
def test_difference_is_shown(then: Answer, now: Answer, lines: list[str], body: dict[str, Any]) -> None:
    tools = [{"name": "Read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}]
    with inspected(ScriptedProvider([then, now]), anthropic_api_key=KEY) as proxy:
        proxy.ask({**body, "tools": tools})
        ran = replayed(proxy)
        listed = proxy.listed()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [line for line in lines if line not in ran.stdout.splitlines()] == []
    assert "claude-opus-4-8 -> gpt-4o" in ran.stdout
    assert "Who's there?" in ran.stdout
    assert listed[1]["replay_of"] == listed[0]["id"]


def test_error_is_a_difference_too() -> None:
    refused = Failure(400, error_body("No such model"))
    with inspected(ScriptedProvider([Reply("One"), refused]), anthropic_api_key=KEY) as proxy:
        proxy.ask()
        ran = replayed(proxy, "--json")
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["same"]) == (1, False)
    assert (told["before"]["status"], told["before"]["lines"]) == (200, ["One"])
    assert (told["after"]["status"], "No such model" in told["after"]["lines"][0]) == (400, True)


def test_admin_key_goes_first() -> None:
    with inspected(ScriptedProvider(), anthropic_api_key=KEY, admin_api_key=ADMIN) as proxy:
        proxy.ask()
        proxy.http.headers["x-api-key"] = ADMIN
        assert "ADMIN_API_KEY" not in os.environ
        assert replayed(proxy, ADMIN_API_KEY=ADMIN).returncode == 0
        ran = replayed(proxy)
    assert ran.returncode == 1
    assert "The proxy does not do that" in ran.stderr


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with inspected(ScriptedProvider(), anthropic_api_key=KEY) as proxy:
        gone = replayed(proxy, id_="nothing")
    lost = replayed(proxy, id_="nothing")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "no longer kept" in gone.stderr
    assert (lost.returncode, "Nothing answers at" in lost.stderr) == (1, True)
