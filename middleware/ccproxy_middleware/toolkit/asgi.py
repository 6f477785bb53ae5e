"""ASGI helpers for every layer: the path below a mount, header lists, and a body that is read and parsed once."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from orjson import Fragment, JSONEncodeError
from starlette.types import Message, Receive, Scope

from .body_memory import BodyShare
from .encodings import make_decoder
from .json import dumps, with_members
from .json.parse_cache import RequestParser
from .json.size import MAX_NODES, nodes_and_size
from .worker_threads import in_thread

T = TypeVar("T")

Headers = list[tuple[bytes, bytes]]

LARGE = 1024 * 1024
"""Bytes of JSON that are read and written in a worker thread, so that the event loop serves others meanwhile."""

_UNPARSED: Any = object()
_COPIES = 2  # of a body: as received, and as sent on
_COUNTED = 256 * 1024  # bytes: the values of smaller bodies are not counted
_PARSED_SIZE = 4  # times its bytes, for a body whose values are not counted

_parser = RequestParser()  # shared by all layers, since the first that inspects a body parses it


def route_path(scope: Scope) -> str:
    """The request's path below the mount point: ``/v1/messages`` also for ``/claude/v1/messages`` under ``/claude``."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def with_path(scope: Scope, path: str) -> Scope:
    """A copy of the scope with another path below the mount point."""
    full = scope.get("root_path", "") + path
    return {**scope, "path": full, "raw_path": full.encode("latin-1", "replace")}


def get_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first value of a header (its name in lower case), or None."""
    length = len(name)
    for key, value in headers:
        if key == name or (len(key) == length and key.lower() == name):
            return value.decode("latin-1")
    return None


def without_headers(headers: Iterable[tuple[bytes, bytes]], *names: bytes) -> Headers:
    """A new header list without the given names (in lower case)."""
    return [(key, value) for key, value in headers if key.lower() not in names]


class BodyTooLarge(Exception):
    """The request's body is over the limit; reading stopped there."""


class TooDeep(ValueError):
    """The request's JSON is nested too deeply to be serialized again."""


