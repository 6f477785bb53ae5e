"""Find known secrets in what a provider sends, in whatever way they are escaped, and mask them.

A provider that repeats what it was sent may escape it: JSON's ``\\/`` from PHP and ``\\u0026`` from Go, a URL's
``%2F``, HTML's ``&amp;``, each of these inside a JSON string once more, or base64.
"""

import base64
import html
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import AnyStr
from urllib.parse import quote

MIN_SECRET = 4
"""Bytes; shorter "keys" are placeholders for local servers, and parts of other words."""

MIN_SECRET_IN_TEXT = 16
"""Bytes; a model may well write "ollama"; it doesn't write a real key."""

_PLAIN = re.compile(r"[A-Za-z0-9]+")  # what nobody escapes without escaping everything
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "(?:apos|#39)"}
_SLASHES = r"\\{1,8}"  # limited, since a run of them would be read again from each of its bytes
_AMPERSAND = rf"(?:&|{_SLASHES}u0026|%26)"

# A character that is written as an escape, and an escape that the end of the data cuts off.
_SIGN = _AMPERSAND.encode()
_ESCAPED = re.compile(
    _SIGN
    + rb"(?:amp;){0,2}"
    + rb"(?:#0{0,4}(?P<decimal>[0-9]{1,3})|#[xX]0{0,4}(?P<hex>[0-9a-fA-F]{2})|(?P<named>lt|gt|quot|apos|amp));"
    rb"|\\{1,8}u00(?P<json>[0-9a-fA-F]{2})|\\{1,8}(?P<slash>[/\"'\\])|%(?:25){0,3}(?P<url>[0-9a-fA-F]{2})"
)
_CUT = re.compile(
    rb"(?:" + _SIGN + rb"[#0-9a-zA-Z;]{0,20}|\\{1,8}(?:u(?:0(?:0[0-9a-fA-F]?)?)?)?|%(?:25){0,3}[0-9a-fA-F]?)\Z"
)
_CUT_LENGTH = 40
_ESCAPED_LETTER = re.compile(  # of a letter or digit, or the beginning of one
    rb"%(?:25){0,3}(?:[3-7][0-9a-fA-F]|26)|\\u00(?:[3-7][0-9a-fA-F]|26)|&(?:amp;){0,2}#"
)
_LONGEST_ESCAPE = 32  # bytes of a character's escape
_PIECE = 8 * 1024  # bytes: the interpreter is blocked while a pattern is searched for in them, for some milliseconds
_BREAK = frozenset(b" \t\r\n{}[],")  # no escape contains one of them


