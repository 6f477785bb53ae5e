"""``cc-boost usage`` as a process, on a real file and a real Postgres."""

import asyncio
import csv
import io
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ccproxy.command_line.money.table import usage_table
from ccproxy.command_line.money.usage import read_since
from ccproxy.ledger import Group, Ledger
from ccproxy_middleware.ledger import COLUMNS, Row
from support.ledger_rows import row

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "usage"]
LIMIT = 60.0
NOW = datetime.now().astimezone()
MS = timedelta(milliseconds=1)


def write(url: str, *rows: Row) -> None:
    async def run() -> None:
        ledger = Ledger(url)
        async with ledger.lifespan():
            for each in rows:
                ledger.write(each)

    asyncio.run(run())


def usage(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LEDGER": f"sqlite:///{home}/l.db", **variables}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=home, env=environment, capture_output=True, text=True, timeout=LIMIT
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With four exchanges: three of today, one of six days ago."""
    write(
        f"sqlite:///{tmp_path}/l.db",
        row(1, time=NOW - MS, session="a", cost=Decimal("0.5"), project="shop"),
        row(2, time=NOW, session="b", cost=Decimal("0.25"), model="small", project="shop"),
        row(3, time=NOW + MS, session="b", cost=None, model="free", project=None),
        row(4, time=NOW - timedelta(days=6), session="c", cost=Decimal("10"), model="small", project="shop"),
    )
    return tmp_path


def test_table_of_today_is_by_model(home: Path) -> None:
    done = usage(home)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["model", "requests", "failed", "input", "cached", "written", "output", "cost"]
    assert [line.split()[0] for line in lines[2:6]] == ["gpt-4o", "small", "free", "total"]
    assert [line.split()[-1] for line in lines[2:6]] == ["$0.5000", "$0.2500", "unknown", "$0.7500*"]
    assert lines[6] == "1 exchanges have no known cost: * is the sum of the others."
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--by", "day", "--since", "7d"), [("10", 1), ("0.75", 3)]),
        (("--by", "day", "--since", f"{NOW - timedelta(days=6):%Y-%m-%d}"), [("10", 1), ("0.75", 3)]),
        (("--by", "day", "--since", "6d"), [("0.75", 3)]),
        (("--by", "session", "--since", "30d"), [("10", 1), ("0.5", 1), ("0.25", 2)]),
        (("--by", "project"), [("0.75", 2), (None, 1)]),
        (("--by", "key"), [("0.75", 3)]),
    ],
)
def test_sums_by_column_and_since(home: Path, arguments: tuple[str, ...], expected: list[Any]) -> None:
    groups = json.loads(usage(home, *arguments, "--json").stdout)
    told = [(None if g["cost"] is None else Decimal(str(g["cost"])), g["requests"]) for g in groups]
    assert told == [(None if cost is None else Decimal(cost), count) for cost, count in expected]
    assert next(iter(groups[0])) == arguments[1]
    table = list(csv.DictReader(io.StringIO(usage(home, *arguments, "--csv").stdout)))
    assert [line["requests"] for line in table] == [str(count) for _, count in expected]


def test_rows_are_given_as_json_and_csv(home: Path) -> None:
    rows = json.loads(usage(home, "--json", "--since", "7d").stdout)
    assert [list(each) for each in rows] == [list(COLUMNS)] * 4
    assert [each["cost"] for each in rows] == [10, 0.5, 0.25, None]
    assert datetime.fromisoformat(rows[2]["time"]).timestamp() == pytest.approx(NOW.timestamp(), abs=0.001)
    table = list(csv.DictReader(io.StringIO(usage(home, "--csv", "--since", "7d").stdout)))
    assert [list(each) for each in table] == [list(COLUMNS)] * 4
    assert [each["cost"] for each in table] == ["10", "0.5", "0.25", ""]


def test_requests_that_have_lost_the_cache_are_listed(home: Path) -> None:
    url = f"sqlite:///{home}/l.db"
    assert usage(home, "--cache").stdout == "No request has lost what was cached of its session.\n"
    write(url, row(9, time=NOW, session="session-of-today", input=900, cached=100, cache_write=0, cache_break="tools"))
    lines = usage(home, "--cache").stdout.splitlines()
    assert len(lines) == 3
    assert re.search(r"session-\s+gpt-4o\s+10 % of 1\.0k\s+tools", lines[2])
    assert [each["cache_break"] for each in json.loads(usage(home, "--cache", "--json").stdout)] == ["tools"]
    assert usage(home, "--cache", "--by", "day").returncode == 2


def test_nothing_of_today_is_said(tmp_path: Path) -> None:
    write(f"sqlite:///{tmp_path}/l.db")
    assert usage(tmp_path).stdout == f"No exchange since {NOW:%Y-%m-%d}.\n"
    assert json.loads(usage(tmp_path, "--json").stdout) == []
    assert json.loads(usage(tmp_path, "--json", "--by", "day").stdout) == []
    assert usage(tmp_path, "--csv").stdout.strip() == ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "words"),
    [
        ((), {"LEDGER": ""}, 2, "LEDGER is not set: nothing is written down."),
        ((), {"LEDGER": "false"}, 2, "LEDGER is not set"),
        ((), {"LEDGER": "sqlite:///none.db"}, 1, "There is no none.db yet: the proxy makes it"),
        (
            (),
            {"LEDGER": "postgresql://u:planted@127.0.0.1:1/d"},
            1,
            "The ledger postgresql://127.0.0.1:1/d can't be read: ",
        ),
        ((), {"LEDGER": "mysql://u:planted@h/d"}, 2, "LEDGER: given ****; it begins otherwise"),
        (("--by", "colour"), {}, 2, "--by: given 'colour'; accepted: day, session, model"),
        (("--since", "yesterday"), {}, 2, "--since: given 'yesterday'; accepted: YYYY-MM-DD, or a number of days"),
        (("--since", "2026-13-01"), {}, 2, "--since: given '2026-13-01'"),
        (("--json", "--csv"), {}, 2, "--json and --csv: one of them"),
    ],
)
def test_what_can_not_be_shown_is_said_with_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], code: int, words: str
) -> None:
    done = usage(tmp_path, *arguments, **variables)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(words)
    assert "planted" not in done.stderr
    assert "Traceback" not in done.stderr


def test_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "l.db").write_text("x" * 5000)
    done = usage(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "file is not a database" in done.stderr
    (tmp_path / "l.db").write_bytes(b"")
    assert "it has no tables yet" in usage(tmp_path).stderr


def test_since_is_a_local_midnight() -> None:
    today = datetime.now().date()
    for text, days in ((None, 0), ("1d", 0), ("7d", 6), (" 30d ", 29), ("0d", 0)):
        begin = read_since(text)
        assert (begin.date(), begin.hour, begin.minute) == (today - timedelta(days=days), 0, 0)
    assert read_since("99999d").year >= 1970


@pytest.mark.parametrize("width", [30, 44, 60, 80, 120, 200])
def test_table_fits_the_terminal(width: int) -> None:
    groups = [
        Group("a-model-with-a-very-long-name/of-some-provider-preview-2026-11-28:free" * 2, *[123_456_789] * 7,
              cost=Decimal("12345.678"), priced=1),
        Group("[bold]\x1b[2Jm", 1, 0, 999, 1000, 999_950, 1, cost=Decimal("0.00004"), priced=1),
    ]  # fmt: skip
    console = Console(width=width, file=io.StringIO(), highlight=False)
    usage_table("model", groups, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    if width >= 44:
        assert "$12,345.68" in text
        assert "[bold]" in text
    assert ("reasoning" in text) == (width >= 120)
