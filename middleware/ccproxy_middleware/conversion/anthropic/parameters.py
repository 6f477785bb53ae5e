"""Validate the parameters of a Messages request that every upstream API needs."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal, NamedTuple

from ...toolkit.errors import ApiError, invalid_request
from ...toolkit.field_checks import expect, in_range, optional, required
from ...toolkit.json import dumps
from ..providers import Profile
from .turns import BILLING_HEADER, is_blank, read_blocks, without_billing_header

_NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
_USER_ID_MAX = 128
_MODEL_MAX = 1000  # characters of a model name
_STOPS_MAX = 8191  # sequences, the limit of Anthropic's API
_STOPS_LENGTH_MAX = 32 * 1024  # characters of the sequences that the proxy looks for itself


def read_model(data: Any) -> str:
    """The model name in a parsed body. Raises a 400 if the body is not an object or has no model."""
    if not isinstance(data, dict):
        raise invalid_request("The request body is not valid JSON: it must be an object")
    name = required(data, "model", str)
    if len(name) > _MODEL_MAX:
        raise invalid_request(f"model: String should have at most {_MODEL_MAX} characters")
    return name


def refuse_unsupported(data: Mapping[str, Any]) -> None:
    """Refuse what can't be left out without changing the meaning of the request."""
    if data.get("mcp_servers"):
        raise invalid_request("mcp_servers: remote MCP servers are not supported by this endpoint")
    container = data.get("container")
    if isinstance(container, dict) and container.get("skills"):
        raise invalid_request("container.skills: skills are not supported by this endpoint")
    for name in ("thread", "compaction"):
        if data.get(name):
            message = f"{name}: not supported by this endpoint"
            if name == "compaction":
                raise invalid_request(message)
            # This code makes the SDK's tool runner continue without a thread.
            details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
            raise ApiError(400, "invalid_request_error", message, details=details)


def read_max_tokens(data: Mapping[str, Any], profile: Profile) -> tuple[int, int | None]:
    """The output tokens to request, and the number that the client requested if the profile allows fewer."""
    asked = required(data, "max_tokens", int)
    in_range(asked, 0, float("inf"), "max_tokens")
    limit = asked if profile.max_output is None else min(asked, profile.max_output)
    return max(limit, profile.min_output or 0), asked if limit < asked else None


def system_blocks(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The top-level ``system`` as text blocks.

    Claude Code adds a billing header that changes from session to session. It would defeat every prefix cache behind
    the proxy, so it is removed.
    """
    system = data.get("system")
    if system is None:
        return []
    blocks = read_blocks(system, "system")
    for block in blocks:
        if block.type != "text":
            raise invalid_request(f"{block}: unsupported block type '{block.type}'")
    return without_billing([block.data for block in blocks])


def without_billing(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Text blocks without the lines that matter only for Anthropic's billing."""
    kept: list[dict[str, Any]] = []
    for block in blocks:
        text: str = block["text"]
        if BILLING_HEADER not in text:
            kept.append(block)
        elif not is_blank(text := without_billing_header(text)):
            kept.append({**block, "text": text})
    return kept


def read_format(data: Mapping[str, Any], config: Mapping[str, Any], profile: Profile) -> dict[str, Any] | None:
    """The JSON schema that the answer has to follow, from ``output_config.format`` or the older ``output_format``."""
    path = "output_config.format"
    wanted = optional(config, "format", dict, "output_config")
    if wanted is None:
        path = "output_format"
        wanted = optional(data, "output_format", dict)
    if wanted is None:
        return None
    kind = required(wanted, "type", str, path)
    if kind != "json_schema":
        raise invalid_request(f"{path}.type: Input should be 'json_schema', not '{kind}'")
    schema = required(wanted, "schema", dict, path)
    if profile.structured_output == "refuse":
        # Anthropic's wording, which makes Claude Code continue without it.
        raise invalid_request(f"{path}: Extra inputs are not permitted (structured_output is refuse)")
    return schema


def schema_rule(schema: Mapping[str, Any]) -> str:
    """The instruction for a model that can't be forced to follow a schema."""
    rule = "Answer with one JSON object and nothing else. It must be valid against this JSON Schema:\n"
    return rule + dumps(schema).decode()


def no_prefill() -> ApiError:
    """The refusal of a conversation that ends with an assistant message."""
    return invalid_request(_NO_PREFILL)


class Stops(NamedTuple):
    """Stop sequences: all, those that are sent to the provider, and the rest, which the proxy looks for."""

    all: tuple[str, ...]
    upstream: tuple[str, ...]
    local: tuple[str, ...]


def read_stops(data: Mapping[str, Any], limit: int | None) -> Stops:
    """``stop_sequences``, of which the provider accepts ``limit``; None: any number."""
    stops = optional(data, "stop_sequences", list) or []
    if len(stops) > _STOPS_MAX:
        raise invalid_request(f"stop_sequences: List should have at most {_STOPS_MAX} items, not {len(stops)}")
    for n, stop in enumerate(stops):
        if not expect(stop, str, f"stop_sequences.{n}").strip():
            raise invalid_request(f"stop_sequences.{n}: each stop sequence must contain non-whitespace")
    limit = len(stops) if limit is None else limit
    local = tuple(stops[limit:])
    if sum(map(len, local)) > _STOPS_LENGTH_MAX:
        raise invalid_request(
            f"stop_sequences: those beyond the first {limit} have over {_STOPS_LENGTH_MAX} characters together"
        )
    return Stops(tuple(stops), tuple(stops[:limit]), local)


def set_sampling(body: dict[str, Any], data: Mapping[str, Any], profile: Profile) -> None:
    """Set ``temperature`` and ``top_p``."""
    for name in ("temperature", "top_p"):
        value = optional(data, name, float)
        in_range(value, 0, 1, name)
        if value is not None and profile.sampling == "pass":
            body[name] = data[name]


def read_top_k(data: Mapping[str, Any]) -> int | None:
    """``top_k``, validated."""
    top_k = optional(data, "top_k", int)
    in_range(top_k, 0, float("inf"), "top_k")
    return top_k


def set_identity(body: dict[str, Any], data: Mapping[str, Any], profile: Profile) -> None:
    """Set the user id, which the provider's abuse checks and cache routing use, and the service tier."""
    metadata = optional(data, "metadata", dict) or {}
    user_id = optional(metadata, "user_id", str, "metadata")
    if user_id and (profile.user_field != "none" or profile.prompt_cache_key):
        digest = sha256(user_id.encode()).hexdigest()
        if profile.user_field != "none":
            body[profile.user_field] = user_id if len(user_id) <= _USER_ID_MAX else digest
        if profile.prompt_cache_key:
            body["prompt_cache_key"] = digest
    tier = optional(data, "service_tier", str)
    if tier and profile.service_tier == "pass":
        body["service_tier"] = "default" if tier == "standard_only" else "auto"


def add_extra(body: dict[str, Any], json: dict[str, bytes], profile: Profile) -> None:
    """Merge the profile's ``extra_body`` into the body; fields that change are removed from ``json``."""
    for key, value in profile.extra_body.items():
        old = body.get(key)
        body[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
        json.pop(key, None)


def thinking_emission(thinking: Any, profile: Profile) -> Literal["show", "omit", "off"]:
    """How the model's reasoning is shown to the client."""
    if profile.emit_thinking != "auto":
        return "show" if profile.emit_thinking == "on" else "off"
    if not isinstance(thinking, dict) or thinking.get("type") not in ("enabled", "adaptive", "between_tools"):
        return "off"
    return "omit" if thinking.get("display") == "omitted" else "show"
