"""The models that a client may request, in Anthropic's format.

Claude Code lists only ids that begin with ``claude`` or ``anthropic``. The tiers are therefore listed under such
aliases, with the provider's real model name as their display name.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from ...models import tier_of
from ...toolkit.errors import ApiError, invalid_request
from ..providers import Profile, profile_for_model

ModelInfo = dict[str, Any]

_EPOCH = "1970-01-01T00:00:00Z"

# Context window and longest answer in tokens, by the beginning of the name; vendors' model pages, November 2026.
_LIMITS: tuple[tuple[str, int, int | None], ...] = (
    (r"gpt-4o-mini|gpt-4o|gpt-5-chat", 128_000, 16_384),
    (r"gpt-4\.1", 1_047_576, 32_768),
    (r"gpt-4-turbo", 128_000, 4_096),
    (r"gpt-5\.4(-pro|-\d|$)", 1_050_000, 128_000),
    (r"gpt-5", 400_000, 128_000),
    (r"gpt-oss", 131_072, 131_072),
    (r"o3|o4-mini|o1", 200_000, 100_000),
    (r"deepseek-v4", 1_048_576, 384_000),
    (r"deepseek-(chat|reasoner)", 128_000, 64_000),
    (r"gemini-(2\.5|3)", 1_048_576, 65_536),
    (r"grok-4(-1)?-fast", 2_000_000, None),
    (r"grok-(4(-0709|-latest)?$|code-fast)", 256_000, None),
    (r"codestral", 256_000, None),
)

# The fields in which a provider's list gives a model's context window and its longest answer: vLLM; OpenRouter,
# Together and Fireworks; Groq; Mistral; llama.cpp, which may be configured to serve less than the model supports.
_WINDOW_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
_META_FIELDS = ("n_ctx", "n_ctx_train")
_OUTPUT_FIELD = "max_completion_tokens"


def model_info(id_: str, model: str, profile: Profile, told: Mapping[str, Any] = {}) -> ModelInfo:
    """One entry: the id that clients send, and what is known about the model behind it.

    ``told`` is the provider's own entry. The profile's ``context`` for the model takes precedence over it, and the
    profile's ``max_output`` caps ``max_tokens``.
    """
    window, output = _limits(model, told)
    switches = profile_for_model(profile, model)
    window = switches.context or window
    cap = switches.max_output
    return {
        "type": "model",
        "id": id_,
        "display_name": model,
        "created_at": _timestamp(told.get("created")),
        "lifecycle": "active",
        "max_input_tokens": window,
        "max_tokens": min((limit for limit in (output, cap) if limit is not None), default=None),
        "capabilities": None,
        "line": None,
        "deprecated_at": None,
        "retires_at": None,
    }


def with_told_limits(alias: ModelInfo, told: ModelInfo | None) -> ModelInfo:
    """An alias with the limits that the provider reports for the model behind it, which replace those known by name."""
    if told is None:
        return alias
    return {**alias, **{name: told[name] or alias[name] for name in ("max_input_tokens", "max_tokens")}}


def models_from_openai(payload: Any, profile: Profile) -> list[ModelInfo]:
    """The entries of an OpenAI ``GET /models`` answer, newest first. Raises a 502 if it is not such an answer."""
    data = payload.get("data") if isinstance(payload, Mapping) else None
    if not isinstance(data, list):
        raise ApiError(502, "api_error", "the provider's list of models is not one")
    entries = [item for item in data if isinstance(item, Mapping) and isinstance(item.get("id"), str)]
    entries.sort(key=lambda item: _created(item.get("created")), reverse=True)
    return [model_info(item["id"], str(item.get("display_name") or item["id"]), profile, item) for item in entries]


def models_page(models: Sequence[ModelInfo], query: bytes) -> dict[str, Any]:
    """One page of the list, selected by ``limit`` (1 to 1000, default 20), ``before_id`` and ``after_id``."""
    params = {name: values[-1] for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items()}
    limit = _limit(params.get("limit", "20"))
    before, after = params.get("before_id"), params.get("after_id")
    if before is not None and after is not None:
        raise invalid_request("before_id, after_id: only one of them can be given")
    lifecycle = params.get("lifecycle", "active")
    listed = [model for model in models if lifecycle in ("active", "all", model["lifecycle"])]
    if before is not None:
        end = _position(listed, before, "before_id")
        chosen = listed[max(0, end - limit) : end]
        more = end > limit
    else:
        start = 0 if after is None else _position(listed, after, "after_id") + 1
        chosen = listed[start : start + limit]
        more = len(listed) > start + limit
    return {
        "data": chosen,
        "has_more": more,
        "first_id": chosen[0]["id"] if chosen else None,
        "last_id": chosen[-1]["id"] if chosen else None,
    }


def find_model(models: Sequence[ModelInfo], id_: str) -> ModelInfo | None:
    """The entry for an id, for the tier that a Claude model name belongs to, or for the model behind an alias."""
    for model in models:
        if model["id"] == id_:
            return model
    tier = tier_of(id_)
    for model in models:
        if model["display_name"] == id_ or (tier is not None and tier_of(model["id"]) == tier):
            return {**model, "id": id_}
    return None


def _limits(model: str, told: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Context window and longest answer: what the provider reports, else what is known about the model."""
    known: tuple[int | None, int | None] = (None, None)
    for pattern, *limits in _LIMITS:
        if re.match(pattern, model.rpartition("/")[2]):
            known = (limits[0], limits[1])
            break
    window = _first_count(told, *_WINDOW_FIELDS) or _first_count(told.get("meta"), *_META_FIELDS)
    output = _first_count(told, _OUTPUT_FIELD) or _first_count(told.get("top_provider"), _OUTPUT_FIELD)
    return window or known[0], output or known[1]


def _first_count(entry: Any, *names: str) -> int | None:
    if not isinstance(entry, Mapping):
        return None
    values = [entry.get(name) for name in names]
    return next((value for value in values if type(value) is int and value > 0), None)


def _created(value: Any) -> float:
    return value if isinstance(value, (int, float)) and 0 <= value < 1e11 else 0


def _timestamp(created: Any) -> str:
    seconds = _created(created)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else _EPOCH


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 1000:
        raise invalid_request("limit: Input should be a whole number from 1 to 1000")
    return int(text)


def _position(models: Sequence[ModelInfo], id_: str, name: str) -> int:
    for position, model in enumerate(models):
        if model["id"] == id_:
            return position
    raise invalid_request(f"{name}: '{id_}' is not the id of a model")
