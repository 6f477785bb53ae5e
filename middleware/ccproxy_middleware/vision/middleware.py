"""The layer: which requests get their pictures described."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission
from ..conversion.providers import LearnedProfiles, Profile, profile_for_model, resolve_profile
from ..toolkit.answers import Leaving
from ..toolkit.asgi import BufferedBody, route_path, with_path, without_headers
from ..toolkit.errors import read_request, request_id
from ..toolkit.record import get_record
from ..toolkit.sight import Sight
from ..toolkit.store import MemoryStore, Store
from .describer import Described, Describer
from .pages import Page, PageReader
from .pictures import Api, Picture, api_of, changed, find_pdfs, find_pictures, pdf_of, read_picture, text_in_place

NOT_DESCRIBED = "[{} omitted: this model can't see it, and it could not be described]"


class VisionMiddleware:
    """Replace images by text where the model accepts no images: by a description that a vision model writes of each.

    model: the vision model. Of several the others are fallbacks, which require an inner RoutingMiddleware or
        ``describer``.
    describer: an app that answers ``POST /v1/messages``, used instead of the inner one.
    provider, options: the profile of the request's models, and switches of it, as for FormatConversionMiddleware. Where
        its switch ``vision`` is off, images are described, and also for a model whose provider has refused images.
    store: where descriptions are kept; a store of its own if None.
    timeout: seconds for all descriptions of a request.

    Raises ValueError for a model without a name, a timeout that is not above 0, and a profile or switch that does not
    exist.

    Reads: ``POST /v1/messages``, ``*/chat/completions`` and ``*/responses`` with images in user turns and tool results;
    and ``/v1/messages/count_tokens``, for which the vision model is not called. Everything else passes untouched.
    Writes: ``[image N: ...]`` in place of the N-th image, with the same text in every turn. A PDF that the converter
    would send as text, and in which a page has no text, is replaced by text, with ``[page N: ...]`` in place of each
    such page. An image that can't be described now is replaced by a note, and is tried again at the next turn.
    ``ccproxy.sight`` in the scope, with which an inner FormatConversionMiddleware reports that images were refused. The
    number of images, the model, its time and tokens in the record. To the inner app or ``describer``, a request for
    each new image, several concurrently; URLs are passed on and never fetched.
    Needs: asyncio.
    Alone: works in front of an OpenAI or an Anthropic app. ``options={"vision": False}`` states that its models accept
    no images.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        model: str | Sequence[str],
        describer: ASGIApp | None = None,
        provider: str = "generic",
        options: Mapping[str, Any] = {},
        store: Store | None = None,
        timeout: float = 30.0,
    ) -> None:
        models = (model,) if isinstance(model, str) else tuple(model)
        if not models or not all(models):
            raise ValueError("the model that sees needs a name")
        if not timeout > 0:
            raise ValueError("timeout must be above 0")
        self.app = app
        self._admission = Admission(app)
        self._pages = PageReader()
        self._profiles = LearnedProfiles(resolve_profile(provider, options))
        self._has_own_app = describer is not None
        self._model = models[0]
        self._describer = Describer(
            describer or app, models=models, store=MemoryStore() if store is None else store, timeout=timeout
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        api = api_of(route_path(scope)) if is_post else None
        if api is None:
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        data = await body.json_object()
        model = None if data is None else data.get("model")
        is_question = isinstance(scope.get("ccproxy.sight"), Sight)  # of a layer like this one
        del data  # the body releases it when it is replayed
        if not isinstance(model, str) or is_question:
            return await self.app(scope, body, send)
        scope = {**scope, "ccproxy.request_id": request_id(scope)}
        if not self._profile(model).vision:
            return await self._described(scope, body, send, api, model)
        sight = Sight()
        await self.app({**scope, "ccproxy.sight": sight}, body, send)
        if sight.refused and not body.disconnected:
            self._profiles.remember(model, {"vision": False})
            await self._described(scope, body, send, api, model)

    def _profile(self, model: str) -> Profile:
        return profile_for_model(self._profiles.get(model, {}), model)

    async def _described(self, scope: Scope, body: BufferedBody, send: Send, api: Api, model: str) -> None:
        """Call the app, with texts in place of the images."""
        pictures = await body.work(lambda: find_pictures(body.data, api))
        scans = await self._scans(body, api, model)
        if not pictures and not scans:
            return await self.app(scope, body, send)
        body.skip()
        pictures += [page.picture for pages in scans.values() for page in pages if page.picture is not None]
        leaving = Leaving(body)
        if route_path(scope).endswith(("/count_tokens", "/input_tokens")):
            described = self._describer.known(pictures)
        else:
            asked = with_path(scope, "/v1/messages") if self._has_own_app else scope
            form: Api = "anthropic" if self._has_own_app else api
            described = await self._describer.describe(pictures, asked, leaving, form)
            if body.disconnected:
                return
            self._note(scope, len(pictures), described)
        del pictures
        inner = await body.work(partial(_replaced, body, leaving, described.texts, scans, api))
        headers = without_headers(scope["headers"], b"content-length", b"transfer-encoding")
        await self.app({**scope, "headers": headers}, inner, send)

    async def _scans(self, body: BufferedBody, api: Api, model: str) -> dict[str, tuple[Page, ...]]:
        """The pages of the PDFs that have a page without text, by the PDFs' base64."""
        if api != "anthropic" or self._profile(model).pdf != "text":
            return {}
        pdfs = await body.work(lambda: find_pdfs(body.data))
        return await self._pages.scans(pdfs)

    def _note(self, scope: Scope, images: int, described: Described) -> None:
        record = get_record(scope)
        if record is None:
            return
        record.images_described = images
        record.vision_model = self._model
        record.vision_requests += described.asked
        record.vision_seconds += described.seconds
        record.vision_usage = described.usage


def _replaced(
    body: BufferedBody, leaving: Leaving, texts: Mapping[str, str], scans: Mapping[str, tuple[Page, ...]], api: Api
) -> BufferedBody:
    """The body with a text in place of each image, and of each PDF that has a page without text."""
    number = 0

    def change(part: Any) -> Any:
        nonlocal number
        picture = read_picture(part, api)
        if picture is not None:
            number += 1
            return text_in_place(part, _words("image", number, picture, texts), api)
        pages = scans.get(pdf_of(part) or "") if scans else None
        if not pages or not any(page.picture is not None and page.picture.digest in texts for page in pages):
            return part
        said = [page.text or _words("page", n, page.picture, texts) for n, page in enumerate(pages, 1)]
        return {**part, "source": {"type": "text", "media_type": "text/plain", "data": "\n\n".join(said)}}

    inner = BufferedBody(leaving, data=changed(body.data, api, change), size=body.size)
    body.let_go()
    return inner


def _words(what: str, number: int, picture: Picture | None, texts: Mapping[str, str]) -> str:
    text = texts.get(picture.digest) if picture is not None else None
    return NOT_DESCRIBED.format(what) if text is None else f"[{what} {number}: {text}]"
