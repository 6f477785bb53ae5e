"""Settings become the stack of layers. The whole proxy is on this page."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ccproxy_middleware import BodyMemoryMiddleware, FormatConversionMiddleware, InspectorMiddleware

from .boundary import Boundary
from .forwarding import Forward
from .layers import conversion_options, make_layers
from .logs import logged
from .pages import ConnectionTest, Root, health, hello, no_such_page
from .search import make_search
from .serving import Shutdown, ShutdownMiddleware, limit_clients, uvicorn_server, watched_loop
from .settings import Settings


def create_app(
    settings: Settings | None = None,
    *,
    endpoint: ASGIApp | None = None,
    layers: Sequence[Middleware] | None = None,
    shutdown: Shutdown | None = None,
) -> Starlette:
    """The proxy as an ASGI app, to be served or mounted.

    Without ``settings`` they come from the environment and ``.env``; raises ConfigurationError if they don't fit.
    ``endpoint`` replaces :class:`Forward`: any ASGI app that answers ``POST /v1/chat/completions`` and, where the
    switch ``api`` asks for it, ``/v1/responses``. ``layers`` replace the stack of ``CCPROXY_LAYERS``,
    outermost first. ``shutdown`` ends answers that outlast the process; it begins at uvicorn's signals, or when its
    ``begin`` is called. The app's lifespan opens and closes the connections
    to the provider; a host that doesn't run it may mount the app all the same.
    """
    settings = settings or Settings.load()
    key = settings.openai_api_key
    forward = make_forward(settings, settings.openai_base_url, key, settings.azure_api_version)
    planner = None
    if settings.enable_boost_support and settings.boost_base_url is not None:
        planner = make_forward(settings, settings.boost_base_url, settings.boost_api_key)
    search = make_search(settings)
    if layers is None:
        layers = make_layers(settings, planner and logged(planner, "planner", settings), search)
    classes: list[Any] = [layer.cls for layer in layers]
    asked = logged(endpoint or forward, "provider", settings)
    if InspectorMiddleware in classes:
        asked = InspectorMiddleware(asked, provider="provider" if planner is None else "executor")
    target = _Endpoint(asked)
    options = conversion_options(settings)
    converted = FormatConversionMiddleware(target, provider=settings.provider, options=options)
    tested = converted if FormatConversionMiddleware in classes else target
    routes = [
        # What reaches the endpoint: converted requests, and Anthropic's own where no layer converts.
        Route("/v1/chat/completions", target, methods=["POST"]),
        Route("/v1/responses", target, methods=["POST"]),
        Route("/v1/messages", target, methods=["POST"]),
        Route("/v1/messages/count_tokens", target, methods=["POST"]),
        Route("/v1/models", target, methods=["GET"]),
        Route("/v1/models/{id:path}", target, methods=["GET"]),
        Route("/", Root(settings, [getattr(layer, "__name__", "?") for layer in classes]), methods=["GET"]),
        Route("/health", health),
        Route("/api/hello", hello),
        Route("/test-connection", ConnectionTest(tested, settings), methods=["GET", "DELETE"]),
    ]
    if options.get("count_tokens", "local") != "local":  # a provider that counts does it there
        routes += [Route(path, target, methods=["POST"]) for path in _COUNTING]

    limits = [] if shutdown is None else [Middleware(ShutdownMiddleware, shutdown=shutdown)]
    limits.append(Middleware(BodyMemoryMiddleware, limit=settings.max_body_memory * 1024 * 1024))
    bodies = [Middleware(logged, side="client", settings=settings)] if settings.log_bodies else []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for forwarding in filter(None, (forward, planner, search)):
                await stack.enter_async_context(forwarding.lifespan())
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


def make_forward(
    settings: Settings,
    base_url: str,
    key: SecretStr | None,
    api_version: str | None = None,
) -> Forward:
    """An endpoint as the settings have it, with connections of its own."""
    return Forward(
        base_url,
        api_key=key.get_secret_value() if key is not None else None,
        api_version=api_version,
        transport=settings.http_transport,
        timeout=settings.request_timeout,
        stream_idle_timeout=settings.stream_idle_timeout,
        max_answer=settings.max_answer * 1024 * 1024,
        max_retries=settings.max_retries,
    )


_COUNTING = ("/tokenize", "/apply-template", "/v1/responses/input_tokens")


class _Endpoint:
    """Marks an ASGI app for Route, which takes a plain function for a request handler."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
