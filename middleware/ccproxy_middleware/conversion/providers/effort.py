"""How hard to think: ``thinking`` and ``output_config.effort`` as each provider's reasoning parameters."""

from dataclasses import dataclass, replace
from typing import Any

from ...toolkit.errors import invalid_request
from ...toolkit.field_checks import expect, optional, required
from .profiles import Profile
from .switch_values import EFFORTS

_LEAST_BUDGET = 1024  # tokens of thinking


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the client asked for.

    enabled: True, False, or None where it said nothing.
    effort: a word of EFFORTS. budget: tokens, from the older form.
    """

    enabled: bool | None = None
    effort: str | None = None
    budget: int | None = None


_ROOM = 8192  # tokens, of which a model that thinks in spite of all needs most

# Servers that hand any switch on to the model's own template, which ignores one that it doesn't know.
# docs.vllm.ai, "Reasoning Outputs"; github.com/ggml-org/llama.cpp, tools/server/README.md
_WITH_TEMPLATES = ("llama.cpp", "vllm")


def for_safety_check(profile: Profile) -> Profile:
    """The profile for a question that is to be answered with one short tag and without thinking.

    Thinking is off, or the least that the model knows. Whether it obeys is not known before: it gets room to think and
    answer all the same, its thoughts are taken out of the text, and a stop sequence is looked for in the answer alone,
    where several providers would end the thoughts that mention it.
    """
    effort_off = profile.effort_off
    if effort_off == "omit" and profile.efforts:
        effort_off = profile.efforts[0]
    style = profile.reasoning_style
    if style == "openai" and not profile.efforts and profile.name in _WITH_TEMPLATES:
        style = "chat_template"
    return replace(
        profile,
        effort_off=effort_off,
        reasoning_style=style,
        min_output=max(min(_ROOM, profile.max_output or _ROOM), profile.min_output or 0),
        stop_limit=0,
        think_tags="auto" if profile.think_tags == "off" else profile.think_tags,
        emit_thinking="off",
    )


def read_reasoning(thinking: Any, effort: str | None, profile: Profile) -> Reasoning:
    """``disabled`` beats an effort, an effort beats a budget, a budget beats the provider's own default."""
    if thinking is None:
        return Reasoning(effort=effort)
    expect(thinking, dict, "thinking")
    match required(thinking, "type", str, "thinking"):
        case "disabled":
            return Reasoning(enabled=False)
        case "enabled":
            budget = optional(thinking, "budget_tokens", int, "thinking")
            if effort is None and budget is not None:
                effort = "low" if budget <= 4096 else "medium" if budget <= 16384 else "high"
            return Reasoning(True, effort, budget)
        case "adaptive":
            default = profile.adaptive_effort
            return Reasoning(True, effort or (default if default != "omit" else None))
        case "between_tools":
            return Reasoning(True, effort or "low")
        case other:
            raise invalid_request(
                f"thinking.type: Input should be 'enabled', 'disabled', 'adaptive' or 'between_tools', not '{other}'"
            )


