"""Sums from the ledger as a table that fits the terminal."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.table import Table

from ccproxy_middleware.ledger import Row

from ...ledger import Group
from .status_line import short

_COLUMNS: Sequence[tuple[str, int, Callable[[Group], str]]] = (
    ("requests", 1, lambda group: f"{group.requests:,}"),
    ("failed", 4, lambda group: f"{group.failed:,}" if group.failed else ""),
    ("input", 0, lambda group: short(group.input)),
    ("cached", 2, lambda group: _share(group)),
    ("written", 5, lambda group: short(group.cache_write) if group.cache_write else ""),
    ("output", 0, lambda group: short(group.output)),
    ("reasoning", 6, lambda group: short(group.reasoning) if group.reasoning else ""),
    ("cost", 0, lambda group: _cost(group)),
)
"""Heading, order of removal if there is no room (the largest first; 0: never), and text."""

_LEAST_NAME = 12
_SPACE = 2


def usage_table(by: str, groups: Sequence[Group], console: Console | None = None) -> None:
    """Print the table, with a total if it has more than one row."""
    console = console or Console(highlight=False)
    total = Group("total")
    for group in groups:
        total.add(group)
    lines = [*groups, *([total] if len(groups) > 1 else [])]
    columns = list(_COLUMNS)
    names = [group.name or "-" for group in lines]
    while _width(columns, lines) + _LEAST_NAME > console.width and (most := max(columns, key=lambda c: c[1]))[1]:
        columns.remove(most)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _SPACE - 1, 0, 0), show_edge=False)
    room = max(console.width - _width(columns, lines), 8)
    table.add_column(by, no_wrap=True, overflow="ellipsis", max_width=room)
    for heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, group in zip(names, lines, strict=True):
        style = "bold" if group is total else None
        table.add_row(_plain(name), *(text(group) for _, _, text in columns), style=style)
    console.print(table)
    if total.unpriced:
        console.print(f"{total.unpriced:,} exchanges have no known cost: * is the sum of the others.")


def breaks_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the requests that read less from the cache than earlier ones, and where they first differ."""
    console = console or Console(highlight=False)
    if not rows:
        return console.print("No request has lost what was cached of its session.")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("time", no_wrap=True)
    table.add_column("session", no_wrap=True, overflow="ellipsis")
    table.add_column("model", no_wrap=True, overflow="ellipsis")
    table.add_column("cached", justify="right", no_wrap=True)
    table.add_column("differs at", no_wrap=True)
    for row in rows:
        everything = (row.input or 0) + (row.cached or 0) + (row.cache_write or 0)
        share = f"{100 * (row.cached or 0) / everything:.0f} % of {short(everything)}" if everything else ""
        names = (_plain((row.session or "-")[:8]), _plain(row.model or "-"))
        table.add_row(f"{row.time.astimezone():%m-%d %H:%M:%S}", *names, share, _plain(row.cache_break or ""))
    console.print(table)


def _width(columns: Sequence[tuple[str, int, Callable[[Group], str]]], groups: Sequence[Group]) -> int:
    """The width of all columns except the first."""
    return sum(_SPACE + max(len(heading), *(len(text(group)) for group in groups)) for heading, _, text in columns)


def _share(group: Group) -> str:
    """The tokens read from a cache, and their share of the input."""
    everything = group.input + group.cached + group.cache_write
    return f"{short(group.cached)} ({100 * group.cached / everything:.0f} %)" if group.cached and everything else ""


def _cost(group: Group) -> str:
    if not group.priced:
        return "unknown" if group.unpriced else ""
    digits = 2 if group.cost >= 1 else 4
    text = f"${group.cost.quantize(Decimal(1).scaleb(-digits)):,}"
    return f"{text}*" if group.unpriced else text


def _plain(name: str) -> str:
    """A name without rich markup or terminal control characters."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else "?" for char in name))
