"""``cc-boost keys``: adds, lists and revokes entries of KEYS_FILE; the rest of the file stays unchanged."""

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Array

from ..serving import EXIT_CONFIGURATION, fail
from ..settings import (
    ConfigurationError,
    KeyEntry,
    KeysFile,
    given_variables,
    parse_keys,
    replace_file,
    settings_files,
)

_HEAD = "# The keys of cc-boost's clients. cc-boost keys adds and revokes them; docs/keys.md tells of the fields.\n"
_COLUMNS = ("name", "state", "expires", "tiers", "models", "requests/min", "tokens/min", "usd/day", "usd/month")


def add_key(
    name: str, fields: Mapping[str, Any], *, plain: bool = False, file: str | None = None, env_file: str | None = None
) -> int:
    """Make a key and print it. ``fields``: its limits and expiry, by the names used in the file. Returns the exit code,
    0.

    Ends the process with exit code 2 if the file or a field is invalid.
    """
    path = _path(file, env_file)
    key = f"ccb_{secrets.token_urlsafe(32)}"
    own = {"key": key} if plain else {"sha256": sha256(key.encode()).hexdigest()}
    values = {"name": name, **own, **fields}
    if "expires" in values:
        values["expires"] = _moment(values["expires"])
    with _locked(path):
        text = _read(path) if path.exists() else _HEAD
        _entries_or_exit(text, path)
        document = _document(text, path)
        _append(document, values)
        changed = tomlkit.dumps(document)
        _entries_or_exit(changed, path)
        _write(path, changed)
    kept = "the key itself" if plain else "its SHA-256 only"
    print(f"The key of {name}, shown this once; {path} has {kept}:", file=sys.stderr)
    print(key)
    _warn(path)
    return 0


def list_keys(*, as_json: bool = False, file: str | None = None, env_file: str | None = None) -> int:
    """Print the entries without the keys. Returns the exit code, 0."""
    path = _path(file, env_file)
    entries = _entries_or_exit(_read(path), path)
    documents = [_described(entry) for entry in entries]
    if as_json:
        print(json.dumps(documents, indent=2))
        return 0
    rows = [_COLUMNS, *(tuple(_cell(value) for value in document.values()) for document in documents)]
    used = [index for index in range(len(_COLUMNS)) if index < 2 or any(row[index] for row in rows[1:])]
    widths = [max(len(row[index]) for row in rows) for index in used]
    for row in rows:
        print("  ".join(row[index].ljust(width) for index, width in zip(used, widths, strict=True)).rstrip())
    return 0


def revoke_key(name: str, *, file: str | None = None, env_file: str | None = None) -> int:
    """Mark an entry as revoked. Returns the exit code, 0."""
    path = _path(file, env_file)
    with _locked(path):
        text = _read(path)
        entries = {entry.key.name: entry for entry in _entries_or_exit(text, path)}
        if name not in entries:
            there = f"there are {', '.join(entries)}" if entries else "there is none"
            fail(f"{path} has no key of the name {name!r}; {there}", EXIT_CONFIGURATION)
        if entries[name].key.revoked:
            print(f"The key of {name} was revoked before.")
            return 0
        document = _document(text, path)
        for table in _tables(document):
            if table.get("name") == name:
                table["revoked"] = True
        _write(path, tomlkit.dumps(document))
    print(f"The key of {name} is revoked: proxies that read {path} refuse it within five seconds.")
    return 0


def _path(file: str | None, env_file: str | None) -> Path:
    """The path of the keys file, which may not exist yet."""
    if file is not None:
        return Path(file)
    if env_file is not None and not Path(env_file).is_file():
        fail(f"--env-file: given {env_file!r}; accepted: a file that exists", EXIT_CONFIGURATION)
    files = [found.path for found in settings_files(env_file) if not found.left_out]
    try:
        given = given_variables(files, os.environ)
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)
    if "KEYS_FILE" not in given:
        fail("KEYS_FILE is not set: set it, such as KEYS_FILE=keys.toml in .env, or add --file", EXIT_CONFIGURATION)
    return KeysFile(given["KEYS_FILE"][0].strip()).path


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
        fail(f"{path} can't be read: {reason}", EXIT_CONFIGURATION)


def _entries_or_exit(text: str, path: Path) -> Sequence[KeyEntry]:
    try:
        return parse_keys(text, str(path))
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)


def _document(text: str, path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        fail(f"{path} can't be changed: {error}", EXIT_CONFIGURATION)


def _tables(document: tomlkit.TOMLDocument) -> Any:
    return document.get("key", ())


def _append(document: tomlkit.TOMLDocument, values: Mapping[str, Any]) -> None:
    """Add an entry after the others, in the style in which they are written."""
    there = document.get("key")
    if isinstance(there, Array):
        entry = tomlkit.inline_table()
        entry.update(values)
        there.append(entry)
        return
    table = tomlkit.table()
    table.update(values)
    if not isinstance(there, AoT):
        there = tomlkit.aot()
        document["key"] = there
    there.append(table)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        fail(f"{path} can't be written: {error.strerror or error}", EXIT_CONFIGURATION)


def _warn(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & 0o007:
        print(f"{path} can be read by every user of this machine: chmod o= {path}", file=sys.stderr)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let only one command at a time change the file, on systems with file locks."""
    try:
        import fcntl

        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _moment(text: str) -> date | datetime:
    for read in (date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    fail(f"--expires: given {text!r}; accepted: a date such as 2027-01-31, or a time in ISO 8601", EXIT_CONFIGURATION)


def _described(entry: KeyEntry) -> dict[str, Any]:
    key, limits = entry.key, entry.limits
    state = "active"
    if key.revoked:
        state = "revoked"
    elif key.expires is not None and key.expires <= datetime.now(UTC):
        state = "expired"
    return {
        "name": key.name,
        "state": state,
        "expires": None if key.expires is None else key.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tiers": None if limits.tiers is None else list(limits.tiers),
        "models": None if limits.models is None else list(limits.models),
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "usd_per_day": _number(limits.usd_per_day),
        "usd_per_month": _number(limits.usd_per_month),
    }


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:,g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
