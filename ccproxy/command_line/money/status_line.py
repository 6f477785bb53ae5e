"""``cc-boost statusline``: one line for Claude Code's ``statusLine``, which runs the command every few seconds.

It must be quick, so it imports next to nothing. It must never fail, or the line would disappear. The input that Claude
Code sends on standard input is described at https://code.claude.com/docs/en/statusline
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

_LIMIT = 1.0  # seconds to wait for the ledger or the proxy
_MAX_INPUT = 1_000_000
_SUMS = (
    "SELECT count(*), coalesce(sum(cost_nano), 0), "
    "coalesce(sum(CASE WHEN cost_nano IS NULL AND provider_calls > 0 THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(input), 0), coalesce(sum(cached), 0), coalesce(sum(cache_write), 0), coalesce(sum(output), 0) "
    "FROM cc_boost_exchanges WHERE session = {0}"
)
_LAST = (
    "SELECT model, upstream, coalesce(input, 0) + coalesce(cached, 0) + coalesce(cache_write, 0) "
    "FROM cc_boost_exchanges WHERE session = {0} AND provider_calls > 0 AND status < 400 "
    "AND (class = 'main' OR class IS NULL) ORDER BY time_ms DESC LIMIT 1"
)
_NAMES = ("requests", "cost", "unpriced", "input", "cached", "cache_write", "output")

Usage = dict[str, Any]


def run_status_line() -> int:
    """Print the line for the session that standard input describes. Always returns 0."""
    told: Any = {}
    line = ""
    with suppress(Exception):
        told = json.loads(sys.stdin.buffer.read(_MAX_INPUT))
    with suppress(Exception):
        line = status_line(told if isinstance(told, dict) else {}, _usage(told))
    with suppress(Exception):
        print(line or "cc-boost")
    return 0


def settings_block() -> str:
    """The block to paste into Claude Code's settings."""
    return json.dumps({"statusLine": status_line_setting()}, indent=2)


def status_line_setting() -> dict[str, Any]:
    """The value of ``statusLine`` in Claude Code's settings."""
    beside = Path(sys.executable).parent / "cc-boost"
    program = shutil.which("cc-boost") or str(beside if beside.exists() else Path(sys.argv[0]).absolute())
    return {"type": "command", "command": f"{shlex.quote(program)} statusline"}


def status_line(told: Mapping[str, Any], usage: Usage | None) -> str:
    """The line, as far as its parts are known: cost and tokens of the session, the answering model, and the used
    window.
    """
    parts = []
    if usage and usage.get("requests"):
        unpriced = usage.get("unpriced") or 0
        if unpriced < usage["requests"]:
            parts.append(_dollars(float(usage["cost"])) + (f" + {unpriced} unpriced" if unpriced else ""))
        elif unpriced:
            parts.append("no price")
        tokens_in = sum(int(usage.get(name) or 0) for name in ("input", "cached", "cache_write"))
        parts.append(f"{short(tokens_in)} in, {short(int(usage.get('output') or 0))} out")
    model, upstream = (usage or {}).get("model"), (usage or {}).get("upstream")
    if model:
        parts.append(f"{model} at {upstream}" if upstream and upstream != "default" else str(model))
    elif name := _object(told.get("model")).get("display_name"):
        parts.append(str(name))
    if window := _window(told, (usage or {}).get("prompt")):
        parts.append(window)
    return " | ".join("".join(char for char in part if char.isprintable()) for part in parts)


