"""Claude Code's terminal interface in front of ``cc-boost claude``: the first start, /model, the end of a session."""

import re
from pathlib import Path

import pytest

from support.clients.claude_terminal import KEY, MODELS, UP, ask, claude, enter, environment, made_home
from support.clients.terminal import TMUX, Terminal, terminal
from support.providers.model_lists import listing
from support.providers.scripted import Reply, ScriptedProvider
from support.providers.turns import turns_before
from support.serving.process import started
from support.serving.servers import serve

pytestmark = [
    pytest.mark.claude_code,
    pytest.mark.timeout(300),
    pytest.mark.skipif(TMUX is None, reason="tmux is not installed"),
]


@pytest.fixture
def home(claude_program: Path, tmp_path: Path) -> Path:
    return made_home(claude_program, tmp_path)


def go_through_the_first_start(shown: Terminal) -> str:
    """Confirm what a fresh home is asked, up to the prompt; returns all that was shown."""
    seen = ""
    while UP not in (screen := shown.wait_for(rf"text style|Press Enter|trust this folder|{UP}")):
        seen += screen
        if "trust this folder" in screen:
            screen = shown.press_until("❯ Yes", "Down")
        shown.press_until(rf"\A(?!{re.escape(screen)})", "Enter")
    return seen + screen


def end(shown: Terminal) -> str:
    shown.press("C-c")
    shown.press("C-c")
    return shown.wait_for(r"exit code 0")


@pytest.mark.seen(
    "first start", "a fresh home asks for no login with the line that the proxy prints, and starts in auto mode"
)
def test_fresh_home_asks_for_no_login_with_the_line_that_is_printed(home: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("Hello."))
    with (
        serve(provider, lifespan="off") as server,
        started("cc-boost", home / "tmp", server.url, OPENAI_API_KEY=KEY) as proxy,
    ):
        line = re.search(r"Use it: (.*)", proxy.output.read_text())
        assert line
        with terminal(["/bin/sh", "-c", line[1]], home / "work", environment(home)) as shown:
            seen = go_through_the_first_start(shown)
            shown.wait_for("auto mode on")
            ask(shown, "Say hello.", "Hello.")
    assert not re.search("log ?in|API key|subscription", seen, re.IGNORECASE)


@pytest.mark.seen(
    "models to choose",
    "`/model` lists the tiers and the provider's own; a choice works in mid-session, and after a restart of the proxy",
)
def test_model_lists_the_tiers_and_the_providers_own_and_a_choice_survives(home: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply(f"I am {body['model']}."))
    switch = '{"list_models": "upstream"}'
    with serve(listing(provider, *MODELS), lifespan="off") as server:
        with claude(home, server.url, PROVIDER_OPTIONS=switch) as shown:
            assert "qwen3-coder · API Usage Billing" in shown.screen  # the header names the real model
            ask(shown, "Who are you?", "I am qwen3-coder.")
            enter(shown, "/model")
            screen = shown.wait_for("Select model")
            rows = re.findall(r"^\W*\d\. (.*?)(?:  +(.*))?$", screen, re.MULTILINE)
            assert [row for row in rows if "Default" not in row[0]] == [
                ("qwen3-coder", "opus, by cc-boost"),
                ("qwen3-coder", "fable, by cc-boost"),
                ("qwen3-coder", "sonnet, by cc-boost"),
                ("small-model", "haiku, by cc-boost"),
                ("deepseek/deepseek-chat:free", "deepseek/deepseek-chat:free, the provider's own"),
            ]
            shown.press(str(len(rows)))
            shown.wait_for("Yes, switch to deepseek/deepseek-chat:free")
            shown.press("Enter")
            shown.wait_for("Set model to")
            ask(shown, "And now?", "I am deepseek/deepseek-chat:free.")
            end(shown)
        with claude(home, server.url, PROVIDER_OPTIONS=switch) as shown:
            ask(shown, "Who are you?", "I am deepseek/deepseek-chat:free.")
            screen = end(shown)
    assert "another gateway" not in screen


@pytest.mark.seen(
    "resuming", "the line that is printed at the end resumes the session, which goes on through the proxy"
)
def test_line_to_resume_goes_through_the_proxy(home: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply(f"Answer {turns_before(body) + 1}."))
    with serve(listing(provider, *MODELS), lifespan="off") as server:
        with claude(home, server.url) as shown:
            ask(shown, "First?", "Answer 1.")
            screen = end(shown)
        own = re.search(r"claude --resume ([\w-]+)", screen)
        ours = re.search(r"Through the proxy: cc-boost claude --resume ([\w-]+)", screen)
        assert own
        assert ours
        assert own[1] == ours[1]
        with claude(home, server.url, "--resume", ours[1]) as shown:
            assert "● Answer 1." in shown.wait_for(r"First\?")
            ask(shown, "Second?", "Answer 2.")
