"""The known limits of the proxy's models: context window and output."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ccproxy_middleware.conversion.anthropic import ModelInfo, model_info
from ccproxy_middleware.conversion.providers import resolve_profile
from ccproxy_middleware.models import DEFAULT_UPSTREAM, canonical_model, split_upstream

from .layers import set_contexts
from .settings import Settings, Upstream, tier_models

_SHORT_ANSWERS = 8192  # a MAX_TOKENS_LIMIT below this truncates long edits of Claude Code

_LONGEST_ANSWER = 64_000  # what Claude Code itself requests from most models
_CONVERSATION = ("BIG_MODEL", "MIDDLE_MODEL")  # the models that a conversation uses


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """The known limits; None is unknown.

    windows: the context window of each tier's model in tokens. window: tokens that a conversation may have, the minimum
    of BIG_MODEL and MIDDLE_MODEL. output: tokens that each model can write. answer: the ``max_tokens`` to request,
    which leaves most of the window to the prompt.
    """

    windows: Mapping[str, int | None]
    output: int | None
    answer: int | None

    @property
    def window(self) -> int | None:
        return least(self.windows[tier] for tier in _CONVERSATION)


def model_limits(settings: Settings, told: Mapping[str, Mapping[str, Any]] = {}) -> ModelLimits:
    """From the settings, then the provider's own entries, by id, then the table of known models."""
    set_ = set_contexts(settings)
    infos = {tier: _info(settings, name, told) for tier, name in tier_models(settings).items()}
    windows = {tier: set_[tier] or info["max_input_tokens"] for tier, info in infos.items()}
    answers = [_answer(info["max_tokens"], windows[tier]) for tier, info in infos.items()]
    return ModelLimits(windows, least(info["max_tokens"] for info in infos.values()), least(answers))


def window(settings: Settings, upstream: str, model: str) -> int | None:
    """The context window of an upstream's model in tokens, as far as the settings or the table contain it."""
    contexts = set_contexts(settings)
    for tier, name in tier_models(settings).items():
        if contexts[tier] and _parted(settings, name) == (upstream, model):
            return contexts[tier]
    size: int | None = _told(settings.upstream(upstream), model, {})["max_input_tokens"]
    return size


def known_contexts(settings: Settings) -> dict[str, int | None]:
    """The context sizes by tier: the configured ones, and those known for models of other upstreams than the default
    one.
    """
    contexts = set_contexts(settings)
    for tier, name in tier_models(settings).items():
        upstream, model = _parted(settings, name)
        if contexts[tier] is None and upstream != DEFAULT_UPSTREAM:
            contexts[tier] = window(settings, upstream, model)
    return contexts


def _info(settings: Settings, name: str, told: Mapping[str, Mapping[str, Any]]) -> ModelInfo:
    upstream, model = _parted(settings, name)
    return _told(settings.upstream(upstream), model, told.get(canonical_model(name, settings.upstreams), {}))


def _told(upstream: Upstream, model: str, told: Mapping[str, Any]) -> ModelInfo:
    profile = resolve_profile(upstream.provider, upstream.provider_options)
    return model_info(model, model, profile, told)


def _parted(settings: Settings, name: str) -> tuple[str, str]:
    upstream, model = split_upstream(name, settings.upstreams)
    return upstream or DEFAULT_UPSTREAM, model


def with_limits(settings: Settings, limits: ModelLimits) -> Settings:
    """The settings, completed with the known limits of the models where the user has set nothing."""
    update = {
        "big_context": limits.windows["BIG_MODEL"],
        "middle_context": limits.windows["MIDDLE_MODEL"],
        "small_context": limits.windows["SMALL_MODEL"],
    }
    if limits.answer is not None and "max_tokens_limit" not in settings.model_fields_set:
        update["max_tokens_limit"] = max(limits.answer, settings.min_tokens_limit or 1)
    return settings.model_copy(update=update)


def short_answers(settings: Settings) -> str | None:
    """The warning for a MAX_TOKENS_LIMIT that truncates edits, with a better value if it is known."""
    limit = settings.max_tokens_limit
    if limit >= _SHORT_ANSWERS:
        return None
    text = f"MAX_TOKENS_LIMIT is {limit:,}: longer answers and edits of Claude Code are cut off."
    answer = model_limits(settings).answer
    return f"{text} Your models can write {answer:,}." if answer is not None and answer > limit else text


def least(values: Iterable[int | None]) -> int | None:
    """The minimum of the known values."""
    return min((value for value in values if value), default=None)


def _answer(output: int | None, window: int | None) -> int | None:
    """The ``max_tokens`` for a model. If an answer may fill the whole window, it leaves room for the prompt."""
    if output is None:
        return None
    return min(output, _LONGEST_ANSWER, max(window // 4, 4096) if window else output)
