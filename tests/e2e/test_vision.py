"""Claude Code itself with a model that takes no images, over several turns."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from support.clients.claude_code import ClaudeCode
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.proxied import proxied

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(300)]

Start: TypeAlias = Callable[..., ClaudeCode]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def has_image(body: dict[str, Any]) -> bool:
    return "image_url" in str(body.get("messages") or body["input"])


@pytest.mark.seen("images", "an image that Read has opened is described once, and stays the same in later turns")
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_image_of_read_is_described(start: Start, work: Path, api: str) -> None:
    (work / "shot.png").write_bytes(PNG)
    eyes: list[dict[str, Any]] = []

    def model(body: dict[str, Any]) -> Answer:
        if body["model"] == "eyes":
            eyes.append(body)
            return Reply("A dialog: `Save changes?`")
        if has_image(body):
            return Failure(400, error_body("This model does not support image input"))
        if not body.get("tools"):
            return Reply("A title")
        said = str(body.get("messages") or body["input"])
        if "A dialog: `Save changes?`" not in said:
            return Reply("I look.", [ToolCall("Read", {"file_path": str(work / "shot.png")})])
        if "seen.txt" not in said:
            call = {"file_path": str(work / "seen.txt"), "content": "Save changes?\n"}
            return Reply("I note it.", [ToolCall("Write", call)])
        return Reply("It asks whether to save.")

    provider = ScriptedProvider(model)
    with proxied(provider, provider_options={"api": api}, vision_model="eyes") as url:
        run = start(url).run("Note what the dialog on shot.png asks.")
    assert (run.code, run.result["result"]) == (0, "It asks whether to save."), run.errors
    assert (work / "seen.txt").read_text() == "Save changes?\n"
    assert len(eyes) == 1
    told = [body for body in (*provider.completions, *provider.responses) if "[image 1: A dialog" in str(body)]
    assert len(told) >= 2