class TooManyNodes(ValueError):
    """The request's JSON has more values than the limit."""


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete."""


class BufferedBody:
    """A request body in memory: the ``receive`` of the next layer, and the parsed JSON for our layers.

    The body is replayed exactly once. After that the original ``receive`` is called, so a disconnect is reported when
    it happens and not before. One of our layers that finds a BufferedBody as its ``receive`` takes ``data`` from it
    instead of parsing again. ``data`` can't become stale: a foreign layer that edits the body puts its own ``receive``
    in front. ``data`` is shared and must not be changed; :meth:`replace` creates a new body.

    The parsed JSON is released when the bytes are replayed, and so is that of the body which this one replaces: a
    provider may take minutes to answer, and objects take up to thirty times the memory of their JSON. If ``data`` is
    needed afterwards, the bytes are parsed again.
    """

    __slots__ = (
        "_body", "_data", "_fields", "_json", "_outer", "_parsed_size", "_problem", "_receive", "_removed", "_replayed",
        "_share", "disconnected", "size",
    )  # fmt: skip

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
        self._outer: BufferedBody | None = None  # the body that this one replaces
        self._fields: Mapping[str, Any] | None = None  # the only fields in which it differs from that
        self._removed: Collection[str] = ()  # fields of that body that this one lacks
        self._problem: ValueError | None = None
        self._share: BodyShare | None = None
        self._parsed_size = 0
        self._replayed = False
        self.disconnected = False
        self.size = size if size is not None else len(body or b"")  # bytes that the client has sent, as received

    @classmethod
    async def read(cls, scope: Scope, receive: Receive, limit: int) -> "BufferedBody":
        """Read the whole body and decode it, or take over the one that an outer layer has read.

        Raises BodyTooLarge above ``limit`` bytes, by ``content-length`` if there is one, ClientDisconnected, and what
        :func:`make_decoder`, its decoder and :meth:`BodyShare.take` raise. The headers in ``scope`` still contain the
        encoding.
        """
        if isinstance(receive, BufferedBody) and receive.is_whole:
            return receive
        length = get_header(scope["headers"], b"content-length")
        if length is not None and length.isdecimal() and (len(length) > 15 or int(length) > limit):
            raise BodyTooLarge
        share: BodyShare | None = scope.get("ccproxy.body_memory")
        decoder = make_decoder(scope["headers"])
        pieces: list[bytes] = []
        large = bytearray()  # the memory of a large body in pieces would not be returned to the system
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
            if share is not None:
                share.take(_COPIES * len(chunk))
            pieces.append(chunk)
            if size > _COUNTED:
                large += b"".join(pieces)
                pieces.clear()
            more = message.get("more_body", False)
        decoder.finish()
        body = cls(receive, bytes(large) if large else b"".join(pieces))
        del pieces, large
        if body.size > LARGE:
            await in_thread(body._measure)
        else:
            body._measure()
        body._take(share)
        return body

    @property
    def is_whole(self) -> bool:
        """Whether none of its bytes have been replayed yet."""
        return not self._replayed

    async def work(self, function: Callable[[], T]) -> T:
        """The result of a function that processes the whole body; it is called in a thread if the body is large."""
        return await in_thread(function) if self.size > LARGE else function()

    async def json_object(self) -> dict[str, Any] | None:
        """The parsed JSON, if it is an object; for anything else the layer that reads it reports the error."""
        try:
            data = self.data if self.size <= LARGE else await in_thread(lambda: self.data)
        except ValueError:
            return None
        return data if isinstance(data, dict) else None

    def _measure(self) -> None:
        """Determine the parsed size of the body, and whether it is too large."""
        body = self._body or b""
        self._parsed_size = len(body) * _PARSED_SIZE
        if len(body) > _COUNTED:
            nodes, self._parsed_size = nodes_and_size(body)
            if nodes > MAX_NODES:
                self._problem = TooManyNodes(f"The request has more than {MAX_NODES:,} JSON values, which is the limit")

    def _take(self, share: BodyShare | None) -> None:
        """Count the memory that its parsed form takes."""
        if share is not None and self._problem is None:
            share.take(self._parsed_size)
            self._share = share

    @property
    def body(self) -> bytes:
        """The bytes; unchanged where no layer replaced the data. Raises TooDeep if the data can't be serialized."""
        if self._body is None:
            try:
                dumped = self._written()
            except JSONEncodeError:  # orjson reads 1,024 levels and writes 254
                raise TooDeep("the document is nested too deeply") from None
            # orjson leaves its whole buffer to the bytes, up to sixteen times the size that they need.
            self._body = dumped if len(dumped) < _COUNTED else bytes(memoryview(dumped))
        return self._body

    def _written(self) -> bytes:
        """The JSON. If only some fields differ from those of another body: its JSON with these fields replaced."""
        if self._outer is not None and self._fields is not None:
            changed = {name: dumps(value) for name, value in self._fields.items()}
            try:
                return with_members(self._outer.body, {**dict.fromkeys(self._removed), **changed})
            except ValueError:  # its encoding is not UTF-8
                pass
        written = {name: Fragment(json) for name, json in self._json.items()}
        return dumps({**self.data, **written} if written else self.data)

    @property
    def data(self) -> Any:
        """The parsed JSON. Raises ValueError if the body isn't JSON, or TooManyNodes if it has too many values."""
        if self._data is _UNPARSED:
            if self._problem is not None:
                raise type(self._problem)(*self._problem.args)
            if self._outer is not None and self._fields is not None:
                self._data = _with(self._outer.data, self._fields, self._removed)
            else:
                try:
                    self._data = _parser.loads(self._body or b"")
                except ValueError as error:
                    self._problem = ValueError(str(error))  # the error itself would hold the text
                    raise
        return self._data

    def replace(self, data: Any, json: Mapping[str, bytes] = {}) -> "BufferedBody":
        """A body with other data, serialized only when its bytes are read.

        ``json``: the JSON of those fields of an object for which it is available already.
        """
        body = BufferedBody(self._receive, data=data, json=json, size=self.size)
        body._outer = self
        return body

    def with_fields(self, fields: Mapping[str, Any], removed: Collection[str] = ()) -> "BufferedBody":
        """A body with other values for these fields of its object, and without others; other bytes stay the same."""
        body = self.replace(_with(self.data, fields, removed))
        body._fields = fields
        body._removed = removed
        return body

    def skip(self) -> None:
        """Replay nothing: a layer that took ``data`` only waits for the client to disconnect."""
        self._replayed = True

    def let_go(self) -> None:
        """Release the parsed JSON, here and in the body that this one replaces; it is parsed again if it is needed."""
        if self._body is not None or self._fields is not None:
            self._data = _UNPARSED
            self._json = {}
        if self._share is not None:
            self._share.give(self._parsed_size)
            self._share = None
        if self._outer is not None:
            self._outer.let_go()

    async def __call__(self) -> Message:
        if not self._replayed:
            self._replayed = True
            body = self.body
            self.let_go()
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            told: BufferedBody | None = self
            while told is not None:  # a body that this one has replaced needs it as well
                told.disconnected = True
                told = told._outer
        return message


def _with(data: Any, fields: Mapping[str, Any], removed: Collection[str]) -> Any:
    changed = {**data, **fields}
    return {name: value for name, value in changed.items() if name not in removed} if removed else changed
