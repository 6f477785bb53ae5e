"""``cc-boost claude`` in a terminal: Claude Code's interface, in a home of its own, in front of a test's provider."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .claude_code import OFFLINE
from .terminal import Terminal, terminal

COMMAND = str(Path(sys.executable).parent / "cc-boost")
KEY = "provider-key"
UP = "API Usage Billing"
"""Words of the header, behind the name of the model."""
MODELS: list[dict[str, Any]] = [
    {"id": "qwen3-coder", "context_length": 131_072},
    {"id": "small-model", "context_length": 131_072},
    {"id": "deepseek/deepseek-chat:free", "context_length": 64_000},
]
# Without DISABLE_NONESSENTIAL_TRAFFIC, which turns discovery off; nothing but loopback is reached all the same.
_VARIABLES = {name: value for name, value in OFFLINE.items() if "NONESSENTIAL" not in name}


def made_home(program: Path, directory: Path) -> Path:
    """Make a fresh home and a folder to work in, with Claude Code's program on the path."""
    for name in ("bin", "home", "work", "tmp"):
        (directory / name).mkdir()
    (directory / "bin" / "claude").symlink_to(program)
    return directory


def environment(home: Path, **variables: str) -> dict[str, str]:
    return {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path[1:]),
        "LANG": "C.UTF-8",
        "HOME": str(home / "home"),
        "TMPDIR": str(home / "tmp"),
        "SHELL": "/bin/bash",
        "NO_PROXY": "127.0.0.1,localhost",
        **_VARIABLES,
        **variables,
    }


@contextmanager
def claude(home: Path, url: str, *arguments: str, **variables: str) -> Iterator[Terminal]:
    """``cc-boost claude`` up to its prompt, in a home that has been through its first start."""
    trusted = {str(home / "work"): {"hasTrustDialogAccepted": True}}
    if not (home / "home/.claude.json").exists():
        told = {"hasCompletedOnboarding": True, "theme": "dark", "projects": trusted}
        (home / "home/.claude.json").write_text(json.dumps(told))
    known = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{url}/v1",
        "BIG_MODEL": "qwen3-coder",
        "SMALL_MODEL": "small-model",
        **variables,
    }
    with terminal([COMMAND, "claude", *arguments], home / "work", environment(home, **known)) as shown:
        shown.wait_for(UP)
        yield shown


def enter(shown: Terminal, text: str) -> None:
    """Give it a line: a question or a command."""
    shown.type(text)
    shown.press("Enter")


def ask(shown: Terminal, question: str, answer: str) -> None:
    enter(shown, question)
    shown.wait_for(f"● {answer}")