def short(count: int) -> str:
    """A number in few characters: 950, 12.3k, 4.5M."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= size * 0.9995:
            value = count / size
            return f"{value:.0f}{letter}" if value >= 99.95 else f"{value:.1f}{letter}"
    return str(count)


def _dollars(cost: float) -> str:
    return f"${cost:,.2f}" if cost >= 0.995 or cost == 0 else f"${cost:.4f}" if cost < 0.01 else f"${cost:.3f}"


def _window(told: Mapping[str, Any], prompt: Any) -> str:
    window = _object(told.get("context_window"))
    size, used = window.get("context_window_size"), window.get("used_percentage")
    if not isinstance(used, (int, float)) and isinstance(prompt, int) and isinstance(size, int) and size > 0:
        used = 100 * prompt / size
    if not isinstance(used, (int, float)):
        return ""
    return f"{used:.0f} % of {short(size)}" if isinstance(size, int) and size > 0 else f"{used:.0f} % full"


def _usage(told: Any) -> Usage | None:
    """The session's usage, from the ledger or from the proxy that Claude Code uses."""
    session = told.get("session_id") if isinstance(told, dict) else None
    if not isinstance(session, str) or not session:
        return None
    ledger = _setting("LEDGER")
    if ledger and ledger.lower() not in ("false", "0", "no", "off"):
        with suppress(Exception):
            if (usage := _of_ledger(ledger, session)) is not None:
                return usage
    with suppress(Exception):
        return _of_proxy(session)
    return None


def _setting(name: str) -> str:
    """A setting from the environment, or from the files that ``cc-boost claude`` reads."""
    if value := os.environ.get(name):
        return value
    from dotenv import dotenv_values
    from platformdirs import user_config_path

    value = None
    folders = Path(".env")
    with suppress(OSError, UnicodeDecodeError):
        with folders.open(encoding="utf-8") as file:
            is_ours = file.readline(1000).lstrip("\ufeff").startswith("# Settings of cc-boost")
        value = dotenv_values(folders).get(name) if is_ours else None
    with suppress(OSError, UnicodeDecodeError):
        value = value or dotenv_values(user_config_path("cc-boost", appauthor=False) / ".env").get(name)
    return (value or "").strip()


def _of_ledger(url: str, session: str) -> Usage | None:
    if url.lower() in ("true", "1", "yes", "on"):
        from platformdirs import user_data_path

        path = str(user_data_path("cc-boost", appauthor=False) / "ledger.db")
    elif url.partition(":")[0].partition("+")[0] == "sqlite":
        path = unquote(urlsplit(url).path.removeprefix("/"))
    else:
        return _of_postgres(url, session)
    import sqlite3

    if not Path(path).is_file():
        return None
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=_LIMIT)) as connection:
        sums = connection.execute(_SUMS.format("?"), (session,)).fetchone()
        last = connection.execute(_LAST.format("?"), (session,)).fetchone()
    return _read(sums, last)


def _of_postgres(url: str, session: str) -> Usage | None:
    import psycopg

    plain = "postgresql" + url[url.index("://") :]
    with psycopg.connect(plain, connect_timeout=2, options="-c statement_timeout=1000") as connection:
        sums = connection.execute(_SUMS.format("%s"), (session,)).fetchone()
        last = connection.execute(_LAST.format("%s"), (session,)).fetchone()
    return _read(sums, last)


def _read(sums: Any, last: Any) -> Usage | None:
    if not sums or not sums[0]:
        return None
    usage: Usage = {name: int(value) for name, value in zip(_NAMES, sums, strict=True)}
    usage["cost"] /= 1_000_000_000
    if last:
        usage |= {"model": last[0], "upstream": last[1], "prompt": int(last[2])}
    return usage


def _of_proxy(session: str) -> Usage | None:
    """The session's usage from the proxy, which requires its key."""
    from http.client import HTTPConnection, HTTPSConnection

    parts = urlsplit(os.environ.get("ANTHROPIC_BASE_URL", ""))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    key = os.environ.get("ANTHROPIC_AUTH_TOKEN") or os.environ.get("ANTHROPIC_API_KEY") or ""
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    path = f"{parts.path.rstrip('/')}/usage/session/{quote(session, safe='')}"
    with closing(kind(parts.hostname, parts.port, timeout=_LIMIT)) as connection:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        usage = json.loads(answer.read(_MAX_INPUT)) if answer.status == 200 else None
    return usage if isinstance(usage, dict) else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
