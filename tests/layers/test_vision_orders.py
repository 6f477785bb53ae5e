"""The layer for images at every place among the others: the same words for the model, the same answer."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, permutations
from typing import Any

import pytest
from starlette.types import ASGIApp

from ccproxy_middleware import (
    AuthMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    ModelMappingMiddleware,
    VisionMiddleware,
)
from layers.test_orders import KEY, Provider
from support.asgi import Answer, call, http_scope
from support.streams.grammar import check_stream

pytestmark = pytest.mark.anyio

CANONICAL = ("auth", "headers", "models", "vision", "conversion")
ORDERS = list(permutations(CANONICAL))
SUBSETS = [subset for size in range(6) for subset in combinations(CANONICAL, size)]
LAYERS: Mapping[str, Callable[[ASGIApp], ASGIApp]] = {
    "auth": lambda app: AuthMiddleware(app, api_keys=[KEY]),
    "headers": lambda app: CustomHeadersMiddleware(app, headers={"X-Team": "a"}),
    "models": lambda app: ModelMappingMiddleware(app, big="B", small="S"),
    "vision": lambda app: VisionMiddleware(app, model="eyes", options={"vision": False}),
    "conversion": FormatConversionMiddleware,
}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cmVk"}}
REQUEST: dict[str, Any] = {
    "model": "claude-opus-4-8", "max_tokens": 100,
    "messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "What is this?"}]}],
}  # fmt: skip


class SeeingProvider(Provider):
    """Its model ``eyes`` says what it sees."""

    def openai(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = super().openai(request)
        if request["model"] == "eyes":
            answer["choices"][0]["message"]["content"] = "A red square."
        return answer

    def anthropic(self, request: Mapping[str, Any] = {}) -> dict[str, Any]:
        answer = super().anthropic(request)
        if request.get("model") == "eyes":
            answer |= {"content": [{"type": "text", "text": "A red square."}], "stop_reason": "end_turn"}
        return answer


async def ask(names: Iterable[str], stream: bool) -> tuple[Answer, list[dict[str, Any]]]:
    """The client's answer, and the bodies that came to the models."""
    provider = SeeingProvider()
    app: ASGIApp = provider
    for name in reversed(tuple(names)):
        app = LAYERS[name](app)
    scope = http_scope("POST", "/v1/messages", {"x-api-key": KEY})
    if "auth" not in names:
        scope["headers"] = []
    answer = await call(app, scope, {**REQUEST, "stream": stream})
    return answer, [request["body"] for request in provider.requests]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_every_order_says_what_is_on_the_image(order: tuple[str, ...], stream: bool) -> None:
    answer, (asked, request) = await ask(order, stream)
    assert answer.status == 200
    assert (asked["model"], request["model"]) == ("eyes", "B")
    assert "image_url" in json.dumps(asked)
    assert request["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "[image 1: A red square.]"},
                {"type": "text", "text": "What is this?"},
            ],
        }
    ]
    if stream:
        check_stream(answer.body)
    else:
        assert json.loads(answer.body)["model"] == REQUEST["model"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("subset", SUBSETS, ids=lambda names: "-".join(names) or "none")
async def test_every_subset_answers(subset: tuple[str, ...], stream: bool) -> None:
    answer, requests = await ask(subset, stream)
    assert answer.status == 200
    assert ("[image 1: A red square.]" in json.dumps(requests[-1])) == ("vision" in subset)
    if stream:
        check_stream(answer.body)
