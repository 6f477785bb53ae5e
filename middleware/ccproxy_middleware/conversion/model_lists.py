"""The models that a client may ask for: the aliases of an outer layer, and the provider's own."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.types import Receive, Scope

from ..toolkit.asgi import BufferedBody
from ..toolkit.errors import ApiError, StreamAborted
from .anthropic import ModelInfo, find_model, model_info, models_from_openai, models_page
from .providers import Profile

logger = logging.getLogger("ccproxy.conversion")

_MODELS_LIMIT = 2.0  # seconds for the provider's own models; Claude Code waits three for the whole list


class ModelLists:
    """Answers requests for lists of models. ``ask`` gets the JSON of a path of the inner app."""

    def __init__(self, profile: Profile, ask: Callable[[Scope, BufferedBody, str], Awaitable[Any]]) -> None:
        self._profile = profile
        self._ask = ask

    async def answer(self, scope: Scope, receive: Receive, id_: str | None) -> dict[str, Any]:
        """The answer to ``GET /v1/models``, or to one for the model ``id_``. Raises ApiError."""
        aliases = scope.get("ccproxy.models")
        if aliases:
            models = [model_info(alias.id, alias.model, self._profile) for alias in aliases]
        else:  # an inner ModelMappingMiddleware lists its aliases
            models = await self._listed({**scope, "ccproxy.lists_models": True}, receive)
        if self._profile.list_models == "upstream":
            taken = {model["id"] for model in models}
            models += [model for model in await self._upstream_models(scope, receive) if model["id"] not in taken]
        if id_ is None:
            return models_page(models, scope["query_string"])
        return await self._model(scope, receive, models, id_)

    async def _model(self, scope: Scope, receive: Receive, models: list[ModelInfo], id_: str) -> ModelInfo:
        """The entry of one model: any that a request may name."""
        if (known := find_model(models, id_)) is not None:
            return known
        try:
            with anyio.fail_after(_MODELS_LIMIT):
                models = await self._listed(scope, receive)
        except (ApiError, StreamAborted, TimeoutError):  # it has no list, and takes any name
            return model_info(id_, id_, self._profile)
        if (known := find_model(models, id_)) is None:
            raise ApiError(404, "not_found_error", f"model: {id_}")
        return known

    async def _upstream_models(self, scope: Scope, receive: Receive) -> list[ModelInfo]:
        """The provider's own models; none where it fails, since the aliases are there all the same."""
        try:
            with anyio.fail_after(_MODELS_LIMIT):
                return await self._listed(scope, receive)
        except (ApiError, TimeoutError) as error:
            logger.warning("the provider's own models are not listed: %s", str(error) or type(error).__name__)
            return []

    async def _listed(self, scope: Scope, receive: Receive) -> list[ModelInfo]:
        answer = await self._ask(scope, BufferedBody(receive, b""), "/v1/models")
        return models_from_openai(answer, self._profile)
