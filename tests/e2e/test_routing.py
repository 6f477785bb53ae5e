"""Claude Code itself through several upstreams: one dies in the middle of its work, one of two keys is limited."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.clients.claude_code import ClaudeCode
from support.providers.scripted import Answer, Reply, ScriptedProvider, ToolCall
from support.providers.turns import by_turn, turns_before
from support.serving.mortal import mortal
from support.serving.proxied import proxy
from support.serving.servers import serve

pytestmark = [pytest.mark.claude_code, pytest.mark.timeout(600)]

MAIN, SPARE = "main-model", "spare-model"


def test_provider_dies_in_turn_three_and_comes_back_in_turn_five(start: Callable[..., ClaudeCode], work: Path) -> None:
    """Nobody notices at Claude Code: the standby answers turns three and four, then the first one again."""
    steps = [f"echo {n} >> log.txt" for n in range(6)]
    steps[3] += "; sleep 7"  # longer than the first one is left alone
    model = by_turn(
        *(Reply(f"Step {n}.", [ToolCall("Bash", {"command": step})]) for n, step in enumerate(steps)),
        Reply("All done."),
    )

    def first(body: dict[str, Any]) -> Answer:
        if body["model"] == MAIN and turns_before(body) == 2:
            relay.die()
        return model(body)

    def standby(body: dict[str, Any]) -> Answer:
        if turns_before(body) == 3:
            relay.come_back()
        return model(body)

    providers = ScriptedProvider(first), ScriptedProvider(standby)
    with (
        serve(providers[0], lifespan="off") as dying,
        serve(providers[1], lifespan="off") as spare,
        mortal(dying.url) as relay,
        proxy(
            relay.url,
            upstreams={"spare": {"base_url": f"{spare.url}/v1", "api_key": "spare-key"}},
            big_model=f"{MAIN}, spare:{SPARE}",
            small_model=f"{MAIN}, spare:{SPARE}",
        ) as url,
    ):
        run = start(url).run("Do all steps.")
    assert (run.code, run.result["result"], run.result["is_error"]) == (0, "All done.", False), run.errors
    assert run.result["num_turns"] == 7
    assert (work / "log.txt").read_text().split() == list("012345")
    assert [block["text"] for block in run.blocks("assistant", "text")] == [f"Step {n}." for n in range(6)] + [
        "All done."
    ]
    asked = [[turns_before(body) for body in provider.completions] for provider in providers]
    assert asked[1] == [2, 3]
    assert asked[0] == [0, 1, 2, 4, 5, 6]
    assert "retry" not in run.errors.lower()
