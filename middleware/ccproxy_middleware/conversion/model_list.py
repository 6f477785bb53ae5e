"""``GET /v1/models``: the aliases of the tiers, and the provider's own models."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
from starlette.types import Receive, Scope

from ..toolkit.asgi import BufferedBody, get_header
from ..toolkit.errors import ApiError, StreamAborted
from .anthropic import (
    ModelInfo,
    find_model,
    for_claude_code,
    model_info,
    models_from_openai,
    models_page,
    with_told_limits,
)
from .providers import Profile

logger = logging.getLogger("ccproxy.conversion")

_MODELS_LIMIT = 2.0  # seconds for the provider's own models; Claude Code waits three for the whole list

Ask: TypeAlias = Callable[[Scope, BufferedBody, str], Awaitable[Any]]
"""Asks the inner app for the JSON at a path."""


class ModelList:
    """The models of one request."""

    def __init__(self, profile: Profile, ask: Ask) -> None:
        self._profile = profile
        self._ask = ask

    async def answer(self, scope: Scope, receive: Receive, id_: str | None) -> Any:
        """A page of the list, or the entry of one id."""
        aliases = scope.get("ccproxy.models")
        if id_ is None and scope.get("ccproxy.lists_upstream"):  # a RoutingMiddleware merges several into one list
            listed = self._profile.list_models == "upstream"
            return models_page(await self._upstream_models(scope, receive) if listed else [], scope["query_string"])
        if aliases:
            models = [self._alias(alias) for alias in aliases]
        else:  # an inner ModelMappingMiddleware lists its aliases
            models = await self._listed({**scope, "ccproxy.lists_models": True}, receive)
        others: list[ModelInfo] = []
        if self._profile.list_models == "upstream":
            told = {model["id"]: model for model in await self._upstream_models(scope, receive)}
            known = {alias.id for alias in aliases or () if getattr(alias, "context", None)}
            models = [m if m["id"] in known else with_told_limits(m, told.get(m["display_name"])) for m in models]
            taken = {model["id"] for model in models}
            others = [model for id_, model in told.items() if id_ not in taken]
        if aliases and (get_header(scope["headers"], b"user-agent") or "").startswith("claude-code/"):
            models = for_claude_code(models, others)
        else:
            models += others
        if id_ is None:
            return models_page(models, scope["query_string"])
        return await self._model(scope, receive, models, id_)

    def _alias(self, alias: Any) -> ModelInfo:
        context = getattr(alias, "context", None)
        return model_info(alias.id, alias.model, self._profile, {"context_length": context} if context else {})

    async def _model(self, scope: Scope, receive: Receive, models: list[ModelInfo], id_: str) -> ModelInfo:
        """The entry of one model: any that a request may name."""
        if (known := find_model(models, id_)) is not None:
            return known
        try:
            with anyio.fail_after(_MODELS_LIMIT):
                models = await self._listed(scope, receive)
        except (ApiError, StreamAborted, TimeoutError):  # it has no list, and accepts any name
            return model_info(id_, id_, self._profile)
        if (known := find_model(models, id_)) is None:
            raise ApiError(404, "not_found_error", f"model: {id_}")
        return known

    async def _upstream_models(self, scope: Scope, receive: Receive) -> list[ModelInfo]:
        """The provider's own models; none if the request fails, since the aliases are still available."""
        try:
            with anyio.fail_after(_MODELS_LIMIT):
                return await self._listed(scope, receive)
        except (ApiError, TimeoutError) as error:
            logger.warning("the provider's own models are not listed: %s", str(error) or type(error).__name__)
            return []

    async def _listed(self, scope: Scope, receive: Receive) -> list[ModelInfo]:
        answer = await self._ask(scope, BufferedBody(receive, b""), "/v1/models")
        return models_from_openai(answer, self._profile)
