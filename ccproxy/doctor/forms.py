"""Checks of the formats in Claude Code's conversations: parts, system messages, results, long descriptions."""

from collections.abc import Mapping
from typing import Any

from ccproxy_middleware.conversion.providers import Profile

from .answers import remedy_of
from .examination import BUSY, Examination, Result, ok, say, skipped, warning, with_switches
from .probe import Answer

_LONG = 5_000  # characters: Claude Code's own tools have such descriptions

_WEATHER = {
    "name": "get_weather",
    "description": "The weather in one city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def content_parts(exam: Examination) -> Result:
    def build(profile: Profile) -> dict[str, Any]:
        texts = ["Reply with one word:", "OK."]
        parts = [{"type": "text", "text": text} for text in texts]
        content = parts if profile.content_parts else " ".join(texts)
        return {**say(""), "messages": [{"role": "user", "content": content}]}

    if not exam.profile.content_parts:
        return skipped("the profile says that content is a text")
    answer, switches = await exam.with_one_of([{"content_parts": False}], lambda: exam.ask(build))
    return _result(answer, switches, "taken", "A message of several parts is refused, and so is the same as one text.")


async def system_messages(exam: Examination) -> Result:
    question = {
        "system": "You answer in one word.",
        "messages": [
            {"role": "user", "content": "Say red."},
            {"role": "assistant", "content": "Red."},
            {"role": "system", "content": "From now on answer in capital letters."},
            {"role": "user", "content": "Say blue."},
        ],
    }
    candidates = [{"mid_system": "user"}, {"mid_system": "hoist"}]
    answer, switches = await exam.with_one_of(candidates, lambda: exam.converse(question))
    how = "taken" if exam.profile.mid_system == "inline" else "moved, as the profile says"
    return _result(answer, switches, how, 'Try PROVIDER_OPTIONS={"system_role": "user"}.')


async def two_results(exam: Examination) -> Result:
    calls = {"toolu_01doctor1": "Oslo", "toolu_01doctor2": "Lima"}
    question = {
        "tools": [_WEATHER],
        "messages": [
            {"role": "user", "content": "How is the weather in Oslo and in Lima?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": id_, "name": "get_weather", "input": {"city": city}}
                    for id_, city in calls.items()
                ],
            },
            {
                "role": "user",
                "content": [
                    *({"type": "tool_result", "tool_use_id": id_, "content": "sunny"} for id_ in calls),
                    {"type": "text", "text": "In which of them is it sunny? Answer in one word, without a tool."},
                ],
            },
        ],
    }
    candidates: list[dict[str, Any]] = [{"bridge_after_tool": True}, {"tool_id": "mistral9"}]
    answer, switches = await exam.with_one_of(candidates, lambda: exam.converse(question))
    remedy = "Claude Code calls several tools at once: use another model."
    return _result(answer, switches, "two results in one turn are taken", remedy)


async def long_description(exam: Examination) -> Result:
    text = ("The weather in one city. " * _LONG)[:_LONG]
    question = {
        "tools": [{**_WEATHER, "description": text}],
        "messages": [{"role": "user", "content": "Reply with the word OK, without a tool."}],
    }
    candidates = [{"tool_description_max": 1024}]  # OpenAI's limit
    answer, switches = await exam.with_one_of(candidates, lambda: exam.converse(question))
    return _result(
        answer, switches, f"{_LONG:,} characters are taken", "Claude Code's own tools have such descriptions."
    )


def _result(answer: Answer, switches: Mapping[str, Any], taken: str, remedy: str) -> Result:
    if answer.ok:
        return ok(with_switches(switches, taken))
    return warning(answer.error, remedy_of(answer) if answer.meaning in BUSY else remedy)
