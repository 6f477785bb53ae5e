"""How much to think: ``thinking`` and ``output_config.effort`` as each provider's reasoning parameters."""

from dataclasses import dataclass, replace
from typing import Any

from ...toolkit.errors import invalid_request
from ...toolkit.field_checks import expect, optional, required
from .profiles import Profile
from .switch_values import EFFORTS

_LEAST_BUDGET = 1024  # tokens of thinking


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the client requested.

    enabled: True, False, or None if it was not specified.
    effort: one of EFFORTS.
    budget: tokens, from the older form.
    """

    enabled: bool | None = None
    effort: str | None = None
    budget: int | None = None


_ROOM = 8192  # tokens, most of which are needed by a model that thinks nevertheless

# Servers that pass any switch on to the model's own template, which ignores one that it doesn't know.
# docs.vllm.ai, "Reasoning Outputs"; github.com/ggml-org/llama.cpp, tools/server/README.md
_WITH_TEMPLATES = ("llama.cpp", "vllm")


def for_safety_check(profile: Profile) -> Profile:
    """The profile for a question that has to be answered with one short tag and without thinking.

    Thinking is off, or as low as the model allows. Whether the model obeys is not known in advance, so it still gets
    room to think and answer, and its thoughts are removed from the text. A stop sequence is looked for only in the
    answer, because several providers would stop at a thought that mentions it.
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
    """Precedence: ``disabled``, then an effort, then a budget, then the provider's own default."""
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
            # A model whose only effort is "none" thinks unless told not to, and would write its thoughts into the text.
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
    """The effort that the model accepts for the requested one, if it accepts any."""
    return _off(profile) if asked.enabled is False else _clamp(asked.effort, profile)


def _budget(asked: Reasoning, body: dict[str, Any], profile: Profile) -> int | None:
    """The tokens for thinking that leave room for an answer: ``max_tokens`` may have been lowered by the proxy.

    Claude and OpenRouter refuse a budget that is not below ``max_tokens``, or that is below 1,024 tokens. None: no
    room.
    """
    limit = body.get(profile.max_tokens_field)
    if asked.budget is None or limit is None or asked.budget < limit:
        return asked.budget
    budget = max(limit // 2, _LEAST_BUDGET)
    return budget if budget < limit else None


def _clamp(effort: str | None, profile: Profile) -> str | None:
    """The same effort if the model supports it, else the nearest weaker one that it supports."""
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
        # "none" need not be requested by name; the thinking of some models can't be switched off.
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
    """Gemini's own parameters, which also return the thoughts: a budget up to 2.5, a level from 3 on."""
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
