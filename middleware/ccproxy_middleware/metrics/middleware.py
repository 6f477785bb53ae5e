"""The layer that counts exchanges."""

import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import AdminKeys, ClientKeys, KeySource
from ..toolkit.asgi import get_header, route_path
from ..toolkit.errors import ApiError, send_error
from ..toolkit.record import Record, observe

if TYPE_CHECKING:
    from .instruments import Instruments

logger = logging.getLogger("ccproxy_middleware.metrics")

_PAGE = "/metrics"
_ROUTES = {
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/models": "models",
    "/v1/chat/completions": "chat_completions",
    "/chat/completions": "chat_completions",
    "/v1/responses": "responses",
    "/responses": "responses",
}


class _LostIfFull:
    """Continue without a count for which the disk has no space, and log the first such failure."""

    def __init__(self) -> None:
        self._told = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> bool:
        if not isinstance(exc, OSError):
            return False
        if not self._told:
            self._told = True
            logger.warning("metrics are incomplete, their files can't be written: %s", exc)
        return True


class MetricsMiddleware:
    """Count every exchange, and serve the counts to Prometheus at ``/metrics``.

    With ``admin_keys`` the page requires one of them; otherwise one of the client's keys, ``api_keys`` and
    ``named_keys``, like any other request. Without any of these it is refused to foreign web pages as by
    AuthMiddleware, which has the same options. ``models`` are the names of the provider's models that may be used as
    labels. All others are counted as ``other``, since a client can make names up. Raises ValueError for keys that could
    never match, ImportError without prometheus-client.

    With PROMETHEUS_MULTIPROC_DIR in the environment, set before prometheus-client is imported, the counts of all
    processes that share the directory are summed up. If the disk has no space for a new count, the count is lost, and
    the first such loss is logged.

    Reads: ``GET`` and ``HEAD`` of ``/metrics``, which inner layers never see; the facts that our inner layers put into
    ``ccproxy.record``.
    Writes: ``ccproxy.record`` in the scope, unless an outer layer has set it.
    Needs: prometheus-client, and a place outside all layers whose work it counts.
    Alone: works in front of any ASGI app. Tokens, tiers, retries and boost are known where our layers stand inside.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        api_keys: Sequence[str] = (),
        named_keys: KeySource | None = None,
        admin_keys: Sequence[str] = (),
        allowed_hosts: Collection[str] = (),
        models: Collection[str] = (),
    ) -> None:
        from .instruments import (
            make_instruments,
        )  # the other layers don't need it

        self.app = app
        self._keys = AdminKeys(admin_keys) or ClientKeys(api_keys, allowed_hosts, named_keys)
        self._models = frozenset(models)
        self._instruments: Instruments | None = None
        self._lost_if_full = _LostIfFull()
        with self._lost_if_full:
            self._instruments = make_instruments()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = route_path(scope)
        if path == _PAGE:
            return await self._page(scope, send)
        route = _ROUTES.get(path) or ("models" if path.startswith("/v1/models/") else "other")
        instruments = self._instruments
        if instruments is None:
            return await self.app(scope, receive, send)
        streams = False

        def start(record: Record) -> None:
            nonlocal streams
            if record.stream and record.status == 200 and not streams:
                with self._lost_if_full:
                    instruments.begin_stream()
                    streams = True

        def end(record: Record) -> None:
            with self._lost_if_full:
                if streams:
                    instruments.end_stream()
                instruments.end(route, self._models, record)

        def queue(upstream: str, change: int) -> None:
            with self._lost_if_full:
                instruments.queue(upstream, change)

        await observe(self.app, scope, receive, send, end, on_start=start, on_queue=queue)

    async def _page(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            allow = [("allow", "GET, HEAD")]
            return await send_error(
                scope, send, ApiError(405, "invalid_request_error", f"{_PAGE} takes GET only", headers=allow)
            )
        if (refusal := self._keys.refusal(scope)) is not None:
            return await send_error(scope, send, refusal)
        accept = get_header(scope["headers"], b"accept") or ""
        try:
            if self._instruments is None:
                raise OSError
            body, content_type = await anyio.to_thread.run_sync(self._instruments.page, accept)  # it may read files
        except OSError:
            return await send_error(scope, send, ApiError(503, "api_error", "the metrics' files can't be used"))
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
