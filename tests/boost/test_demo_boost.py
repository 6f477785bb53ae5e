"""``cc-boost demo --boost``."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccproxy.demo.planner import plan
from ccproxy_middleware.boost.prompt import DEFAULT_TEMPLATE, PLACEHOLDERS, Template

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "demo", "--boost"]


def test_demo_shows_a_plan_carried_out(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    result = subprocess.run([*COMMAND, "-v"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    for part in ("boost: guidance)", "boost: summary)", "Everything arrived", "as the planner got it"):
        assert part in result.stdout


def prompt(**values: str) -> dict[str, Any]:
    filled = Template(DEFAULT_TEMPLATE).fill({**dict.fromkeys(PLACEHOLDERS, ""), **values})  # type: ignore[dict-item]
    return {"messages": [{"role": "user", "content": filled}]}


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ({"user_request": "Hello"}, "SUMMARY:\nI am the demo"),
        ({"user_request": "List the files", "tools_text": "## Bash\nx"}, "ANALYSIS:\nThe files"),
        ({"user_request": "List the files"}, "SUMMARY:\nI am the demo"),
        ({"user_request": "see note.txt", "tools_text": "## A\n\n## read_file"}, "ANALYSIS:\nThe answer stands"),
        (
            {"user_request": "ls", "conversation": "[user]\nls\n\n[assistant calls B]\n{}\n\n[result of B]\nx\ny"},
            "SUMMARY:\nThe executor's tools returned:\n\nx\ny",
        ),
    ],
)
def test_demo_planner_reads_the_prompt(values: dict[str, str], begins: str) -> None:
    assert plan(prompt(**values)).text.startswith(begins)


def test_demo_planner_takes_no_tools() -> None:
    with pytest.raises(ValueError, match="no tools"):
        plan({**prompt(), "tools": []})
