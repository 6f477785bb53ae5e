"""The demo's model without tools: it reads their description in its prompt, and calls them in text."""

import json
import re
from collections.abc import Mapping
from typing import Any

from .provider import Answer, decide_by_rules


def by_prompt(body: Mapping[str, Any]) -> Answer:
    """The answer to a request. Raises ValueError, which becomes a 400, for a request with tools."""
    if "tools" in body:
        raise ValueError("this model does not support tools")
    messages = [*body["messages"]]
    listed = re.search(r"<tools>\n(.*?)\n</tools>", str(messages[0]["content"]), re.DOTALL)
    if listed is None:
        return decide_by_rules(body)
    tools = [{"type": "function", "function": json.loads(line)} for line in listed[1].splitlines()]
    results = re.findall(r"<tool_response[^>]*>\n(.*?)\n</tool_response>", str(messages[-1]["content"]), re.DOTALL)
    if results:
        messages[-1:] = [{"role": "tool", "content": result} for result in results]
    answer = decide_by_rules({**body, "messages": messages, "tools": tools})
    if answer.tool is None:
        return answer
    return Answer(f'{answer.text}\n<tool_call>{{"name": "{answer.tool}", "arguments": {answer.arguments}}}</tool_call>')