class Secrets:
    """Some secrets in all their forms. It has none, and is false, if they are too short.

    shortest: secrets of fewer bytes are ignored.
    forms: the texts that a secret produces once JSON escapes are undone; a secret of 16 bytes or more also in base64,
        by itself or inside other data.
    """

    def __init__(self, secrets: Iterable[bytes], *, shortest: int = MIN_SECRET) -> None:
        known = dict.fromkeys(secret.decode("latin-1") for secret in secrets if len(secret) >= shortest)
        encoded = [core for text in known if len(text) >= MIN_SECRET_IN_TEXT for core in _base64_cores(text)]
        self.forms = tuple(dict.fromkeys(form for text in known for form in _written(text))) + tuple(
            dict.fromkeys(form for core in encoded for form in (core, _url_safe(core)))
        )
        self._cores = tuple(text.encode("latin-1") for text in (*known, *encoded))
        patterns = [_pattern(text) for text in sorted(known, key=len, reverse=True)]
        patterns += [_pattern(core, is_base64=True) for core in encoded]
        self._text_pattern = re.compile("|".join(patterns))
        self._pattern = re.compile("|".join(patterns).encode("latin-1"))
        self._hints = tuple({_hint(core).encode() for core in (*known, *encoded)})
        self._letters = frozenset(b"".join(form.encode("latin-1") for form in self.forms)) | frozenset(
            b"\\%&#;0123456789abcdefABCDEFulxXmpqotgs"
        )
        self._alphabet = bytes(self._letters - _BREAK | (frozenset(b"".join(self._cores)) & _BREAK))
        longest = max(map(len, self._cores), default=0)
        self._reach = 12 * longest  # bytes that one of them can take, with the usual escapes
        self._longest = _LONGEST_ESCAPE * longest

    def __bool__(self) -> bool:
        return bool(self._cores)

    def may_hold(self, data: bytes) -> bool:
        """Whether data may contain a secret. It costs almost nothing if it does not."""
        for hint in self._hints:
            if hint in data:
                return True
        if b"%" in data or (b"\\" in data and b"\\u00" in data) or (b"&" in data and b"#" in data):
            pieces = range(0, len(data), _PIECE)
            return any(_ESCAPED_LETTER.search(data, at, at + _PIECE + _LONGEST_ESCAPE) for at in pieces)
        return False

    def redact(self, data: bytes, mask: bytes = b"") -> bytes:
        """The same data with each secret replaced by as many asterisks, so that a ``content-length`` stays correct."""
        if not self._cores or not self.may_hold(data):
            return data
        out: list[bytes] = []
        at = 0
        for start, end in self._found(self._pattern, data):
            out += (data[at:start], mask or b"*" * (end - start))
            at = end
        return b"".join((*out, data[at:])) if out else data

    def places(self, text: str) -> list[tuple[int, int]]:
        """The secrets' positions in a text whose JSON escapes are undone: the start and the end of each."""
        return list(self._found(self._text_pattern, text)) if self.may_hold(text.encode(errors="replace")) else []

    def _found(self, pattern: re.Pattern[AnyStr], data: AnyStr) -> Iterator[tuple[int, int]]:
        """The positions of all matches of a pattern. Other threads may run after each piece of the data."""
        at = 0
        while at < len(data):
            end = at + _PIECE
            for found in pattern.finditer(data, at, end + self._longest):
                if found.start() >= end:
                    break
                yield found.span()
                at = found.end()
            at = max(at, end)

    def open_end(self, data: bytes) -> int:
        """How many bytes at the end of data may be the beginning of a secret."""
        tail = data[-self._reach :]
        tail = tail[len(tail.rstrip(self._alphabet)) :]
        if not tail:
            return 0
        cut = _CUT.search(tail, max(0, len(tail) - _CUT_LENGTH))
        end = cut.start() if cut else len(tail)
        letters, starts = _unescape(tail[:end])
        both = (letters, letters.translate(_FROM_URL_SAFE))
        held = len(tail) - end
        for core in self._cores:
            for size in range(min(len(core) - 1, len(letters)), 0, -1):
                if any(each.endswith(core[:size]) for each in both):
                    held = max(held, len(tail) - starts[len(letters) - size])
                    break
        return held


@lru_cache(maxsize=64)
def known_secrets(secrets: tuple[bytes, ...], shortest: int = MIN_SECRET) -> Secrets:
    """One object for all requests that carry the same secrets."""
    return Secrets(secrets, shortest=shortest)


