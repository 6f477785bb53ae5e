"""The demo's planner for boost: a provider whose model thinks and has no tools.

Like the provider it follows a few rules. It reads boost's prompt as a model would, and answers in one of the forms that
the prompt asks for.
"""

import re
from collections.abc import Mapping
from typing import Any

from .provider import ABOUT, Answer

MODEL = "demo-planner"


def plan(body: Mapping[str, Any]) -> Answer:
    """The plan for a prompt. Raises ValueError, which becomes a 400, for a request with tools."""
    if "tools" in body:
        raise ValueError("this model takes no tools")
    prompt: str = body["messages"][-1]["content"]
    tools = set(re.findall(r"^## (\S+)$", _between(prompt, "tools_of_the_executor"), re.MULTILINE))
    request = _between(prompt, "request")
    since = _between(prompt, "conversation").rpartition(f"[user]\n{request}")[2]
    results = re.findall(r"^\[result of \S+\]\n(.*?)(?=^\[|\Z)", since, re.MULTILINE | re.DOTALL)
    if results:
        return Answer("SUMMARY:\nThe executor's tools returned:\n\n" + "\n".join(map(str.strip, results)))
    if "read_file" in tools and (path := re.search(r"[\w-]+\.txt", request)):
        return _guide("The answer stands in a file.", f"Call read_file with path {path.group()}.")
    if "Bash" in tools and re.search(r"\b(files?|directory|folder|ls|list)\b", request, re.IGNORECASE):
        return _guide("The files have to be listed.", "Call Bash with the command ls -la.")
    return Answer(f"SUMMARY:\n{ABOUT}")


def _guide(analysis: str, guidance: str) -> Answer:
    return Answer(f"ANALYSIS:\n{analysis}\n\nGUIDANCE:\n{guidance}")


def _between(prompt: str, tag: str) -> str:
    return prompt.partition(f"<{tag}>\n")[2].rpartition(f"\n</{tag}>")[0]
