"""What every layer needs of ASGI: the path below a mount, header lists, and a body that is read and parsed once."""

from collections.abc import Iterable
from typing import Any

from starlette.types import Message, Receive, Scope

from ._json import dumps, loads

Headers = list[tuple[bytes, bytes]]

_UNPARSED: Any = object()


def route_path(scope: Scope) -> str:
    """The request's path below the mount point: ``/v1/messages`` also for ``/claude/v1/messages`` under ``/claude``."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def with_path(scope: Scope, path: str) -> Scope:
    """A copy of the scope whose path below the mount point is another one."""
    full = scope.get("root_path", "") + path
    return {**scope, "path": full, "raw_path": full.encode("latin-1", "replace")}


def get_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first value of a header (its name in lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return None


def without_headers(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """A new header list that lacks the given names (in lower case)."""
    return [(key, value) for key, value in headers if key.lower() not in names]


class BodyTooLarge(Exception):
    """The request's body is over the limit; nothing more of it was read."""


class ClientDisconnected(Exception):
    """The client went away before its request was whole."""


class BufferedBody:
    """A request body in memory: the ``receive`` of the next layer, and the parsed JSON for a layer of ours.

    The body is replayed exactly once; after it the original ``receive`` is asked, so a disconnect is told when it
    happens and not before. A layer of ours that finds a BufferedBody as its ``receive`` takes ``data`` from it
    instead of parsing again. That can't go stale: a foreign layer that edits the body puts its own ``receive`` in
    front. ``data`` is shared and must not be changed; :meth:`replace` makes a new body.
    """

    __slots__ = ("_body", "_data", "_receive", "_replayed", "disconnected")

    def __init__(self, receive: Receive, body: bytes | None = None, data: Any = _UNPARSED) -> None:
        self._receive = receive
        self._body = body
        self._data = data
        self._replayed = False
        self.disconnected = False

    @classmethod
    async def read(cls, scope: Scope, receive: Receive, limit: int) -> "BufferedBody":
        """Read the whole body, or take over the one that an outer layer has read.

        Raises BodyTooLarge above ``limit`` bytes, by ``content-length`` if there is one, and ClientDisconnected.
        """
        if isinstance(receive, BufferedBody) and not receive._replayed:
            return receive
        length = get_header(scope["headers"], b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise BodyTooLarge
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge
            chunks.append(chunk)
            more = message.get("more_body", False)
        return cls(receive, b"".join(chunks))

    @property
    def body(self) -> bytes:
        """The bytes; unchanged where no layer replaced the data."""
        if self._body is None:
            self._body = dumps(self._data)
        return self._body

    @property
    def data(self) -> Any:
        """The parsed JSON. Raises ValueError if the body isn't JSON."""
        if self._data is _UNPARSED:
            self._data = loads(self._body or b"")
        return self._data

    def replace(self, data: Any) -> "BufferedBody":
        """A body with other data, dumped only when somebody reads its bytes."""
        return BufferedBody(self._receive, data=data)

    async def __call__(self) -> Message:
        if not self._replayed:
            self._replayed = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.disconnected = True
        return message