def reasoning_params(asked: Reasoning, explicit_effort: bool, body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """The parameters for ``body``, which already holds its tools and their choice. Never two forms at once."""
    if body.get("tools"):
        if profile.tools_with_effort == "none":  # gpt-5.4 and later refuse tools together with any other effort
            return {"reasoning_effort": "none"}
        if profile.tools_with_effort == "drop":
            asked = Reasoning(asked.enabled)
    forced = body.get("tool_choice") not in (None, "auto", "none")
    if forced and profile.reasoning_style in ("deepseek", "thinking_object", "enable_thinking"):
        asked = Reasoning(enabled=False)  # these refuse a forced choice while they think
    effort = effort_word(asked, profile)
    match profile.reasoning_style:
        case "openai":
            return _effort(effort)
        case "groq":
            # A model whose only effort is "none" thinks unless it is told not to, and would write that into the text.
            return {**_effort(effort), "reasoning_format": "parsed"} if effort or profile.efforts == ("none",) else {}
        case "openrouter":
            return _openrouter(asked, explicit_effort, effort, _budget(asked, body, profile))
        case "deepseek":
            return _thinking_object(asked) | (_effort(effort) if asked.enabled is not False else {})
        case "thinking_object":
            return _thinking_object(asked)
        case "enable_thinking":
            switch = {} if asked.enabled is None else {"enable_thinking": asked.enabled}
            return switch | (_effort(effort) if asked.enabled is not False else {})
        case "together":
            return {} if asked.enabled is None else {"reasoning": {"enabled": asked.enabled}}
        case "chat_template":
            return _chat_template(asked, str(body.get("model")))
        case "gemini":
            return _gemini(asked, effort, str(body.get("model")), _budget(asked, body, profile))
        case "none":
            return {}


def effort_word(asked: Reasoning, profile: Profile) -> str | None:
    """The effort that the model takes for what was asked for, if it takes one."""
    return _off(profile) if asked.enabled is False else _clamp(asked.effort, profile)


def _budget(asked: Reasoning, body: dict[str, Any], profile: Profile) -> int | None:
    """The tokens to think with, so that there is room for an answer: ``max_tokens`` may have been lowered here.

    Claude and OpenRouter refuse a budget that is not under ``max_tokens``, or under 1,024 tokens. None: no room.
    """
    limit = body.get(profile.max_tokens_field)
    if asked.budget is None or limit is None or asked.budget < limit:
        return asked.budget
    budget = max(limit // 2, _LEAST_BUDGET)
    return budget if budget < limit else None


def _clamp(effort: str | None, profile: Profile) -> str | None:
    """The same word if the model knows it, else the nearest weaker one that it knows."""
    if effort not in EFFORTS:
        return None
    known = [word for word in profile.efforts if word != "none" and EFFORTS.index(word) <= EFFORTS.index(effort)]
    return known[-1] if known else None


def _off(profile: Profile) -> str | None:
    return profile.effort_off if profile.efforts and profile.effort_off != "omit" else None


def _effort(effort: str | None) -> dict[str, Any]:
    return {"reasoning_effort": effort} if effort else {}


def _openrouter(asked: Reasoning, explicit_effort: bool, effort: str | None, budget: int | None) -> dict[str, Any]:
    if asked.enabled is False:
        # "none" is not one that has to be asked for by name; some models' thinking can't be switched off.
        return {"reasoning": {"enabled": False} if effort in (None, "none") else {"effort": effort}}
    if asked.budget is not None and not explicit_effort:
        return {"reasoning": {"max_tokens": budget}} if budget is not None else {}
    return {"reasoning": {"effort": effort}} if effort else {}


def _thinking_object(asked: Reasoning) -> dict[str, Any]:
    if asked.enabled is None:
        return {}
    return {"thinking": {"type": "enabled" if asked.enabled else "disabled"}}


def _chat_template(asked: Reasoning, model: str) -> dict[str, Any]:
    """Qwen's template calls the switch ``enable_thinking``, DeepSeek's and Granite's ``thinking``."""
    if asked.enabled is None:
        return {}
    other = any(family in model.lower() for family in ("deepseek", "granite"))
    return {"chat_template_kwargs": {"thinking" if other else "enable_thinking": asked.enabled}}


def _gemini(asked: Reasoning, effort: str | None, model: str, budget: int | None) -> dict[str, Any]:
    """Gemini's own form, which also returns the thoughts: a budget up to 2.5, a level from 3 on."""
    if asked.enabled is None and asked.effort is None:
        return {}
    config: dict[str, Any] = {"include_thoughts": asked.enabled is not False}
    if "gemini-2" in model:
        if asked.enabled is False:
            config["thinking_budget"] = 0
        elif budget is not None:
            config["thinking_budget"] = budget
    elif effort:
        config["thinking_level"] = effort
    return {"extra_body": {"google": {"thinking_config": config}}}
