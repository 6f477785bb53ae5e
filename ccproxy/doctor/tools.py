"""Checks of tools, which Claude Code depends on, and of a request like Claude Code's own."""

from collections.abc import Mapping
from typing import Any

from ccproxy_middleware.conversion.chat import split_think_tags
from ccproxy_middleware.conversion.providers import NO_TOOLS, Profile
from ccproxy_middleware.conversion.text_calls import Call, TextCalls

from .examination import Examination, Result, ok, problem, say, skipped, warning
from .probe import Answer

_CITIES = ("Oslo", "Lima")
_WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in one city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city's name."},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
        },
    },
}
_BY_SERVER = {
    "vllm": "Start vLLM with --enable-auto-tool-choice and the --tool-call-parser of the model.",
    "llama.cpp": "Start llama-server with --jinja.",
    "ollama": "Use a model that `ollama show` lists with the capability tools.",
}
_OTHERWISE = "Use a model that calls tools. One that can't may still plan for one that can: see boost in the README."
_AS_TEXT = ("<tool_call", "<function", "[TOOL_CALLS]", '"name": "get_weather"', '"name":"get_weather"')
_PROMPTED = 'With PROVIDER_OPTIONS={"tools": "prompted"} they are described in the prompt. '
_READ = 'PROVIDER_OPTIONS={"text_tool_calls": "auto"} makes such text calls. '


async def tools(exam: Examination) -> Result:
    answer = await _ask(exam, "What is the weather in Oslo, in celsius? Use the tool.")
    remedy = _BY_SERVER.get(exam.provider, _OTHERWISE)
    if not answer.ok:
        return await _without_tools(exam, answer, remedy)
    calls = answer.calls
    in_text = [call for call in _calls_in_text(answer.content) if {"city", "unit"} <= call.arguments.keys()]
    if not calls and in_text:
        exam.learn(text_tool_calls="auto")
        return warning("the call comes as text: the server does not read the model's calls", _READ + remedy)
    if not calls and any(sign in answer.content for sign in _AS_TEXT):
        return problem("the call comes as text: the server does not read the model's calls", remedy)
    if not calls:
        return problem("not called, though the question asks for it", remedy)
    arguments = calls[0].parsed()
    if arguments is None:
        return problem(f"called with broken arguments: {calls[0].arguments[:60]!r}", remedy)
    if not {"city", "unit"} <= arguments.keys():
        return warning("called, but without all required arguments", "A stronger model would fill them in.")
    return ok("called, with complete arguments")


async def _without_tools(exam: Examination, refused: Answer, remedy: str) -> Result:
    """What follows if tools are refused: they may be called in text."""
    if not NO_TOOLS.search(refused.error):
        return problem(f"refused: {refused.error}", remedy)
    function = _WEATHER["function"]
    tool = {**function, "input_schema": function["parameters"]}
    del tool["parameters"]
    text = "What is the weather in Oslo, in celsius? Use the tool."
    answer = await exam.converse({"stream": True, "tools": [tool], "messages": [{"role": "user", "content": text}]})
    starts = [_block(event) for _, event in answer.events if event.get("type") == "content_block_start"]
    if not any(block.get("type") == "tool_use" for block in starts):
        exam.found.pop("tools", None)
        return problem(f"refused: {refused.error}; and the model calls none that its prompt describes", remedy)
    exam.learn(tools="prompted")
    return warning(f"refused: {refused.error}; called if the prompt describes it", _PROMPTED + remedy)


def _calls_in_text(text: str) -> list[Call]:
    function = _WEATHER["function"]
    calls = TextCalls({function["name"]: function["parameters"]}, "all")
    calls.feed(split_think_tags(text)[1])
    return calls.finish()[1]


