"""The start on a terminal: what it tells, at any width, with and without colours."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from ccproxy import Settings
from ccproxy.command_line.banner import banner
from support.serving.process import free_port

BIN = Path(sys.executable).parent
LIMIT = 30.0
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
URL = "http://localhost:8082"


def on_terminal(directory: Path, columns: int, last: str, **variables: str) -> str:
    """What ``cc-boost`` shows on a terminal of its own, up to a text that ends it."""
    port = str(free_port())
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "TERM": "xterm-256color", "OPENAI_API_KEY": "k"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [str(BIN / "cc-boost")],
        cwd=directory,
        env={**environment, "PORT": port, **variables},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = ""
    try:
        end = time.monotonic() + LIMIT
        while last not in shown and time.monotonic() < end and process.poll() is None:
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536).decode()
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(LIMIT)
        os.close(ours)
    return shown.replace("\r\n", "\n").replace(port, "8082")


def plain(settings: Settings, columns: int = 80) -> str:
    console = Console(width=columns, no_color=True, force_terminal=False)
    return banner(settings, URL, console)


def settings(**values: object) -> Settings:
    return Settings.explicit(openai_api_key="planted-provider-key", **values)


def test_banner_is_shown_on_a_terminal(tmp_path: Path) -> None:
    shown = on_terminal(tmp_path, 80, "HOST=127.0.0.1.")
    assert ESCAPE.search(shown)
    text = " ".join(ESCAPE.sub("", shown).split())
    for part in (
        "listens http://localhost:8082, and at every address of this machine",
        "provider https://api.openai.com/v1 (profile openai)",
        "opus gpt-4o sonnet gpt-4o haiku gpt-4o-mini",
        "layers metrics, ledger, auth, custom_headers, model_mapping, prompted_tools, format_conversion",
        "cc-boost claude --url http://localhost:8082",
        "ANTHROPIC_BASE_URL=http://localhost:8082 ANTHROPIC_AUTH_TOKEN=any-text claude",
    ):
        assert part in text
    assert text.count("without ANTHROPIC_API_KEY") == 1  # told once, though the log is on the terminal too


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(tmp_path: Path, variables: Mapping[str, str]) -> None:
    shown = on_terminal(tmp_path, 50, "ANTHROPIC_AUTH_TOKEN=your-key claude", ANTHROPIC_API_KEY="k", **variables)
    assert not re.search(r"\x1b\[(3[0-7]|38)", shown)


@pytest.mark.parametrize("columns", [24, 50, 80])
def test_lines_fit_but_commands_stay_whole(columns: int) -> None:
    lines = plain(settings(big_model="qwen3-coder:30b-a3b-instruct-2507-q8_0"), columns).splitlines()
    commands = [f"  cc-boost claude --url {URL}", f"  ANTHROPIC_BASE_URL={URL} ANTHROPIC_AUTH_TOKEN=any-text claude"]
    assert [line for line in lines if len(line) > columns and line not in commands] == []
    assert [line for line in lines if line in commands] == commands


def test_planner_and_inspector_are_named_where_they_are_on() -> None:
    boost = {"enable_boost_support": "BIG_MODEL", "boost_base_url": "https://b.example/v1", "boost_model": "o3"}
    text = " ".join(plain(settings(**boost, boost_api_key="planted-boost-key", inspector=True)).split())
    assert "model_mapping, boost (planner o3 at https://b.example/v1), prompted_tools, format_conversion" in text
    assert f"inspector {URL}/ui" in text
    assert "planted" not in text


def test_every_upstream_is_shown_with_all_models_of_a_list() -> None:
    upstreams = {
        "local": {"base_url": "http://localhost:11434/v1", "api_key": "planted-local"},
        "claude": {"base_url": "https://api.anthropic.com/v1", "api_key": "client"},
    }
    models = {"big_model": "claude:claude-opus-4-8,local:qwen3", "small_model": "local:qwen3"}
    text = " ".join(plain(Settings.explicit(upstreams=upstreams, **models), 200).split())
    assert "listens http://localhost:8082, and at every address of this machine local http://localhost:11434/v1" in text
    assert "(profile ollama) claude https://api.anthropic.com/v1 (Anthropic's protocol)" in text
    assert "opus claude:claude-opus-4-8, local:qwen3 sonnet" in text
    assert "routing" in text
    assert "planted" not in text


def test_names_are_shown_as_they_are() -> None:
    assert "llama[bold][1m]" in plain(settings(small_model="llama[bold][1m]"))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"big_model": "gpt-4.1"}, "are cut off. Your models can write 16,384."),
        ({"big_model": "local", "small_model": "local"}, "are cut off."),
        ({"max_tokens_limit": 16_384}, None),
    ],
)
def test_limit_that_cuts_edits_off_is_warned_of_once(values: dict[str, object], told: str | None) -> None:
    text = " ".join(plain(settings(**values)).split())
    assert text.count("MAX_TOKENS_LIMIT is") == (0 if told is None else 1)
    assert told is None or told in text
