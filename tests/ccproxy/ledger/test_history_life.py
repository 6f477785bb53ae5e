"""A history over real processes: what one has kept, another shows, sends again and exports."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from ccproxy import Settings
from ccproxy.settings import ConfigurationError
from support.providers.scripted import Reply, ScriptedProvider
from support.serving.process import BIN, Running, started
from support.serving.servers import serve

pytestmark = pytest.mark.timeout(180)

KEY = "planted-client-key"
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
ADMIN = "planted-admin-key"
KEYS = '[[key]]\nname = "ann"\nkey = "planted-key-of-ann"\nusd_per_day = 0.5\n'


def provider() -> ScriptedProvider:
    return ScriptedProvider(lambda body: Reply("hi", usage=USAGE))


def variables(tmp_path: Path, **more: str) -> dict[str, str]:
    known = {"OPENAI_API_KEY": "none", "ANTHROPIC_API_KEY": KEY, "PROVIDER": "openai", "INSPECTOR": "true"}
    return {**known, "LEDGER": f"sqlite:///{tmp_path}/ledger.db", "HISTORY": "true", **more}


def asked(running: Running, path: str, key: str = KEY) -> Any:
    answer = httpx.get(f"{running.url}/ui/api/{path}", headers={"x-api-key": key})
    answer.raise_for_status()
    return answer.json()


def test_exchange_of_a_process_that_is_gone_is_opened_sent_again_and_exported(tmp_path: Path) -> None:
    with serve(provider(), lifespan="off") as upstream:
        with started("gunicorn", tmp_path, upstream.url, **variables(tmp_path)) as running:
            for number in range(10):
                session = {"x-api-key": KEY, "x-claude-code-session-id": f"session-{number % 2}"}
                message = {"role": "user", "content": f"question {number}, my key is {KEY}"}
                body = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [message], "stream": number % 3 == 0}
                assert httpx.post(f"{running.url}/v1/messages", json=body, headers=session).status_code == 200
            assert running.post(key="wrong").status_code == 401
            running.terminate()
        with started("gunicorn", tmp_path, upstream.url, **variables(tmp_path)) as running:
            found = asked(running, "history")["exchanges"]
            assert sorted(line["said"] for line in found) == [f"question {n}, my key is [redacted]" for n in range(10)]
            ids = [line["id"] for line in found]
            assert str(os.getpid()) not in ids[0]
            opened = [asked(running, f"exchanges/{id_}") for id_ in ids]  # whichever worker answers
            assert [exchange["client"]["answer"]["status"] for exchange in opened] == [200] * 10
            assert {exchange["cost"] for exchange in opened} == {0.00021}
            session = asked(running, "session?id=session-1")
            assert len(session["exchanges"]) == 5
            command = [BIN / "cc-boost", "replay", ids[-1], "--url", running.url]
            env = {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": KEY}
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)
            assert (ran.returncode, ran.stderr) == (0, "")
            assert "The answers say the same." in ran.stdout
            used = asked(running, "usage")
            assert sum(day["requests"] for day in used["days"]) >= 11
            assert used["models"][0]["name"] == "gpt-4o-mini"
            running.terminate()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        rows = connection.execute("SELECT words, line, document FROM cc_boost_history").fetchall()
    assert len(rows) == 11  # with the one that was sent again, without the one whose key was wrong
    assert KEY not in str([(words, line) for words, line, _ in rows])
    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0


def test_budgets_are_told_to_the_admin(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(KEYS)
    more = {"KEYS_FILE": "keys.toml", "ADMIN_API_KEY": ADMIN}
    with (
        serve(provider(), lifespan="off") as upstream,
        started("cc-boost", tmp_path, upstream.url, **variables(tmp_path, **more)) as running,
    ):
        assert running.post(key="planted-key-of-ann").status_code == 200
        used = asked(running, "usage?days=1", ADMIN)
        refused = httpx.get(f"{running.url}/ui/api/history", headers={"x-api-key": KEY})
    (budget,) = used["budgets"]
    assert (budget["key"], budget["period"], budget["cap"]) == ("ann", "daily", 0.5)
    assert budget["spent"] == pytest.approx(0.00021)
    assert refused.status_code == 401


def test_nothing_is_kept_unless_it_is_asked_for(tmp_path: Path) -> None:
    with (
        serve(provider(), lifespan="off") as upstream,
        started("cc-boost", tmp_path, upstream.url, **variables(tmp_path, HISTORY="false")) as running,
    ):
        assert running.post().status_code == 200
        assert asked(running, "exchanges")["history"] is False
        running.terminate()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT count(*) FROM cc_boost_history").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM cc_boost_exchanges").fetchone() == (1,)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"inspector": True}, "it needs LEDGER, whose database it is kept in"),
        ({"ledger": "sqlite:///l.db"}, "it needs INSPECTOR, whose exchanges it keeps"),
    ],
)
def test_history_needs_a_ledger_and_the_inspector(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Settings.explicit(openai_api_key="k", history=True, **values)


def test_bytes_can_be_written_as_a_power() -> None:
    def read(value: object) -> int:
        return Settings.explicit(openai_api_key="k", history_bytes=value).history_bytes

    assert [read(value) for value in ("1e9", "2.5E7", 1_000_000, "1000000")] == [10**9, 25_000_000, 10**6, 10**6]
    for value in ("1e", "e9", "1e5", "many"):
        with pytest.raises(ConfigurationError, match="HISTORY_BYTES"):
            read(value)


def test_history_is_json_that_is_whole(tmp_path: Path) -> None:
    """A long stream, whose events are many, is kept to its end."""
    long = ScriptedProvider(lambda body: Reply([f"word{n} " for n in range(2000)]))
    with (
        serve(long, lifespan="off") as upstream,
        started("cc-boost", tmp_path, upstream.url, **variables(tmp_path)) as running,
    ):
        assert running.post(stream=True).status_code == 200
        running.terminate()
        with started("cc-boost", tmp_path, upstream.url, **variables(tmp_path)) as again:
            (line,) = asked(again, "history")["exchanges"]
            events = asked(again, f"exchanges/{line['id']}")["client"]["answer"]["events"]
    text = "".join(event["json"]["delta"].get("text", "") for event in events if "delta" in event["json"])
    assert text == "".join(f"word{n} " for n in range(2000))
    assert events[-1]["json"]["type"] == "message_stop"