async def parallel_tools(exam: Examination) -> Result:
    if exam.profile.tools == "prompted":
        return skipped("the model has no tools of its own")
    question = "What is the weather in Oslo and in Lima, in celsius? Call the tool for both at once."
    answer = await _ask(exam, question)
    if not answer.ok:
        return warning(answer.error)
    if any(call.parsed() is None for call in answer.calls):
        return problem(
            "two calls in one answer get their arguments mixed up", "Look for a newer version of the server."
        )
    calls = len(answer.calls or _calls_in_text(answer.content))
    if calls < len(_CITIES):
        return warning("one call at a time: it works, in more turns")
    return ok(f"{calls} calls in one answer")


async def tool_choice(exam: Examination) -> Result:
    def build(profile: Profile) -> dict[str, Any]:
        body = say("Say hello.", tools=[_WEATHER])
        if profile.forced_tool_choice:
            body["tool_choice"] = {"type": "function", "function": {"name": "get_weather"}}
        if profile.parallel_flag:
            body["parallel_tool_calls"] = False
        return body

    if not exam.profile.forced_tool_choice:
        return skipped("the profile says that the model accepts none")
    if exam.profile.tools == "prompted":
        return skipped("the model has no tools of its own: the choice is said in words")
    answer = await exam.ask(build, enough=lambda a: a.calls)
    without = "" if exam.profile.parallel_flag else "; parallel_tool_calls is refused and left out"
    if not exam.profile.forced_tool_choice:
        return ok(f"refused: the proxy leaves it to the model{without}")
    if not answer.ok:
        return warning(answer.error)
    if not answer.calls:
        return warning(f"tool_choice is ignored; Claude Code forces a tool only for web search{without}")
    return ok(f"taken{without}")


async def claude_code(exam: Examination) -> Result:
    return verdict_of(await exam.converse(request()))


def verdict_of(answer: Answer) -> Result:
    """What the answer to Claude Code's request shows."""
    events = [event for _, event in answer.events]
    if answer.error or not events:
        return problem(
            answer.error or "no stream came", "Look at the other checks; a switch of PROVIDER_OPTIONS may help."
        )
    types = [event.get("type") for event in events]
    if types[-1] != "message_stop":
        return problem("the answer has no end", "Look at the provider's own log.")
    starts = [_block(event) for event in events if event.get("type") == "content_block_start"]
    names = [block.get("name") for block in starts if block.get("type") == "tool_use"]
    if "Bash" in names:
        return ok("answered with a tool call, as it should be")
    remedy = "This model may talk instead of acting: use a stronger one."
    return warning(f"answered, but {'by another tool' if names else 'without the tool'}", remedy)


async def _ask(exam: Examination, question: str) -> Answer:
    """Ask with the tool, and stream the answer, as Claude Code does."""
    return await exam.ask(
        lambda profile: say(question, tools=[_WEATHER], stream=True),
        enough=lambda answer: answer.calls and all(call.parsed() is not None for call in answer.calls),
    )


def _block(event: Mapping[str, Any]) -> Mapping[str, Any]:
    block = event.get("content_block")
    return block if isinstance(block, dict) else {}


def request() -> dict[str, Any]:
    """A request in Claude Code's format, with few tools and a short prompt."""
    path = {"type": "string", "description": "The absolute path of the file."}
    timeout = {"type": "integer", "minimum": 0, "maximum": 600_000}
    return {
        "max_tokens": 32_000,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "doctor"},
        "system": [
            {"type": "text", "text": "You are a coding agent. You do what you are asked by calling tools."},
            {"type": "text", "text": "You are in /home/user.", "cache_control": {"type": "ephemeral"}},
        ],
        "tools": [
            _tool("Bash", "Run a command.", command={"type": "string"}, timeout=timeout),
            _tool("Read", "Read a file.", file_path=path),
            _tool("Edit", "Replace a text in a file.", file_path=path, old={"type": "string"}, new={"type": "string"}),
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Run the command: echo hello"}]},
        ],
    }


def _tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": [next(iter(properties))],
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "input_schema": schema}
