"""The status line of the real Claude Code, in a terminal: what the session costs and who has answered."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from support.clients.claude_terminal import MODELS, ask, claude, made_home
from support.clients.terminal import TMUX
from support.providers.model_lists import listing
from support.providers.scripted import Answer, Reply, ScriptedProvider
from support.serving.servers import serve

pytestmark = [
    pytest.mark.claude_code,
    pytest.mark.timeout(300),
    pytest.mark.skipif(TMUX is None, reason="tmux is not installed"),
]

PRICES = """
[[price]]
provider = "generic"
model = "qwen3-coder"
input = 10
output = 100
"""
USAGE = {"prompt_tokens": 20_000, "completion_tokens": 3_000, "total_tokens": 23_000}


@pytest.mark.seen("status line", "cost and tokens of the session, and the model that has answered, are in its line")
@pytest.mark.parametrize("ledger", [True, False])
def test_status_line_shows_the_session(claude_program: Path, tmp_path: Path, ledger: bool) -> None:
    def answer(body: dict[str, Any]) -> Answer:
        return Reply("A title.") if body["model"] == "small-model" else Reply("It is done.", usage=USAGE)

    home = made_home(claude_program, tmp_path)
    (home / "prices.toml").write_text(PRICES)
    settings = home / "home/.claude/settings.json"
    settings.parent.mkdir(parents=True)
    command = f"{Path(sys.executable).parent / 'cc-boost'} statusline"
    settings.write_text(json.dumps({"statusLine": {"type": "command", "command": command}}))
    variables = {"PRICES_FILE": str(home / "prices.toml")}
    if ledger:
        variables["LEDGER"] = f"sqlite:///{home}/ledger.db"
    with (
        serve(listing(ScriptedProvider(answer), *MODELS), lifespan="off") as server,
        claude(home, server.url, "--permission-mode", "default", **variables) as shown,
    ):
        ask(shown, "Do it.", "It is done.")
        # 20,000 tokens at $10 a million, and 3,000 at $100: $0.50; others of the session may have no price.
        screen = shown.wait_for(r"\$0\.500( \+ \d+ unpriced)? \| 2\d\.\dk in, 3\.\dk out \| qwen3-coder( \| .*%)?")
        ask(shown, "Once more.", "It is done.")
        screen = shown.wait_for(r"\$1\.00( \+ \d+ unpriced)? \| 4\d\.\dk in, 6\.\dk out \| qwen3-coder")
    assert re.search(r"qwen3-coder \| \d+ % of 131k|qwen3-coder \| \d+ % of", screen), screen
