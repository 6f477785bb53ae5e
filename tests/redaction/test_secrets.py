"""Known secrets in every way in which a provider may write them: in bodies, and over the events of a stream."""

import base64
import html
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from ccproxy_middleware.redaction.events import EventRedactor
from ccproxy_middleware.redaction.secrets import Secrets, header_secrets

KEY = "prov/0123456789+abcdef&XYZ<>=="
FORMS = {
    "as it is": KEY,
    "JSON of PHP": KEY.replace("/", "\\/"),
    "JSON of Go": KEY.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003E"),
    "JSON escapes alone": "".join(f"\\u{ord(char):04x}" for char in KEY),
    "JSON in JSON": json.dumps(json.dumps({"key": KEY.replace("/", "\\/")}))[1:-1],
    "URL": quote(KEY, safe=""),
    "URL in a URL": quote(quote(KEY, safe=""), safe=""),
    "lower-case URL": quote(KEY, safe="").replace("%2F", "%2f"),
    "URL escapes alone": "".join(f"%{ord(char):02x}" for char in KEY),
    "HTML": html.escape(KEY),
    "HTML in JSON of Go": html.escape(KEY).replace("&", "\\u0026"),
    "HTML by numbers": "".join(f"&#{ord(char)};" for char in KEY),
    "HTML by hexadecimal numbers": "".join(f"&#x{ord(char):X};" for char in KEY),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 of PHP": base64.b64encode(KEY.encode()).decode().replace("/", "\\/"),
    "a mixture": "p\\u0072ov%2F0123456789+abcdef\\u0026amp;XYZ&lt;\\u003e==",
}
SECRETS = Secrets([KEY.encode()], shortest=16)


def passed(data: bytes, sizes: list[int]) -> bytes:
    """What comes out of data that comes in pieces of these sizes, over and over."""
    out, held, at, n = b"", b"", 0, 0
    while at < len(data):
        size = sizes[n % len(sizes)]
        whole = SECRETS.redact(held + data[at : at + size])
        kept = SECRETS.open_end(whole)
        out, held = out + whole[: len(whole) - kept], whole[len(whole) - kept :]
        at, n = at + size, n + 1
    return out + held


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_secret_is_covered_in_every_form(form: str) -> None:
    data = f'{{"a": "you sent {form} here"}}'.encode()
    covered = SECRETS.redact(data)
    assert len(covered) == len(data)
    assert covered.startswith(b'{"a": "you sent ')
    assert covered.endswith(b' here"}')
    assert b"6789" not in covered
    assert covered.count(b"*") >= len(KEY)
    for sizes in ([1], [2, 3], [7], *([cut, len(data)] for cut in range(1, len(data)))):
        assert passed(data, sizes) == covered, sizes


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "Bearer "])
@pytest.mark.parametrize("after", ["", "x", ":pass"])
def test_secret_is_covered_within_base64_of_more(before: str, after: str) -> None:
    data = base64.b64encode(f"{before}{KEY}{after}".encode())
    covered = SECRETS.redact(data)
    rest = base64.b64decode(covered.replace(b"*", b"A"))
    assert b"0123456789+abcdef&XYZ" not in rest
    assert covered.count(b"*") >= len(base64.b64encode(KEY.encode())) - 8


def test_text_without_a_secret_is_the_same() -> None:
    for data in (b"100% of &amp; \\u0026 \\/ &#38;", b"prov/0123456789", b"", "größe".encode()):
        assert SECRETS.redact(data) is data or SECRETS.redact(data) == data


def test_short_secret_is_taken_out_as_it_is_but_not_in_base64() -> None:
    short = Secrets([b"ollama"])
    assert short.redact(b"ollama b2xsYW1h") == b"****** b2xsYW1h"
    assert not Secrets([b"ollama"], shortest=16)
    assert not Secrets([b"abc"])


