"""How a setting is declared, and how a variable's text is read."""

import json
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr

AZURE_VERSION = "a date, such as 2024-10-21 or 2025-04-01-preview"
AZURE_VERSION_PATTERN = r"^\d{4}-\d{2}-\d{2}(-preview)?$"

_HOST_NAME = re.compile(r"\*|[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?")


def setting(default: Any, description: str, accepted: str, **options: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"accepted": accepted}, **options)


def seconds_setting(default: float, text: str) -> Any:
    return setting(default, text, "a number of seconds above 0", gt=0, allow_inf_nan=False)


def count_setting(default: int | None, text: str, *, least: int = 0) -> Any:
    return setting(default, text, f"a whole number of at least {least}", ge=least)


def context_setting(tier: str) -> Any:
    text = f"Context size of {tier} in tokens, prompt and answer. Unset: from the provider, or a table of known models."
    return setting(None, text, "a whole number of at least 1000", ge=1000)


def split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a path
        return False


def read_text(value: str) -> str:
    """The text of the file with this name, or the value itself if there is no such file. Raises ValueError."""
    try:
        return Path(value).read_text(encoding="utf-8") if _is_file(value) else value
    except (OSError, ValueError) as exc:
        raise ValueError(f"it can't be read: {exc}") from None


def read_json(text: str) -> Any:
    """A variable's text parsed as JSON. Raises ValueError."""
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ValueError(f"it is no JSON: {exc}") from None


def read_url(text: str) -> str:
    """A base URL without its trailing slash. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("it doesn't begin with http:// or https://")
    if not parts.hostname or re.search(r"[\s\x00-\x1f]", text) or parts.port == 0:  # port: may raise
        raise ValueError("it is no URL")
    if parts.username is not None or parts.query or parts.fragment:
        if parse_qs(parts.query).keys() == {"api-version"}:
            raise ValueError("its api-version belongs into AZURE_API_VERSION")
        raise ValueError("a key in the URL would be shown where URLs are")
    return text.rstrip("/")


def read_key(text: Any, *, several: bool) -> SecretStr:
    """One key, or several separated by commas. Raises ValueError."""
    if not isinstance(text, str) or not all(" " <= char <= "~" for char in text.strip()):
        raise ValueError("it can't stand in a header")
    if not (split(text) if several else text.strip()):
        raise ValueError("it is empty")
    return SecretStr(text.strip())


def read_keys(value: Any) -> tuple[str, ...]:
    """The keys of a pool, from comma-separated text or a sequence. Raises ValueError."""
    parts = [value] if isinstance(value, (str, SecretStr)) else list(value) if isinstance(value, Iterable) else [None]
    texts = [part.get_secret_value() if isinstance(part, SecretStr) else part for part in parts]
    keys = [key for text in texts for key in split(read_key(text, several=True).get_secret_value())]
    return tuple(dict.fromkeys(keys))


def check_hosts(names: Sequence[Any]) -> Sequence[Any]:
    """The host names. Raises ValueError for an invalid one."""
    if not all(_HOST_NAME.fullmatch(str(name)) for name in names):
        raise ValueError("it is no host name")
    return names


_STATE_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")


def check_state_url(url: str) -> None:
    """Raises ValueError if this is not the URL of a Redis or Valkey server, or if no client library is installed."""
    parts = urlsplit(url)
    path = parts.path.strip("/")
    if parts.scheme not in _STATE_SCHEMES:
        raise ValueError("it begins otherwise")
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not path:
            raise ValueError("unix:// needs a path: unix:///run/redis/redis.sock")
    elif not parts.hostname or parts.port == 0:  # port: may raise
        raise ValueError("it has no host, or no port that there is")
    elif path and not path.isdecimal():
        raise ValueError("what follows the host must be the number of a database, such as /0")
    if find_spec("redis") is None:
        raise ValueError("the package redis is not installed: pip install 'cc-boost[redis]'")


LEDGER_SCHEMES = ("sqlite", "postgresql")


def ledger_file() -> Path:
    """The ledger's file with ``LEDGER=true``, in the user's data directory."""
    return user_data_path("cc-boost", appauthor=False) / "ledger.db"


def read_ledger(text: str) -> str | None:
    """The database's URL; None if there is no ledger. Raises ValueError for an invalid or unusable URL."""
    if text.lower() in ("false", "0", "no", "off"):
        return None
    if text.lower() in ("true", "1", "yes", "on"):
        return f"sqlite:///{ledger_file()}"
    parts = urlsplit(text)
    scheme = parts.scheme.partition("+")[0]
    if scheme not in LEDGER_SCHEMES:
        raise ValueError("it begins otherwise")
    if scheme == "sqlite":
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError("sqlite:// needs the path of a file: sqlite:///ledger.db, or sqlite:////var/lib/ledger.db")
        return text
    if not parts.path.strip("/"):
        raise ValueError("it names no database: postgresql://user:password@host/database")
    if parts.port == 0:  # port: may raise
        raise ValueError("it has a port that there isn't")
    if find_spec("psycopg") is None:
        raise ValueError("the package psycopg is not installed: pip install 'cc-boost[postgres]'")
    return text
