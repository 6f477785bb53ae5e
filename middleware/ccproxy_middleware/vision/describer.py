"""Asking a vision model to describe a picture: once for each picture, and the same text is used from then on."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Receive, Scope

from ..toolkit.answers import ask_inside, question_scope
from ..toolkit.asgi import BufferedBody
from ..toolkit.errors import ApiError, request_id
from ..toolkit.json import loads
from ..toolkit.sight import Sight
from ..toolkit.store import Store
from .pictures import Api, Picture

logger = logging.getLogger("ccproxy.vision")

SYSTEM = (
    "You are the eyes of a programming agent that cannot see images. Describe the image so that the agent can work as "
    "if it had seen it. Quote all text on it word for word, code and error messages above all, with their line breaks. "
    "Then tell the layout: what stands where, which elements there are (windows, dialogs, buttons, fields, tables, "
    "charts with their values), their state and colors as far as they matter, and anything that looks wrong or broken. "
    "Where something cannot be read, say so and do not guess. Give no advice and no introduction."
)
QUESTION = "Describe this image."

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long a description is kept after it was last used."""

_AT_ONCE = 8  # concurrent questions of one request
_MAX_TOKENS = 4096
_MAX_CHARACTERS = 32_000  # of a description


@dataclass(slots=True)
class Described:
    """Descriptions by the digests of their pictures, and the usage of the model for the new ones."""

    texts: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    seconds: float = 0.0
    usage: dict[str, int] = field(default_factory=dict)


class Describer:
    """Asks ``app`` for the first of ``models``; descriptions are kept in ``store``.

    ``timeout``: seconds for all pictures of a request. One without a description by then is asked about again with the
    next request that has it.
    """

    def __init__(self, app: ASGIApp, *, models: Sequence[str], store: Store, timeout: float) -> None:
        self._app = app
        self._models = tuple(models)
        self._store = store
        self._timeout = timeout

    def known(self, pictures: Iterable[Picture]) -> Described:
        """The descriptions that are already stored."""
        described = Described()
        for picture in pictures:
            if (text := self._store.get(self._key(picture))) is not None:
                described.texts[picture.digest] = text.decode()
        return described

    async def describe(self, pictures: Iterable[Picture], scope: Scope, receive: Receive, api: Api) -> Described:
        """The descriptions of all pictures that have one, requested in the format of ``api``.

        ``scope`` is that of the client's request; ``receive`` reports when the client disconnects.
        """
        each = {picture.digest: picture for picture in pictures}
        described = self.known(each.values())
        for digest, text in described.texts.items():  # their time to live starts again
            self._store.put(self._key(each[digest]), text.encode(), KEPT_SECONDS)
        new = [picture for digest, picture in each.items() if digest not in described.texts]
        if not new:
            return described
        started = perf_counter()
        deadline = asyncio.get_running_loop().time() + self._timeout
        free = asyncio.Semaphore(_AT_ONCE)
        id_ = request_id(scope)

        async def one(picture: Picture) -> None:
            try:
                async with asyncio.timeout_at(deadline), free:
                    described.asked += 1
                    text = await self._ask(picture, scope, receive, api, described.usage)
            except TimeoutError:
                logger.warning("an image was not described within %g s (%s)", self._timeout, id_)
            except ApiError as error:
                logger.warning("an image was not described: %s (%s)", error.message, id_)
            except Exception:
                logger.exception("an image was not described (%s)", id_)
            else:
                described.texts[picture.digest] = text
                self._store.put(self._key(picture), text.encode(), KEPT_SECONDS)

        await asyncio.gather(*map(one, new))
        described.seconds = perf_counter() - started
        return described

    def _key(self, picture: Picture) -> str:
        return f"image:{self._models[0]}:{picture.digest}"

    async def _ask(self, picture: Picture, scope: Scope, receive: Receive, api: Api, usage: dict[str, int]) -> str:
        """The description. Raises ApiError if there is none."""
        sight = Sight()
        inner = {**question_scope(scope, self._models), "ccproxy.sight": sight}
        body = BufferedBody(receive, data=_question(picture, self._models[0], api))
        answer = await ask_inside(self._app, inner, body)
        if sight.refused:
            raise ApiError(502, "api_error", f"the model {self._models[0]} takes no images: set another VISION_MODEL")
        if answer is None:
            raise ApiError(502, "api_error", "there was no answer")
        if not 200 <= answer.status < 300:
            raise answer.error or ApiError(answer.status, "api_error", f"the answer was HTTP {answer.status}")
        try:
            told = loads(answer.body)
        except ValueError:
            raise ApiError(502, "api_error", "the answer is not JSON") from None
        text = _text(told, api).strip()
        if not text:
            raise ApiError(502, "api_error", "the answer has no text")
        for kind, count in _usage(told).items():
            usage[kind] = usage.get(kind, 0) + count
        return text[:_MAX_CHARACTERS]


def _question(picture: Picture, model: str, api: Api) -> dict[str, Any]:
    """The request. In OpenAI's formats it sets no token limit: providers differ in its name, and some models reason."""
    source = picture.source
    if api == "anthropic":
        block = {"type": "image", "source": dict(source)}
        return {
            "model": model,
            "max_tokens": _MAX_TOKENS,
            "system": SYSTEM,
            "messages": [{"role": "user", "content": [block, {"type": "text", "text": QUESTION}]}],
            "thinking": {"type": "disabled"},
        }
    is_url = source["type"] == "url"
    url = source["url"] if is_url else f"data:{source.get('media_type')};base64,{source['data']}"
    if api == "chat":
        parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": QUESTION}]
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": parts}]
        return {"model": model, "messages": messages}
    content = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": QUESTION}]
    items = [{"type": "message", "role": "user", "content": content}]
    return {"model": model, "store": False, "instructions": SYSTEM, "input": items}


def _text(answer: Any, api: Api) -> str:
    """The text of a whole answer; empty if the model refused."""
    if not isinstance(answer, dict) or answer.get("stop_reason") == "refusal":
        return ""
    if api == "anthropic":
        return _joined(answer.get("content"), "text")
    if api == "responses":
        return "".join(_joined(item.get("content"), "output_text") for item in _dicts(answer.get("output")))
    messages = [choice.get("message") for choice in _dicts(answer.get("choices"))]
    content = messages[0].get("content") if messages and isinstance(messages[0], dict) else None
    return content if isinstance(content, str) else _joined(content, "text")


def _joined(parts: Any, kind: str) -> str:
    texts = [part.get("text") for part in _dicts(parts) if part.get("type") == kind]
    return "".join(text for text in texts if isinstance(text, str))


def _dicts(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _usage(answer: Any) -> dict[str, int]:
    """Tokens by Anthropic's names."""
    told = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(told, dict):
        return {}
    found = {}
    for name, other in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        count = told.get(name, told.get(other))
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
            found[name] = count
    return found
