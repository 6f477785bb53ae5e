"""``cc-boost usage``: usage and cost from the ledger."""

import asyncio
import csv
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from ccproxy_middleware.ledger import COLUMNS, Row

from ...ledger import GROUPS, Group, Ledger
from ...serving import EXIT_CANT_START, EXIT_CONFIGURATION, fail
from .table import breaks_table, usage_table

if TYPE_CHECKING:
    from ...settings import Settings

_DAYS = re.compile(r"(\d{1,5})d")
_NOT_SET = (
    "LEDGER is not set: nothing is written down. LEDGER=true keeps a row of numbers for each exchange, in a file of "
    "yours; docs/money.md tells more."
)


def show_usage(
    settings: "Settings", *, by: str | None, since: str | None, as_json: bool, as_csv: bool, breaks: bool = False
) -> int:
    """Print the usage and return the exit code: 0, or 1 if the ledger can't be read.

    ``by``: one of GROUPS. Without it, JSON and CSV list the rows themselves, and the table is by model. ``since``: a
    day,
    or ``7d``; the default is today. ``breaks``: the rows that read less from the cache than earlier ones, and where
    they
    differ. Exits with code 2 for other values, and if LEDGER is not set.
    """
    if by is not None and by not in GROUPS:
        fail(f"--by: given {by!r}; accepted: {', '.join(GROUPS)}", EXIT_CONFIGURATION)
    if as_json and as_csv:
        fail("--json and --csv: one of them", EXIT_CONFIGURATION)
    if breaks and by is not None:
        fail("--cache shows single requests: leave --by out", EXIT_CONFIGURATION)
    begin = read_since(since)
    if settings.ledger is None:
        fail(_NOT_SET, EXIT_CONFIGURATION)
    url = settings.ledger.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite") and not (path := Path(unquote(parts.path[1:]))).is_file():
        fail(f"There is no {path} yet: the proxy makes it when it is started with LEDGER.", EXIT_CANT_START)
    try:
        asyncio.run(_show(Ledger(url), by, begin, as_json=as_json, as_csv=as_csv, breaks=breaks))
    except BrokenPipeError:  # such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        _fail_to_read(url, error)
    return 0


def read_since(text: str | None) -> datetime:
    """The local midnight at which a day begins: today, a given date, or the first of a number of days.

    Exits with code 2 for any other text.
    """
    today = datetime.now().date()
    if text is None:
        day = today
    elif days := _DAYS.fullmatch(text.strip()):
        day = max(today - timedelta(days=max(1, int(days[1])) - 1), date(1971, 1, 1))
    else:
        try:
            day = date.fromisoformat(text.strip())
        except ValueError:
            fail(
                f"--since: given {text[:40]!r}; accepted: YYYY-MM-DD, or a number of days such as 7d",
                EXIT_CONFIGURATION,
            )
    return datetime.combine(max(day, date(1971, 1, 1)), time()).astimezone()


async def _show(ledger: Ledger, by: str | None, since: datetime, *, as_json: bool, as_csv: bool, breaks: bool) -> None:
    try:
        rows = ledger.rows(since, breaks=breaks)
        if (as_json or as_csv) and by is None:
            return await (_print_json if as_json else _print_csv)(rows)
        if breaks:
            breaks_table([row async for row in rows])
            return
        groups = await ledger.groups(by or "model", since)
    finally:
        await ledger.aclose()
    if as_json:
        print(json.dumps([_document(by or "model", group) for group in groups], indent=2))
    elif as_csv:
        writer = csv.writer(sys.stdout)
        documents = [_document(by or "model", group) for group in groups]
        writer.writerow(documents[0] if documents else _document(by or "model", Group(None)))
        writer.writerows(document.values() for document in documents)
    elif groups:
        usage_table(by or "model", groups)
    else:
        print(f"No exchange since {since:%Y-%m-%d}.")


async def _print_json(rows: AsyncIterator[Row]) -> None:
    """Print the rows as one array, writing each as it is read."""
    print("[", end="")
    first = True
    async for row in rows:
        print(("\n  " if first else ",\n  ") + json.dumps(row_values(row)), end="")
        first = False
    print("\n]" if not first else "]")


async def _print_csv(rows: AsyncIterator[Row]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    async for row in rows:
        values = row_values(row)
        cost = None if row.cost is None else f"{row.cost.normalize():f}"
        writer.writerow(cost if name == "cost" else value for name, value in values.items())


def row_values(row: Row) -> dict[str, Any]:
    """A row as JSON values, by column name."""
    values = {name: getattr(row, "class_" if name == "class" else name) for name in COLUMNS}
    values["time"] = row.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values["cost"] = None if row.cost is None else float(row.cost)
    return values


def _document(by: str, group: Group) -> dict[str, Any]:
    return {
        by: group.name,
        "requests": group.requests,
        "failed": group.failed,
        "input": group.input,
        "cached": group.cached,
        "cache_write": group.cache_write,
        "output": group.output,
        "reasoning": group.reasoning,
        "cost": float(group.cost) if group.priced else None,
        "unpriced": group.unpriced,
    }


def _fail_to_read(url: str, error: Exception) -> NoReturn:
    original = getattr(error, "orig", None) or error
    words = (str(original).strip().splitlines() or [""])[0]
    parts = urlsplit(url)
    secret = parts.password
    if secret:
        words = words.replace(secret, "****").replace(unquote(secret), "****")
    if "no such table" in words or ("does not exist" in words and "relation" in words):
        words = "it has no tables yet; the proxy makes them when it is started with LEDGER"
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    fail(f"The ledger {place} can't be read: {words or type(original).__name__}", EXIT_CANT_START)
