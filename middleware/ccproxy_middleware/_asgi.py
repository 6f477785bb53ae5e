"""What every layer needs of ASGI: the path below a mount, header lists, and a body that is read and parsed once."""

from collections.abc import Iterable, Mapping
from typing import Any

from orjson import Fragment, JSONEncodeError
from starlette.types import Message, Receive, Scope

from ._encodings import make_decoder
from ._json import dumps
from ._repeats import RequestParser

Headers = list[tuple[bytes, bytes]]

_UNPARSED: Any = object()

_parser = RequestParser()  # one for all layers, since the first that looks at a body parses it


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
    length = len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == name:
            return value.decode("latin-1")
    return None


def without_headers(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """A new header list that lacks the given names (in lower case)."""
    return [(key, value) for key, value in headers if key.lower() not in names]


class BodyTooLarge(Exception):
    """The request's body is over the limit; nothing more of it was read."""


class TooDeep(ValueError):
    """The request's JSON has more levels than can be written again."""


class ClientDisconnected(Exception):
    """The client went away before its request was whole."""


class BufferedBody:
    """A request body in memory: the ``receive`` of the next layer, and the parsed JSON for a layer of ours.

    The body is replayed exactly once; after it the original ``receive`` is asked, so a disconnect is told when it
    happens and not before. A layer of ours that finds a BufferedBody as its ``receive`` takes ``data`` from it
    instead of parsing again. That can't go stale: a foreign layer that edits the body puts its own ``receive`` in
    front. ``data`` is shared and must not be changed; :meth:`replace` makes a new body.
    """

    __slots__ = ("_body", "_data", "_json", "_receive", "_replayed", "disconnected", "size")

    def __init__(
        self,
        receive: Receive,
        body: bytes | None = None,
        data: Any = _UNPARSED,
        json: Mapping[str, bytes] = {},
        size: int | None = None,
    ) -> None:
        self._receive = receive
        self._body = body
        self._data = data
        self._json = json
        self._replayed = False
        self.disconnected = False
        self.size = size if size is not None else len(body or b"")  # bytes that the client has sent, uncompressed

    @classmethod
    async def read(cls, scope: Scope, receive: Receive, limit: int) -> "BufferedBody":
        """Read the whole body and decode it, or take over the one that an outer layer has read.

        Raises BodyTooLarge above ``limit`` bytes, by ``content-length`` if there is one, ClientDisconnected, and what
        :func:`make_decoder` and its decoder raise. The headers in ``scope`` still tell of the encoding.
        """
        if isinstance(receive, BufferedBody) and not receive._replayed:
            return receive
        length = get_header(scope["headers"], b"content-length")
        if length is not None and length.isdecimal() and (len(length) > 15 or int(length) > limit):
            raise BodyTooLarge
        decoder = make_decoder(scope["headers"])
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = decoder.decode(message.get("body", b""), limit - size + 1)
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge
            chunks.append(chunk)
            more = message.get("more_body", False)
        decoder.finish()
        return cls(receive, b"".join(chunks))

    @property
    def body(self) -> bytes:
        """The bytes; unchanged where no layer replaced the data. Raises TooDeep if that can't be written."""
        if self._body is None:
            written = {name: Fragment(json) for name, json in self._json.items()}
            try:
                self._body = dumps({**self._data, **written} if written else self._data)
            except JSONEncodeError:  # orjson reads 1,024 levels and writes 254
                raise TooDeep("the document is nested too deeply") from None
        return self._body

    @property
    def data(self) -> Any:
        """The parsed JSON. Raises ValueError if the body isn't JSON."""
        if self._data is _UNPARSED:
            self._data = _parser.loads(self._body or b"")
        return self._data

    def replace(self, data: Any, json: Mapping[str, bytes] = {}) -> "BufferedBody":
        """A body with other data, dumped only when somebody reads its bytes.

        ``json``: of those fields of an object whose JSON is known already.
        """
        return BufferedBody(self._receive, data=data, json=json, size=self.size)

    async def __call__(self) -> Message:
        if not self._replayed:
            self._replayed = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.disconnected = True
        return message