def header_secrets(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The secrets in headers whose names indicate one: every part of a cookie or of a Digest is a secret."""
    found: list[bytes] = []
    for name, value in headers:
        if _CREDENTIAL.search(name):
            found += _parts(value)
    return list(dict.fromkeys(found))


def _parts(value: bytes) -> list[bytes]:
    scheme, _, rest = value.strip().rpartition(b" ")
    if b"=" not in value.rstrip(b"=") and b";" not in value and b"," not in value:  # a token, perhaps after a scheme
        parts = [rest]
        if scheme.lower() == b"basic":
            with suppress(ValueError):
                parts += base64.b64decode(rest, validate=True).partition(b":")[::2]
        return [part for part in parts if len(part) >= MIN_SECRET]
    parts = []
    for field in _FIELD.finditer(value):
        if (field["name"] or b"").lower() not in _PUBLIC:
            parts.append((field["quoted"] or field["plain"] or b"").strip())
    return [part for part in parts if len(part) >= _MIN_PART]


_CREDENTIAL = re.compile(rb"(?i)key|token|secret|auth|passw|credential|cookie|signature|session")
_FIELD = re.compile(rb"(?:(?P<name>[^=;,\s\"]{1,100})=)?(?:\"(?P<quoted>[^\"]*)\"|(?P<plain>[^;,\s\"]+))")
_PUBLIC = frozenset((b"realm", b"uri", b"algorithm", b"qop", b"username", b"path", b"domain", b"expires", b"max-age"))
_MIN_PART = 8  # bytes; a word such as "auth" among several parts would be removed from every message

_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = str.maketrans("+/", "-_")


def _url_safe(text: str) -> str:
    return text.translate(_TO_URL_SAFE)


def _base64_cores(text: str) -> list[str]:
    """The base64 characters that represent the text, for each position in a group of three bytes at which it may
    begin.
    """
    data = text.encode("latin-1")
    cores = []
    for before in range(3):
        written = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        whole = (before + len(data)) // 3 * 4  # part of the last group depends on what follows
        cores.append(written[-(-before * 8 // 6) : whole] if before else written[:whole])
    return cores


def _written(text: str) -> list[str]:
    """The text as it may appear in a JSON string whose own escapes are undone."""
    urls = [quote(text, safe=""), "".join(f"%{ord(char):02x}" for char in text)]
    pages = [html.escape(text), "".join(f"&#{ord(char)};" for char in text)]
    inner = [re.sub(r'([/"\\])', r"\\\1", text), "".join(f"\\u{ord(char):04x}" for char in text)]
    return [text, *urls, *pages, *inner]


def _hint(text: str) -> str:
    """The longest part of a secret that appears unchanged in every form except one that escapes everything."""
    return max(_PLAIN.findall(text), key=len, default="")


def _pattern(text: str, *, is_base64: bool = False) -> str:
    return "".join(_letter(char, is_base64) for char in text)


def _letter(char: str, is_base64: bool) -> str:
    """A pattern for one character in all the ways in which it may be written."""
    if is_base64 and char in "+/":
        return f"(?:{_letter(char, False)}|{'-' if char == '+' else '_'})"
    code = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{ord(char):02x}")
    ways = [
        re.escape(char),
        rf"{_SLASHES}u00{code}",
        rf"%(?:25){{0,3}}{code}",
        rf"{_AMPERSAND}(?:amp;){{0,2}}\#(?:0{{0,4}}{ord(char)}|[xX]0{{0,4}}{code});",
    ]
    if char in "/\"'\\":
        ways.append(_SLASHES + re.escape(char))
    if char in _NAMED:
        ways.append(f"{_AMPERSAND}(?:amp;){{0,2}}{_NAMED[char]};")
    if char == "&":
        ways.reverse()  # the entity, if it is one
    return f"(?:{'|'.join(ways)})"


def _unescape(data: bytes) -> tuple[bytes, list[int]]:
    """The characters that some bytes represent, and where each begins."""
    letters = bytearray()
    starts: list[int] = []
    at = 0
    for found in _ESCAPED.finditer(data):
        starts.extend(range(at, found.start()))
        letters += data[at : found.start()]
        starts.append(found.start())
        letters.append(_character(found))
        at = found.end()
    starts.extend(range(at, len(data)))
    return bytes(letters + data[at:]), starts


def _character(found: re.Match[bytes]) -> int:
    kind, value = found.lastgroup, found[found.lastgroup or 0]
    match kind:
        case "decimal":
            return int(value) & 0xFF
        case "slash":
            return value[0]
        case "named":
            return ord(html.unescape(f"&{value.decode()};"))
        case _:
            return int(value, 16)