@pytest.mark.parametrize(
    "unit", [b"\\", b"%25", b"&amp;", b"&#0000", b"\\u0026amp;", b"prov/0123456789+", b"\\u0070", b"p", b"%"]
)
def test_work_grows_with_the_length_alone(unit: bytes) -> None:
    """The end that is looked at is short, however long the data."""
    data = unit * 20_000
    assert SECRETS.open_end(SECRETS.redact(data)) <= 12 * len(KEY) * 2


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("x-gateway-token", "Bearer abcd1234", ["abcd1234"]),
        ("x-api-key", "abcd", ["abcd"]),
        ("cookie", "session=s3cr3tSESSION; route=r0ute0123;a=b", ["s3cr3tSESSION", "r0ute0123"]),
        ("x-auth", 'Digest username="somebody", response="r3sp0nse01", opaque=0paque0123, qop=auth',
         ["r3sp0nse01", "0paque0123"]),
        ("authorization", "Basic dXNlcjpwYXNzd29yZA==", ["dXNlcjpwYXNzd29yZA==", "user", "password"]),
        ("x-signature", "keyId=somebody01,signature=abcdefgh==", ["somebody01", "abcdefgh=="]),
        ("x-token", "abcdefgh==", ["abcdefgh=="]),
        ("x-team", "blue-and-green", []),
    ],
)  # fmt: skip
def test_every_part_of_a_header_that_holds_secrets_is_one(name: str, value: str, found: list[str]) -> None:
    assert header_secrets([(name.encode(), value.encode())]) == [part.encode() for part in found]


def chat(text: str) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "c", "choices": [delta]}, ensure_ascii=False).encode() + b"\n\n"


def tool(text: str, index: int = 1) -> bytes:
    calls = [{"index": index, "function": {"arguments": text}}]
    return (
        b"data: "
        + json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": calls}}]}).encode()
        + b"\n\n"
    )


def anthropic(text: str) -> bytes:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\r\ndata: " + json.dumps(event).encode() + b"\r\n\r\n"


def told(stream: bytes) -> str:
    """What the strings of the events make together, without those of the tool call 0."""
    texts = []
    for line in stream.replace(b"\r", b"").split(b"\n"):
        event: Any = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        delta = event.get("delta") or (event.get("choices") or [{}])[0].get("delta", {})
        texts += [delta.get("content") or delta.get("text") or ""]
        texts += [call["function"]["arguments"] for call in delta.get("tool_calls", ()) if call["index"]]
    return "".join(texts)


def relayed(stream: bytes, sizes: list[int]) -> bytes:
    redactor, out, at, n = EventRedactor(SECRETS), b"", 0, 0
    while at < len(stream):
        out += redactor.feed(stream[at : at + sizes[n % len(sizes)]])
        at, n = at + sizes[n % len(sizes)], n + 1
    return out + redactor.finish()


SPLIT = {name: FORMS[name] for name in ("as it is", "JSON of PHP", "JSON of Go", "URL", "HTML", "base64")}


@pytest.mark.parametrize("form", SPLIT.values(), ids=list(SPLIT))
@pytest.mark.parametrize("event", [chat, tool, anthropic])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_secret_is_covered_where_events_share_it(form: str, event: Any, size: int) -> None:
    text = f"Your key is {form}, provided."
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    events = [event("Well. "), event("And so. "), *map(event, pieces), b"data: [DONE]\n\n"]
    stream = b"".join(events)
    for sizes in ([len(stream)], [1], [len(each) for each in events], [50, 3]):
        out = relayed(stream, sizes)
        seen = told(out)
        assert seen.startswith("Well. And so. Your key is ")
        assert seen.endswith(", provided.")
        covered = seen.removeprefix("Well. And so. Your key is ").removesuffix(", provided.")
        assert covered[3:].strip("*=\\") == "", covered
        assert out.endswith(b"data: [DONE]\n\n")


