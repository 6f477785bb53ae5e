"""``cc-boost statusline``: what it shows, from where it knows it, and that it never fails."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy.command_line.money.status_line import short, status_line
from ccproxy.ledger import Ledger
from ccproxy_middleware.ledger import Row
from support.ledger_rows import row
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.process import request_body
from support.serving.proxied import proxied

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "statusline"]
LIMIT = 60.0
TOLD = {
    "session_id": "s-1",
    "model": {"id": "claude-opus-4-8", "display_name": "Opus 4.8"},
    "context_window": {"context_window_size": 200_000, "used_percentage": 37.4},
}
KEY = "planted-client-key"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


def shown(home: Path, told: Any = TOLD, *arguments: str, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*", **variables}
    text = told if isinstance(told, str) else json.dumps(told)
    done = subprocess.run(
        [*COMMAND, *arguments], input=text, cwd=home, env=environment, capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def write(url: str, *rows: Row) -> None:
    async def run() -> None:
        ledger = Ledger(url)
        async with ledger.lifespan():
            for each in rows:
                ledger.write(each)

    asyncio.run(run())


def test_line_is_of_the_session_by_the_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/l.db"
    other = row(3, session="other", cost=Decimal(5))
    write(url, row(1, cost=Decimal("0.5")), row(2, cost=Decimal("0.75"), model="big", upstream="near"), other)
    assert shown(tmp_path, LEDGER=url) == "$1.25 | 246 in, 20 out | big at near | 37 % of 200k\n"


def test_ledger_is_found_by_the_users_own_file(tmp_path: Path) -> None:
    write(f"sqlite:///{tmp_path}/.local/share/cc-boost/ledger.db", row(1, cost=Decimal("0.5")))
    settings = tmp_path / ".config/cc-boost/.env"
    settings.parent.mkdir(parents=True)
    settings.write_text("LEDGER=true\n")
    assert shown(tmp_path).startswith("$0.500 | 123 in")
    settings.unlink()
    (tmp_path / ".env").write_text("LEDGER=true\n")  # some project's own
    assert shown(tmp_path).startswith("Opus")
    (tmp_path / ".env").write_text("# Settings of cc-boost\nLEDGER=true\n")
    assert shown(tmp_path).startswith("$0.500 | 123 in")


def test_without_a_ledger_the_proxy_is_asked_with_its_key(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Reply("hi", usage=USAGE))
    headers = {"x-api-key": KEY, "x-claude-code-session-id": "s-1"}
    with proxied(provider, anthropic_api_key=KEY, provider="openai", big_model="gpt-4o") as url:
        for _ in range(3):
            body = request_body(model="claude-opus-4-8")
            assert httpx.post(f"{url}/v1/messages", json=body, headers=headers).status_code == 200
        variables = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": KEY}
        # gpt-4o: 3 x (1000 x $2.50 + 100 x $10) a million. The provider is on loopback, PROVIDER names it.
        assert shown(tmp_path, **variables) == "$0.011 | 3.0k in, 300 out | gpt-4o | 37 % of 200k\n"
        assert shown(tmp_path, {**TOLD, "session_id": "another"}, **variables) == "Opus 4.8 | 37 % of 200k\n"
        wrong = {**variables, "ANTHROPIC_AUTH_TOKEN": "wrong"}
        assert shown(tmp_path, **wrong) == "Opus 4.8 | 37 % of 200k\n"
        page = httpx.get(f"{url}/usage/session/s-1", headers={"x-api-key": KEY})
        assert page.json() == {
            "requests": 3, "cost": 0.0105, "unpriced": 0, "input": 3000, "cached": 0, "cache_write": 0, "output": 300,
            "model": "gpt-4o", "upstream": "default", "prompt": 1000,
        }  # fmt: skip
        assert httpx.get(f"{url}/usage/session/s-1").status_code == 401
        assert httpx.get(f"{url}/usage/session/none", headers={"x-api-key": KEY}).status_code == 404
        assert httpx.post(f"{url}/usage/session/s-1", headers={"x-api-key": KEY}).status_code == 405


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("", "cc-boost\n"),
        ("no JSON", "cc-boost\n"),
        ("[]", "cc-boost\n"),
        ("{}", "cc-boost\n"),
        ({"session_id": 5, "model": "m", "context_window": []}, "cc-boost\n"),
        ({"session_id": "s", "model": {"display_name": "O\x1b[31m\npus"}}, "O[31mpus\n"),
        (TOLD, "Opus 4.8 | 37 % of 200k\n"),
    ],
)
def test_whatever_is_told_it_does_not_fail(told: Any, expected: str, tmp_path: Path) -> None:
    assert shown(tmp_path, told) == expected


@pytest.mark.parametrize(
    "ledger", ["sqlite:///none.db", "sqlite:///broken.db", "mysql://h/d", "postgresql://u:p@127.0.0.1:1/d", "?"]
)
def test_ledger_that_can_not_be_read_costs_the_numbers_and_not_the_line(ledger: str, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("x" * 5000)
    began = time.monotonic()
    assert shown(tmp_path, LEDGER=ledger, ANTHROPIC_BASE_URL="http://127.0.0.1:1") == "Opus 4.8 | 37 % of 200k\n"
    assert time.monotonic() - began < 20
    assert not (tmp_path / "none.db").exists()


def test_settings_are_printed_to_be_pasted(tmp_path: Path) -> None:
    block = json.loads(shown(tmp_path, "", "--settings"))
    assert list(block) == ["statusLine"]
    assert block["statusLine"]["type"] == "command"
    assert re.fullmatch(r"\S+/cc-boost statusline", block["statusLine"]["command"])


def test_it_imports_little(tmp_path: Path) -> None:
    write(f"sqlite:///{tmp_path}/l.db", row())
    look = (
        "import sys\nfrom ccproxy.command_line.money import run_status_line\nrun_status_line()\n"
        "print([n for n in ('pydantic', 'sqlalchemy', 'starlette', 'httpx', 'rich') if n in sys.modules])\n"
    )
    environment = {"HOME": str(tmp_path), "LEDGER": f"sqlite:///{tmp_path}/l.db", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", look], input=json.dumps(TOLD), env={**os.environ, **environment}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_unknown_costs_are_told() -> None:
    usage = {"requests": 3, "cost": 0.5, "unpriced": 1, "input": 10, "output": 5}
    assert status_line({}, usage) == "$0.500 + 1 unpriced | 10 in, 5 out"
    assert status_line({}, {**usage, "cost": 0, "unpriced": 3}) == "no price | 10 in, 5 out"
    assert status_line({}, {**usage, "requests": 0}) == ""


def test_window_follows_from_the_last_prompt_where_it_is_not_told() -> None:
    told = {"context_window": {"context_window_size": 1_000_000}}
    assert status_line(told, {"prompt": 123_000, "model": "m"}) == "m | 12 % of 1.0M"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (99_949, "99.9k"), (99_951, "100k"), (999_499, "999k"), (999_500, "1.0M"),
     (12_345_678, "12.3M"), (5_000_000_000, "5.0G")],
)  # fmt: skip
def test_number_is_short(count: int, text: str) -> None:
    assert short(count) == text
