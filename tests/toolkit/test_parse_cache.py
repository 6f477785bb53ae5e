"""Requests that are parsed in parts, some of them known, are read as if each were parsed by itself."""

import contextlib
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from ccproxy_middleware import BoostMiddleware, FormatConversionMiddleware, ModelMappingMiddleware
from ccproxy_middleware.toolkit.asgi import BufferedBody
from ccproxy_middleware.toolkit.json import loads
from ccproxy_middleware.toolkit.json.parse_cache import RequestParser
from support.asgi import http_scope
from support.clients.conversation import REQUESTS, turns

pytestmark = pytest.mark.anyio

PADDING = "x" * 9000  # beyond the size from which on parts are remembered
TOOLS = [{"name": "Read", "description": PADDING, "input_schema": {"type": "object"}}]
SETTINGS = {"metadata": {"user_id": "u"}, "max_tokens": 9, "stream": True}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def said(count: int, text: str = "") -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"{n} {text}"} for n in range(count)]


def request(messages: list[Any], **fields: Any) -> bytes:
    return compact({"model": "m", "messages": messages, "system": "s", "tools": TOOLS, **SETTINGS, **fields})


def warm(*bodies: bytes) -> RequestParser:
    """A parser that knows these requests."""
    parser = RequestParser()
    for body in bodies:
        with contextlib.suppress(ValueError):
            parser.loads(body)
    return parser


def assert_same(parser: RequestParser, body: bytes) -> None:
    try:
        expected = loads(body)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - its text is the decoder's
            parser.loads(body)
        return
    found = parser.loads(body)
    assert found == expected
    assert compact(found) == compact(expected)  # in the same order, too


def test_session_is_read_as_it_is() -> None:
    parser = RequestParser()
    for turn in turns():
        for body in (compact(turn), json.dumps(turn).encode()):
            assert_same(parser, body)
            assert_same(parser, body)


def test_turn_shares_what_it_repeats() -> None:
    first, *_, last = (compact(turn) for turn in turns())
    parser = warm(first)
    one, other = parser.loads(first), parser.loads(last)
    assert one["tools"] is other["tools"]
    assert parser.loads(request([], tools=one["tools"], max_tokens=2))["tools"] is one["tools"]
    parser = warm(request(said(40, PADDING)))
    one, other = parser.loads(request(said(40, PADDING))), parser.loads(request(said(44, PADDING)))
    assert one["messages"][30] is other["messages"][30]
    assert one["messages"] is not other["messages"]


def test_sessions_side_by_side_keep_apart() -> None:
    parser = RequestParser()
    for count in range(6, 30, 2):
        for name in "abc":
            messages = said(count, f"{name} {PADDING}")
            assert_same(parser, request(messages, metadata={"user_id": name}))


BEFORE = said(20, "word " * 400)
KNOWN = request(BEFORE)
LAST = BEFORE[-1]


@pytest.mark.parametrize(
    "body",
    [
        request([*BEFORE, {"role": "user", "content": "on"}]),
        request(BEFORE[:-1]),
        request(BEFORE[:3]),
        request([]),
        request([*BEFORE[:5], {"role": "user", "content": "rewound"}]),
        request([*BEFORE, 1, None, "x"]),
        request(BEFORE, tools=[]),
        request(BEFORE, tools=[*TOOLS, *TOOLS]),
        request(BEFORE, more=1),
        request(BEFORE)[:-1],
        request(BEFORE) + b"}",
        request(BEFORE) + b" \n",
        request(BEFORE).replace(b'"stream":true', b'"stream":True'),
        # A comma too many or too few where the parts meet.
        request([*BEFORE, LAST]).replace(b',{"role":"assistant","content":"19', b',,{"role":"assistant","content":"19'),
        request(BEFORE).replace(b'},{"role":"assistant","content":"17', b'}{"role":"assistant","content":"17'),
        request(BEFORE).replace(b'],"system"', b',],"system"'),
        request(BEFORE).replace(b'"s","tools"', b'"s",,"tools"'),
        # A member twice: the last one counts.
        request(BEFORE).replace(b'"system":"s"', b'"messages":[],"system":"s"'),
        request(BEFORE).replace(b'"system":"s"', b'"model":"other","system":"s"'),
        request(BEFORE).replace(b'"system":"s"', b'"max_tokens":1,"system":"s"'),
        request(BEFORE).replace(b'"system":"s"', b'"tools":[],"system":"s"'),
        # What divides a request stands inside of something else.
        request([*BEFORE, {"role": "user", "content": [{"a": 1, "tools": [1], "b": [0, {"role": "x"}]}]}]),
        request([*BEFORE, {"role": "user", "content": ',\\"tools\\":[],{\\"role\\":'}]),
        request([*BEFORE, {"role": "user", "content": ',"tools":[]}'}]),
        compact({"wrapped": loads(KNOWN)}),
        compact({"wrapped": loads(KNOWN), **loads(KNOWN)}),
        compact([loads(KNOWN)]),
        compact({"messages": [{"messages": BEFORE, "tools": TOOLS}], "tools": TOOLS}),
        compact({"tools": TOOLS, **SETTINGS, "messages": BEFORE}),
        compact(PADDING),
        b'{"a":"' + b"x" * 9000,
        b"x" * 9000,
        b"",
    ],
    ids=range(33),
)
def test_request_beside_a_known_one_is_read_as_it_is(body: bytes) -> None:
    for parser in (RequestParser(), warm(KNOWN), warm(request(BEFORE[:12]), KNOWN), warm(body, KNOWN)):
        assert_same(parser, body)
        assert_same(parser, body)
        assert_same(parser, KNOWN)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2), st.sampled_from(["", "a", "\ud83d", '"', "é"]))))
