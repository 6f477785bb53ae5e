"""``PRICES_FILE``: the user's own prices in TOML, for models missing elsewhere or billed differently here."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .rates import Rates

_NAMES = ("provider", "model")
_NEEDED = ("input", "output")
_PRICES = ("input", "cached", "cache_write", "output")
_FIELDS = (*_NAMES, *_PRICES)
_MOST = Decimal(1_000_000)  # dollars per million tokens


class BadPrices(ValueError):
    """The file is invalid. There is a line for each problem, which names the file, the entry and the field."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class FilePrices:
    """Prices by provider (the name of a profile or an upstream) and model, both in lower case."""

    rates: Mapping[tuple[str, str], Rates]

    def find(self, providers: tuple[str, ...], models: tuple[str, ...]) -> Rates | None:
        """The prices of the first of these models that has one under any of its provider's names."""
        for model in models:
            for provider in providers:
                if (found := self.rates.get((provider.lower(), model.lower()))) is not None:
                    return found
        return None


class PricesFile(str):
    """The name of the file, and the prices in it once they are read."""

    prices: FilePrices | None = None

    def read(self, beside: Path) -> None:
        """Read the prices. A relative name is looked up in the working directory, then in the folder ``beside``.

        Raises BadPrices.
        """
        path = Path(self).expanduser()
        if not path.is_absolute() and not path.exists() and (beside / path).exists():
            path = beside / path
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
            raise BadPrices(
                [f"PRICES_FILE: {str(self)[:200]!r} can't be read: {reason}; accepted: a TOML file"]
            ) from None
        self.prices = parse_prices(text, str(self))


def parse_prices(text: str, path: str) -> FilePrices:
    """The prices in a text. ``path`` is for the messages. Raises BadPrices."""
    try:
        tables = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadPrices([f"{path}: it is no TOML: {error}"]) from None
    problems = [f"{path}: {name}: {_unknown(name, ('price',), '[[price]]')}" for name in tables if name != "price"]
    entries = tables.get("price", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadPrices([*problems, f"{path}: price: an entry begins with [[price]]"])
    rates: dict[tuple[str, str], Rates] = {}
    for number, entry in enumerate(entries, 1):
        place = f"{path}, entry {number}"
        if isinstance(entry.get("model"), str):
            place += f" ({entry['model'][:80]})"
        wrong = [f"{place}: {problem}" for problem in _problems(entry)]
        key = (str(entry.get("provider")).lower(), str(entry.get("model")).lower())
        if not wrong and key in rates:
            wrong.append(f"{place}: model: there is a price for it already")
        problems += wrong
        if not wrong:
            rates[key] = Rates(**{name: Decimal(entry[name]) for name in _PRICES if name in entry})
    if problems:
        raise BadPrices(problems)
    return FilePrices(rates)


def _problems(entry: Mapping[str, Any]) -> list[str]:
    found = [f"{name}: {_unknown(name, _FIELDS, ', '.join(_FIELDS))}" for name in entry if name not in _FIELDS]
    for name in _NAMES:
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            found.append(f"{name}: it needs the name of a {name}, as a text")
    for name in _PRICES:
        value = entry.get(name)
        if value is None:
            if name in _NEEDED:
                found.append(f"{name}: it is missing; accepted: US dollars for a million tokens")
        elif isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            found.append(f"{name}: it is no number; accepted: US dollars for a million tokens")
        elif not Decimal(value).is_finite() or not 0 <= value <= _MOST:
            found.append(f"{name}: accepted: US dollars for a million tokens, from 0 to {_MOST}")
    return found


def _unknown(name: str, known: tuple[str, ...], there: str) -> str:
    close = get_close_matches(name, known, n=1)
    return "there is no such field" + (f". Do you mean {close[0]}?" if close else f"; there are {there}")
