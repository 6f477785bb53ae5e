"""The entries of a keys file, checked field by field."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from typing import Any

from ccproxy_middleware import ClientKey, KeyLimits

from ..configuration import ConfigurationError

TIERS = ("big", "middle", "small")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """An entry: the key, and what it permits."""

    key: ClientKey
    limits: KeyLimits


def parse_keys(text: str, path: str) -> tuple[KeyEntry, ...]:
    """The entries of a TOML text. ``path`` is for the messages. Raises ConfigurationError with all problems."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: it is no TOML: {error}"]) from None
    except RecursionError:
        raise ConfigurationError([f"{path}: it is nested too deeply"]) from None
    problems = [f"{path}, {name}: {_unknown(name, ('key',))}" for name in tables if name != "key"]
    given = tables.get("key", [])
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        raise ConfigurationError([*problems, f"{path}, key: an entry begins with [[key]]"])
    entries: list[KeyEntry] = []
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for number, table in enumerate(given, 1):
        reader = _Reader(table, f"{path}, entry {number}")
        entry = reader.read()
        problems += reader.problems
        if entry is None:
            continue
        if (other := names.setdefault(entry.key.name, number)) != number:
            problems.append(f"{reader.place}, name: entry {other} has the same")
        if (other := digests.setdefault(entry.key.digest, number)) != number:
            problems.append(f"{reader.place}, {'key' if 'key' in table else 'sha256'}: entry {other} has the same key")
        entries.append(entry)
    if problems:
        raise ConfigurationError(problems)
    return tuple(entries)


class _Reader:
    """Reads one entry and collects its problems."""

    def __init__(self, table: Mapping[str, Any], place: str) -> None:
        self._table = table
        name = table.get("name")
        self.place = f"{place} ({name})" if isinstance(name, str) and NAME.fullmatch(name) else place
        self.problems: list[str] = []

    def read(self) -> KeyEntry | None:
        self.problems += [
            f"{self.place}, {field}: {_unknown(field, tuple(FIELDS))}" for field in self._table if field not in FIELDS
        ]
        values = {field: self._value(field, read) for field, read in FIELDS.items() if field in self._table}
        if "name" not in self._table:
            self.problems.append(f"{self.place}, name: an entry needs one")
        if "key" in self._table and "sha256" in self._table:
            self.problems.append(f"{self.place}, sha256: an entry has key or sha256, not both")
        elif "key" not in self._table and "sha256" not in self._table:
            self.problems.append(f"{self.place}, key: an entry needs key, or the sha256 of one")
        if self.problems:
            return None
        text = values.pop("key", None)
        digest = values.pop("sha256", None) or sha256(text.encode()).digest()
        name, expires, revoked = values.pop("name"), values.pop("expires", None), values.pop("revoked", False)
        return KeyEntry(ClientKey(name, digest, expires, revoked, text), KeyLimits(**values))

    def _value(self, field: str, read: Callable[[Any], Any]) -> Any:
        try:
            return read(self._table[field])
        except ValueError as error:
            self.problems.append(f"{self.place}, {field}: {error}")
            return None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError("accepted: up to 64 letters, digits and the characters . _ @ + -, a letter or digit first")
    return value


def _key(value: Any) -> str:
    if not isinstance(value, str) or not value or not all("!" <= char <= "~" for char in value):
        raise ValueError("accepted: a key of printable ASCII characters without spaces")
    return value


def _digest(value: Any) -> bytes:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError("accepted: the SHA-256 of a key, as 64 hexadecimal digits")
    return bytes.fromhex(value)


def _moment(value: Any) -> datetime:
    """A date means its first moment. A time without a time zone is in UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError("accepted: a date or a time of TOML, without quotes, such as 2027-01-31")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("accepted: true or false")
    return value


def _words(value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError("accepted: a text or a list of texts")
    return tuple(dict.fromkeys(word.strip() for word in words))


def _tiers(value: Any) -> tuple[str, ...]:
    words = _words(value)
    for word in words:
        if word not in TIERS:
            raise ValueError(f"given {word!r}; accepted: one or several of {', '.join(TIERS)}")
    return words


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_COUNT:
        raise ValueError("accepted: a whole number of at least 1")
    return value


def _dollars(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < _MAX_COUNT:
        raise ValueError("accepted: a number of US dollars above 0")
    return Decimal(str(value))


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "name": _name,
    "key": _key,
    "sha256": _digest,
    "expires": _moment,
    "revoked": _truth,
    "tiers": _tiers,
    "models": _words,
    "requests_per_minute": _count,
    "tokens_per_minute": _count,
    "usd_per_day": _dollars,
    "usd_per_month": _dollars,
}
"""The fields of an entry, each with the function that reads it or raises ValueError."""


def _unknown(field: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(field, known, n=1)
    if close:
        return f"there is no such field. Do you mean {close[0]}?"
    return f"there is no such field; there are {', '.join(known)}"