def test_requests_in_any_order_are_read_as_they_are(steps: list[tuple[int, int, str]]) -> None:
    parser = RequestParser()
    for count, session, text in steps:
        messages = [*said(count, "word " * 300 + str(session)), {"role": "user", "content": text}]
        body = json.dumps(
            {"model": "m", "messages": messages, "tools": TOOLS, "user": session}, separators=(",", ":")
        ).encode()
        assert_same(parser, body)


@given(
    st.integers(0, len(KNOWN)), st.sampled_from([b"", b",", b"]", b"}", b'"', b"{", b"[", b'\\"']), st.integers(0, 3)
)
def test_damaged_request_is_refused_as_ever(place: int, added: bytes, removed: int) -> None:
    assert_same(warm(KNOWN), KNOWN[:place] + added + KNOWN[place + removed :])


MESSAGES = compact(said(6, PADDING))
VALUES = [
    *(b"[]", b"[ ]", b"{}", b"1", b"null", b'"s"', b'",\\"tools\\":[]"', b'"\\ud83d"', b"", b"[,]"),
    *(MESSAGES, MESSAGES[:-1] + b",1]", compact(said(5)), b"[," + MESSAGES[1:], b"[1," + MESSAGES[1:]),
    *(compact(TOOLS), b'[{"role":"user"},{"role":"user"},{"role":"user"},{"role":"user"},{"role":"user"}]'),
    *(compact({"tools": TOOLS, "messages": said(6)}), compact({"a": 1, "tools": [], "messages": [{"role": "x"}] * 6})),
]
NAMES = [b"messages", b"tools", b"system", b"x", b"\\u006dessages", b"mess\\ud83d"]
MEMBERS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), min_size=1, max_size=7)
COMMAS = st.sampled_from([b","] * 30 + [b",,", b"", b" , ", b"],", b"},"])
STARTS = st.sampled_from([b"{"] * 20 + [b"", b" {", b"{,", b"[{", b'{"a":{'])
ENDS = st.sampled_from([b"}"] * 20 + [b"", b"} \n", b",}", b", }", b"}}", b"]", b","])


@st.composite
def near_requests(draw: st.DrawFn) -> bytes:
    """Members in any order, any of them twice, mostly with commas and brackets where they belong."""
    members = [b'"%b":%b' % member for member in draw(MEMBERS)]
    joined = members[0] + b"".join(draw(COMMAS) + member for member in members[1:])
    return draw(STARTS) + joined + draw(ENDS)


@settings(max_examples=300, deadline=None)
@given(near_requests(), st.lists(near_requests(), max_size=2), st.integers(0, 60_000))
def test_anything_like_a_request_is_read_as_it_is(body: bytes, before: list[bytes], place: int) -> None:
    parser = warm(*before, body)
    assert_same(parser, body)
    assert_same(parser, body[:place] + before[0][place:] if before else body)
    assert_same(warm(), body)


NOT_DIVIDED = [
    # A name twice, of which the second's items are no messages.
    b'{"x":{},"messages":[{"role":"user"}],"x":[%b]}' % MESSAGES[1:-1],
    b'{"x":1,"messages":%b,"x":[0,%b]}' % (compact(said(3)), MESSAGES[1:-1]),
    b'{"messages":%b,"messages":[%b]}' % (compact(said(9)), MESSAGES[1:-1]),
    # A comma that stands next to nothing.
    b'{"system":"%b","messages":[,%b}' % (PADDING.encode(), MESSAGES[1:]),
    b'{"messages":[1],"tools":%b,}' % compact(TOOLS),
    b'{,"tools":%b}' % compact(TOOLS),
    b'{,"tools":%b, }' % compact(TOOLS),
]


@pytest.mark.parametrize("body", NOT_DIVIDED, ids=range(len(NOT_DIVIDED)))
def test_part_that_is_none_is_not_taken_for_one(body: bytes) -> None:
    assert_same(RequestParser(), body)
    assert_same(warm(body, KNOWN), body)


