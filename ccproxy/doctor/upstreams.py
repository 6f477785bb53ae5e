"""What is examined at each upstream: the settings as if it were the only one, and the checks that apply to it."""

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from ccproxy.settings import NamedModel, Settings, named_models
from ccproxy_middleware.models import DEFAULT_UPSTREAM

from . import anthropic, connection
from .checks import CHECKS
from .examination import Check, Examination, Result, ok, problem, say

_NO_MODEL = "none"


def examined(settings: Settings) -> list[str]:
    """The upstreams to examine: the default one if it has a key, and all others."""
    return [*((DEFAULT_UPSTREAM,) if settings.has_default else ()), *settings.upstreams]


def as_only(settings: Settings, name: str) -> Settings:
    """The settings as if this upstream were the default one and its models served all tiers.

    A tier whose model is at another upstream gets the first model that is named of this one.
    """
    upstream = settings.upstream(name)
    named = models_of(settings, name)
    first = named[0].model if named else _NO_MODEL
    by_place = {place: model.model for model in reversed(named) for place in model.places}
    options = dict(upstream.provider_options)
    if upstream.api in ("chat", "responses"):
        options["api"] = upstream.api
    tiers = {tier: by_place.get(tier.upper(), first) for tier in ("big_model", "middle_model", "small_model")}
    update: dict[str, Any] = {
        **tiers,
        "openai_base_url": upstream.base_url,
        "openai_api_key": SecretStr(",".join(upstream.key_texts)),
        "azure_api_version": upstream.azure_api_version,
        "provider": upstream.provider,
        "provider_options": options,
        "custom_headers": dict(upstream.headers),
    }
    return settings.model_copy(update=update)


def checks_for(settings: Settings, name: str, *, last: bool) -> Sequence[Check]:
    """The checks for an upstream, in order. The check of boost's planner runs at the ``last`` upstream."""
    upstream = settings.upstream(name)
    named = models_of(settings, name)
    if upstream.is_anthropic:
        checks = list(anthropic.checks(upstream, named))
    elif not named:
        checks = [check for check in CHECKS if check.run in _WITHOUT_MODEL]
    else:
        checks = [check for check in CHECKS if check.id != "planner"]
        if len(upstream.api_keys) > 1:
            after = [check.id for check in checks].index("key") + 1
            checks.insert(after, Check("keys", "Pool of keys", all_keys, ("key",)))
    return [*checks, *(check for check in CHECKS if check.id == "planner" and last)]


_WITHOUT_MODEL = (connection.reachable, connection.tls, connection.base_url, connection.provider)


def models_of(settings: Settings, name: str) -> list[NamedModel]:
    """The models of an upstream that the settings name, with what names them."""
    return [model for model in named_models(settings) if model.upstream == name]


async def all_keys(exam: Examination) -> Result:
    """Ask with each key of the pool except the first, which all other checks use."""
    count = len(exam.settings.upstream(DEFAULT_UPSTREAM).api_keys)
    refused: dict[int, str] = {}
    for number in range(1, count):
        with exam.probe.with_key(number):
            answer = await exam.ask(lambda profile: say("Reply with the word OK."))
        if answer.meaning in (401, 402, 403):
            refused[number + 1] = answer.error
    if not refused:
        return ok(f"none of {count} is refused")
    which = ", ".join(map(str, refused))
    word = "key" if len(refused) == 1 else "keys"
    return problem(f"{word} {which} of {count}: {next(iter(refused.values()))}", "Take it out of OPENAI_API_KEY.")
