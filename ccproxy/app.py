"""Builds the stack of layers from the settings. The whole proxy is on this page."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import BodyMemoryMiddleware, FormatConversionMiddleware, InspectorMiddleware
from ccproxy_middleware.models import DEFAULT_UPSTREAM

from .boundary import Boundary
from .layers import conversion_options, layers_in_use, make_layers
from .logs import logged
from .pages import ConnectionTest, InspectorOff, Root, SessionPage, health, hello, no_such_page
from .serving import Shutdown, ShutdownMiddleware, limit_clients, uvicorn_server, watched_loop
from .settings import Settings
from .upstreams import Upstreams


def create_app(
    settings: Settings | None = None,
    *,
    endpoint: ASGIApp | None = None,
    layers: Sequence[Middleware] | None = None,
    shutdown: Shutdown | None = None,
) -> Starlette:
    """The proxy as an ASGI app, to be served or mounted.

    Without ``settings`` they are read from the environment and ``.env``; raises ConfigurationError for invalid ones.
    ``endpoint`` replaces :class:`Forward`: any ASGI app that answers ``POST /v1/chat/completions`` and, where the
    switch ``api`` requires it, ``/v1/responses``. ``layers`` replace the stack of ``CCPROXY_LAYERS``, outermost first.
    ``shutdown`` ends answers that would outlast the process; it begins at uvicorn's signals, or when its ``begin`` is
    called. The app's lifespan opens and closes the connections to the provider; a host that doesn't run it can still
    mount the app.
    """
    settings = settings or Settings.load()
    inspected = "inspector" in layers_in_use(settings) if layers is None else _has(InspectorMiddleware, layers)
    upstreams = Upstreams(settings, endpoint=endpoint, inspected=inspected)
    if layers is None:
        layers = make_layers(settings, replace(upstreams.parts, routing=upstreams.routing()))
    classes: list[Any] = [layer.cls for layer in layers]
    target = _Endpoint(upstreams.asked[DEFAULT_UPSTREAM])
    options = conversion_options(settings)
    tested = upstreams.tested(converted=_has(FormatConversionMiddleware, layers))
    routes = [
        # The requests that reach the endpoint: converted ones, and Anthropic's own where no layer converts.
        Route("/v1/chat/completions", target, methods=["POST"]),
        Route("/v1/responses", target, methods=["POST"]),
        Route("/v1/messages", target, methods=["POST"]),
        Route("/v1/messages/count_tokens", target, methods=["POST"]),
        Route("/v1/models", target, methods=["GET"]),
        Route("/v1/models/{id:path}", target, methods=["GET"]),
        Route("/", Root(settings, [getattr(layer, "__name__", "?") for layer in classes]), methods=["GET"]),
        Route("/health", health),
        Route("/api/hello", hello),
        Route("/usage/session/{id:path}", SessionPage(upstreams.sessions), methods=["GET"]),
        Route("/test-connection", ConnectionTest(tested), methods=["GET", "DELETE"]),
    ]
    if options.get("count_tokens", "local") != "local":  # where the provider counts tokens
        routes += [Route(path, target, methods=["POST"]) for path in _COUNTING]

    limits = [] if shutdown is None else [Middleware(ShutdownMiddleware, shutdown=shutdown)]
    limits.append(Middleware(BodyMemoryMiddleware, limit=settings.max_body_memory * 1024 * 1024))
    if not inspected:
        limits.append(Middleware(InspectorOff))
    bodies = [Middleware(logged, side="client", settings=settings)] if settings.log_bodies else []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(upstreams.lifespan())
            if shutdown is not None:
                if server := uvicorn_server():
                    limit_clients(server, settings)
                shutdown.on_signals()
                stack.enter_context(watched_loop())
            yield

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Boundary), *limits, *bodies, *layers],
        exception_handlers={HTTPException: no_such_page},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _has(kind: object, layers: Sequence[Middleware]) -> bool:
    return any(layer.cls is kind for layer in layers)


_COUNTING = ("/tokenize", "/apply-template", "/v1/responses/input_tokens")


class _Endpoint:
    """Marks an ASGI app for Route, which treats a plain function as a request handler."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