@pytest.mark.parametrize(
    ("empty", "count"), [(b"[]", 60_000), (b'{"a":1}', 60_000), (b'"\xf0\x9f\x98\x80aaaaaaaaaa"', 50_000)]
)
def test_what_is_remembered_is_bounded_by_what_it_takes(empty: bytes, count: int) -> None:
    parser = RequestParser()
    filling = b",".join([empty] * count)
    messages = compact(said(9))
    bodies = [b'{"x":[%d,%b],"messages":%b,"tools":[%d,%b]}' % (n, filling, messages, n, filling) for n in range(8)]
    tracemalloc.start()
    try:
        for body in bodies:
            parser.loads(body)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 32 * 1024 * 1024


def test_hunt_for_tools_ends() -> None:
    """Many places that look like a request's tools must not each be tried."""
    messages = [{"role": "user", "content": [{"a": 1, "tools": []}]}] * 20_000
    assert_same(RequestParser(), request(messages))


ANSWER = compact({"choices": [{"index": 0, "message": {"content": "plan"}, "finish_reason": "stop"}]})


async def provider(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": ANSWER})


def layers() -> Iterator[Any]:
    conversion = FormatConversionMiddleware(provider, provider="openai")
    yield conversion
    yield ModelMappingMiddleware(conversion, big="b", small="s")
    yield BoostMiddleware(conversion, planner=provider, model="p", tiers=["BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL"])
    inner = BoostMiddleware(provider, planner=provider, model="p", tiers=["BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL"])
    yield FormatConversionMiddleware(inner)


@pytest.mark.parametrize("recorded", sorted(REQUESTS.glob("*.json")), ids=lambda path: path.stem)
async def test_no_layer_changes_what_requests_share(recorded: Any) -> None:
    data = json.loads(recorded.read_text())["body"]
    body = compact(data)

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        pass

    for layer in layers():
        await layer(http_scope("POST", "/v1/messages"), BufferedBody(receive, body, data), send)
        assert compact(data) == body


ITEM = '{"role":"user","content":"a"}'
MANY = ",".join([ITEM] * 5)


@pytest.mark.parametrize(
    "text",
    [
        '{"x":"%s","messages":[,MANY]}',
        '{"x":"%s","messages":[MANY,]}',
        '{"x":"%s","messages":[MANY],}',
        '{,"x":"%s","messages":[MANY]}',
        '{"x":"%s","messages":[MANY],"tools":[],}',
        '{,"tools":["%s"],"messages":[MANY]}',
        '{"messages":[MANY],"tools":["%s"],}',
        '{"messages":[MANY],,"tools":["%s"]}',
        '{"x":{},"messages":[ITEM],"y":"%s","x":[ITEM,MANY]}',
        '{"x":[1],"y":"%s","messages":[MANY],"x":[0,MANY]}',
        '{"x":[1],"y":"%s","messages":[],"x":[0,MANY]}',
        '{"messages":[ITEM],"y":"%s","messages":[MANY]}',
        '{"messages":{"a":1},"y":"%s","messages":[MANY]}',
        '{"messages":[MANY],"y":"%s","messages":{"a":[ITEM,MANY]}}',
        '{"y":"%s","tools":[1],"messages":[MANY],"tools":["%s"]}',
        '{"y":"%s","messages":[MANY],"tools":["%s"],"messages":[ITEM]}',
        '{"y":"%s","messages":[[ITEM,MANY]],"z":[ITEM,MANY]}',
        '{"y":"%s","messages":[MANY]}}',
        '{"y":"%s","messages":[MANY]',
        '["%s",{"messages":[MANY]}]',
    ],
)
@pytest.mark.parametrize("tail", ["", ",MANY,MANY"])
def test_odd_document_is_read_as_it_is_or_refused(text: str, tail: str) -> None:
    text = text.replace("%s", PADDING).replace("MANY", MANY).replace("ITEM", ITEM)
    parser = RequestParser()
    for body in (text, text.replace(MANY, MANY + tail.replace("MANY", MANY), 1), text):
        assert_same(parser, body.encode())


_pieces = st.sampled_from(
    [ITEM, MANY, "[", "]", "{", "}", ",", '"messages":', '"tools":', '"x":', f'"{PADDING}"', "[]", "{}", "1", ':"a"']
)


@given(st.lists(st.lists(_pieces, max_size=12), min_size=1, max_size=3))
def test_whatever_is_put_together_is_read_as_it_is(documents: list[list[str]]) -> None:
    parser = RequestParser()
    for pieces in documents:
        for shape in ('{"messages":[%s],"tools":["p"]}', '{"p":"p","messages":[MANY],%s}', "{%s}"):
            text = shape.replace("MANY", MANY) % "".join(pieces)
            assert_same(parser, text.replace('"p"', f'"{PADDING}"', 1).encode())