def test_streams_at_random_lose_the_secret_and_nothing_else() -> None:
    words = ["hello ", "pro", "prov", "p", "ünïcode ", "\n", '"q" ', "prov/0123", " % & ", "0123456789"]
    for seed in range(300):
        rnd = random.Random(seed)  # noqa: S311
        before = "".join(rnd.choices(words, k=rnd.randrange(8))) + " "
        after = " " + "".join(rnd.choices(words, k=rnd.randrange(8)))
        text = before + rnd.choice(list(SPLIT.values())) + after
        write, stream, at = rnd.choice([chat, tool, anthropic]), b"", 0
        while at < len(text):
            size = rnd.choice([1, 1, 2, 3, 5, 9, 40])
            stream += write(text[at : at + size]) + rnd.choice([b"", b"", b": ping\n\n", tool("prov", 0)])
            at += size
        seen = told(relayed(stream, rnd.choices([1, 7, 50, 300, 5000], k=5)))
        assert seen.startswith(before), seed
        assert seen.endswith(after), seed
        assert "6789" not in seen[len(before) : len(seen) - len(after)], seed


def test_events_without_a_secret_go_out_at_once_and_as_they_came() -> None:
    redactor = EventRedactor(SECRETS)
    for text in ("a", "b", "pro", "ven ", "p", "é\n", '"', "100%", "prox/", "0123456789"):
        event = chat(text)
        assert redactor.feed(event) == event
    for event in (b": ping\n\n", b"data: no JSON\n\n", b"data: 1\ndata: 2\n\n", b"\n\n", b"data: [DONE]\n\n"):
        assert redactor.feed(event) == event


def test_event_is_held_back_until_the_next_shows_whether_a_secret_goes_on() -> None:
    redactor = EventRedactor(SECRETS)
    assert redactor.feed(chat("as prov")) == b""
    assert redactor.feed(chat("ided")) == chat("as prov") + chat("ided")
    assert redactor.feed(chat("as prov/0")) == b""
    assert redactor.finish() == chat("as prov/0")


def test_little_is_held_back_however_long_the_provider_says_something_else() -> None:
    redactor = EventRedactor(SECRETS)
    events = [chat("prov/0"), *[tool("x", n) for n in range(2000)]]
    came = [redactor.feed(event) for event in events]
    assert sum(map(len, came)) > sum(map(len, events)) - 300 * len(events[-1])
    assert b"".join(came) + redactor.finish() == b"".join(events)


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_secret_is_covered_wherever_it_stands_in_large_data(form: str) -> None:
    for size in range(8 * 1024 - len(form) - 1, 8 * 1024 + 2, 5):
        filler = b"%" * size
        covered = SECRETS.redact(filler + form.encode() + filler)
        assert covered.startswith(filler)
        assert covered.endswith(filler)
        assert covered[size:-size].count(b"*") >= len(KEY), size


def test_sequences_without_a_letter_are_no_secrets_escapes() -> None:
    for text in (b"%", b"%2", b"100 %", b"%2F", b"\\u0022", b"&", b"&lt;", b"&amp; #"):
        assert not SECRETS.may_hold(text * 1000), text
    for text in (
        b"%70",
        b"%2570",
        b"%2570".replace(b"%", b"%25"),
        b"\\u0070",
        b"&#112;",
        b"&amp;#x70;",
        b"\\u0026#112;",
    ):
        assert SECRETS.may_hold(b"x" * 10_000 + text), text


def test_all_secrets_of_one_text_are_covered() -> None:
    form = "".join("\\" * 16 + f"u{ord(char):04x}" for char in KEY)  # the string has eight of them before the u
    out = relayed(chat_json(form * 200), [100_000])
    text = json.loads(out[6:])["choices"][0]["delta"]["content"]
    assert set(text) == {"*"}


def chat_json(content: str) -> bytes:
    """An event whose content stands there as it is written here."""
    return b'data: {"choices":[{"index":0,"delta":{"content":"' + content.encode() + b'"}}]}\n\n'


def test_end_of_a_large_event_takes_long_and_nothing_else_does() -> None:
    redactor = EventRedactor(SECRETS)
    assert not redactor.takes_long(chat("a" * 30_000))
    for _ in range(3):
        assert not redactor.takes_long(b"a" * 30_000)
        redactor.feed(b"a" * 30_000)
    assert not redactor.takes_long(b"a")
    assert redactor.takes_long(b"a\n\n")
    assert redactor.takes_long(b"a\r\r")
    assert redactor.holds_much
    redactor.feed(b"\n\n")
    assert not redactor.holds_much
