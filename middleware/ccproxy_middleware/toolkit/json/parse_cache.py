"""A parser that reuses the parts of a request that earlier requests contained.

An agent sends the whole conversation at every turn, together with 70 KB of tools. So the JSON of a request mostly
begins like the previous one, up to a few messages before its end, and the tools are the same from session to session.

A comma between two members of an object, or two items of a list, divides the text into two parts that can be parsed
independently; and equal bytes have equal values. If the text doesn't divide as expected, it is parsed as a whole.
"""

from secrets import token_hex
from typing import Any

from .codec import loads

_LEAST = 8 * 1024  # bytes: smaller ones are parsed quickly anyway
_MOST = 1024 * 1024  # cached pieces of one request
_DIVIDED = 4 * _MOST  # bytes: of larger ones few are cached, and the parts would be copies of nearly all of it
_REMEMBERED = 8  # requests: those of agents and their subagents
_MOST_VALUES = 40_000  # values in a cached piece: each takes about 60 bytes, however short its JSON is
_TRIES = 3  # the apparent tools of a request that are compared
_KEPT_OPEN = 4  # messages at the end that may change: Claude Code moves its cache mark on

_TOOLS = b',"tools":'
_MESSAGE = b',{"role":'
_MORE = token_hex(8)  # a name that no client uses
_MORE_START = b'{"%b":[' % _MORE.encode()
_MARK = b',"%b"]' % _MORE.encode()  # an item that shows which list contains it

_Object = dict[str, Any]
_Piece = tuple[bytes, _Object]  # the JSON, and its value


class RequestParser:
    """Parses requests, and caches the beginnings and the tools of the last few.

    The values of a request may be shared with others, and must not be changed.
    """

    def __init__(self) -> None:
        self._prefixes = _PieceCache()
        self._tools = _PieceCache()

    def loads(self, body: bytes) -> Any:
        """Parse like :func:`ccproxy_middleware.toolkit.json.loads`."""
        if not _LEAST <= len(body) <= _DIVIDED:
            return loads(body)
        try:
            return self._parts(body)
        except ValueError:
            return loads(body)

    def _parts(self, body: bytes) -> _Object:
        """The object, from cached and newly parsed parts. Raises ValueError if it doesn't divide as expected."""
        prefix = self._prefixes.find(body, 0)
        place, (tools, end) = self._find_tools(body, len(prefix[0]) if prefix else 0)
        rest = body[place + len(tools) :]
        if rest != b"}":
            if not rest.startswith(b","):
                raise ValueError("no member")
            end = _joined(end, _members(b"{" + rest[1:]))
        if prefix is None or place - len(prefix[0]) > 2 * _LEAST:
            prefix = self._learn_prefix(body, place, prefix)
        if prefix is None:
            return _joined(_members(body[:place] + b"}"), end)
        start, members = prefix
        return _joined(_continued(members, body[len(start) : place]), end)

    def _find_tools(self, body: bytes, place: int) -> tuple[int, _Piece]:
        """Where the tools stand, and they; the end of the object and nothing, if that can't be told."""
        for _ in range(_TRIES):
            place = body.find(_TOOLS, place)
            if place < 0:
                break
            tools = self._tools.find(body, place) or self._learn_tools(body, place)
            if tools is not None:
                return place, tools
            place += 1
        return len(body) - 1, (b"", {})

    def _learn_tools(self, body: bytes, place: int) -> _Piece | None:
        """The tools that begin here; None if it is something else that does, or what is not worth it."""
        if not _LEAST <= len(body) - place <= _MOST:
            return None
        try:
            end = loads(b"{" + body[place + 1 :])
            names = list(end)
            stop = len(body) - 1 if len(names) == 1 else body.rfind(b',"%b":' % names[1].encode())
            members = loads(b"{" + body[place + 1 : stop] + b"}")
        except ValueError:
            return None
        if list(members) != ["tools"] or _values(body[place:stop]) > _MOST_VALUES:
            return None
        return self._tools.add(body[place:stop], members)

    def _learn_prefix(self, body: bytes, stop: int, prefix: _Piece | None) -> _Piece | None:
        """The prefix up to a message that is not among the last before ``stop``; ``prefix`` if that is no more."""
        start, members = prefix or (b"", {})
        place = stop
        for _ in range(_KEPT_OPEN):
            place = body.rfind(_MESSAGE, 0, max(place, 0))
        if not max(_LEAST, len(start)) < place <= _MOST:
            return prefix
        if _values(body[:place]) > _MOST_VALUES:
            return prefix
        try:
            if prefix is None:
                members = _members(body[:place] + _MARK + b"}")
            else:
                members = _continued(members, body[len(start) : place] + _MARK)
        except ValueError:  # that was no message of the request itself
            return prefix
        messages = members.get("messages")
        if not isinstance(messages, list) or len(messages) < 2 or messages.pop() != _MORE:
            return prefix  # another list, or one without an item in front of the comma
        return self._prefixes.add(body[:place], members)


class _PieceCache:
    """The last few pieces of JSON, and what they say."""

    def __init__(self) -> None:
        self._pieces: tuple[_Piece, ...] = ()  # the last used first

    def find(self, text: bytes, place: int) -> _Piece | None:
        """The piece that stands at this place."""
        for piece in self._pieces:
            if text.startswith(piece[0], place):
                if piece is not self._pieces[0]:
                    self._pieces = (piece, *(other for other in self._pieces if other is not piece))
                return piece
        return None

    def add(self, piece: bytes, members: _Object) -> _Piece:
        """Remember a piece. One that it goes on from is of no more use."""
        rest = [other for other in self._pieces if not piece.startswith(other[0])]
        self._pieces = ((piece, members), *rest[: _REMEMBERED - 1])
        return piece, members


def _members(text: bytes) -> _Object:
    """The object of a text. Raises ValueError if it is none, or an empty one, which a comma must not touch."""
    members = loads(text)
    if not isinstance(members, dict) or not members:
        raise ValueError("no members")
    return members


def _values(piece: bytes) -> int:
    """At most so many values a piece of JSON holds."""
    return 1 + len(piece) - len(piece.translate(None, b",[{:"))


def _continued(members: _Object, rest: bytes) -> _Object:
    """The object that begins with these members, the last being ``messages``, and goes on with ``rest``.

    Raises ValueError if it is none.
    """
    more = loads(_MORE_START + rest.removeprefix(b",") + b"}")
    messages: list[Any] = more.pop(_MORE)
    if bool(messages) != rest.startswith(b","):
        raise ValueError("no list")
    return _joined({**members, "messages": members["messages"] + messages}, more)


def _joined(start: Any, end: _Object) -> _Object:
    """The object with the members of both. Raises ValueError where one has a name of the other's."""
    if not isinstance(start, dict) or not start.keys().isdisjoint(end):
        raise ValueError("no two parts of one object")
    return {**start, **end}
