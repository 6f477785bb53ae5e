"""A small job with a tool, for clients of Anthropic's API that run as programs of their own."""

import os
import subprocess
from pathlib import Path

from support.clients import claude_code
from support.providers.scripted import Reply, ScriptedProvider, ToolCall

MODEL = "claude-opus-5-5"
QUESTION = "What is a lighthouse? Look it up."
FOUND = "A tall tower with a lamp."
ANSWER = "It is a tall tower with a lamp."


class Model(ScriptedProvider):
    """A model that calls the tool, and then says what it has told. ``name``: how the client calls the tool."""

    def __init__(self, name: str = "look_up") -> None:
        super().__init__([Reply(tool_calls=[ToolCall(name, {"word": "lighthouse"})]), Reply(ANSWER)])

    def check(self) -> None:
        """The job was done in two requests, the second of them with the tool's result."""
        first, second = self.completions
        assert first["tools"]
        assert [message["role"] for message in second["messages"]][-2:] == ["assistant", "tool"]
        assert FOUND in str(second["messages"][-1]["content"])


def run(home: Path, command: list[str], **variables: str) -> str:
    """What a program says, in a fresh home and with nothing but loopback."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        **claude_code.OFFLINE,
        "NO_PROXY": "127.0.0.1,localhost",
        "MODEL": MODEL,
        "QUESTION": QUESTION,
        **variables,
    }
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
