"""The files that settings are read from (the user's own and a folder's ``.env``), and how they are replaced."""

import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Original, parse_stream
from platformdirs import user_config_path

from .configuration import ConfigurationError

HEADER = "# Settings of cc-boost"
"""The beginning of the first line in a cc-boost file: ``.env.example``, or a file that ``cc-boost setup`` has made."""

_FOLDERS_FILE = ".env"
_ENCODING = "utf-8-sig"
_OURS_ALONE = {
    *("BIG_MODEL", "MIDDLE_MODEL", "SMALL_MODEL", "MAX_TOKENS_LIMIT", "PROVIDER_OPTIONS", "BOOST_BASE_URL"),
    *("LEDGER", "PRICES_FILE", "KEYS_FILE", "CCPROXY_LAYERS"),
}


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A file that may contain settings. ``left_out``: why it isn't read; empty if it is read."""

    path: str
    left_out: str = ""


def users_file() -> Path:
    """The user's configuration file, such as ``~/.config/cc-boost/.env``. It may not exist."""
    return user_config_path("cc-boost", appauthor=False) / ".env"


def settings_files(env_file: str | None = None, *, any_env: bool = True) -> list[SettingsFile]:
    """The existing files; later ones override earlier ones: the user's file, then ``env_file`` or the folder's
    ``.env``.

    ``any_env``: read the folder's ``.env`` whatever it contains. Otherwise it is read only if it begins like ours. In a
    project where Claude Code works, ``.env`` usually belongs to the project, and its OPENAI_API_KEY and HOST have
    another
    purpose.
    """
    files = [SettingsFile(str(path))] if _is_file(path := users_file()) else []
    if env_file is not None:
        files.append(SettingsFile(env_file))
    elif any_env or _is_ours(_FOLDERS_FILE):
        if os.path.lexists(_FOLDERS_FILE):
            files.append(SettingsFile(_FOLDERS_FILE))
    elif os.path.lexists(_FOLDERS_FILE):
        files.append(SettingsFile(_FOLDERS_FILE, "its first line is not that of cc-boost's .env.example"))
    return files


def unread_files(files: Iterable[SettingsFile], *, likely: bool = False) -> list[str]:
    """A line for each file that was left out, with what to do if it should be read.

    ``likely``: only files with variables that few other programs use.
    """
    return [
        f"{file.path} of this folder was not read: {file.left_out}. To use it, add --env-file {file.path}; "
        f"settings for all folders belong in {users_file()}, which cc-boost setup creates."
        for file in files
        if file.left_out and not (likely and _OURS_ALONE.isdisjoint(_values_if_readable(file.path)))
    ]


def origins(paths: Iterable[str]) -> dict[str, str]:
    """The file that each variable comes from, by upper-case name. Variables of the environment, which wins, are left
    out.
    """
    found: dict[str, str] = {}
    for path in paths:
        found |= dict.fromkeys(values_of(path), path)
    for name, value in os.environ.items():
        if value:
            found.pop(name.upper(), None)
    return found


def names_by_file(paths: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """All variables of these files, and the file of each variable in the user's own file, which contains only
    settings.
    """
    names: list[str] = []
    ours: dict[str, str] = {}
    for path in paths:
        there = list(dotenv_values(path, encoding=_ENCODING))
        names += there
        if Path(path) == users_file():
            ours |= {name.upper(): path for name in there}
    return names, ours


def values_of(path: str) -> dict[str, str]:
    """The non-empty variables of a file, by upper-case name."""
    return {name.upper(): value for name, value in dotenv_values(path, encoding=_ENCODING).items() if value}


def place_of(name: str, paths: Iterable[str]) -> str | None:
    """Where a variable is set: ``the environment``, or a file and line; None if it has its default."""
    if os.environ.get(name):
        return "the environment"
    place = None
    for path in paths:
        if name not in _values_if_readable(path):
            continue
        lines = Path(path).read_text(encoding=_ENCODING).splitlines()
        pattern = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}\s*=", re.IGNORECASE)
        numbers = [number for number, line in enumerate(lines, 1) if pattern.match(line)]
        place = f"{path}, line {numbers[-1]}" if numbers else path
    return place


def file_to_write(env_file: str | None) -> str:
    """Where to write settings that a command has found: the named file, a ``.env`` of ours, or the user's file."""
    if env_file is not None:
        return env_file
    return str(users_file()) if _is_file(users_file()) and not _is_ours(_FOLDERS_FILE) else _FOLDERS_FILE


def check_files(paths: Iterable[str]) -> None:
    """Raise ConfigurationError if one of these files can't be read, or has a line that is not ``NAME=value``.

    The message does not quote the line, which may contain a key.
    """
    for path in paths:
        try:
            with open(path, encoding=_ENCODING) as file:
                bad = [line_of(binding.original) for binding in parse_stream(file) if binding.error]
        except FileNotFoundError:  # a .env that is optional
            continue
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError([f"{path}: can't be read; accepted: a UTF-8 text file"]) from None
        if bad:
            accepted = "NAME=value, NAME='value' with the quote closed, or # and a comment"
            raise ConfigurationError([f"{path}, line {line}: can't be parsed; accepted: {accepted}" for line in bad])


def line_of(original: Original) -> int:
    """The number of the line on which a statement begins. dotenv counts the empty lines before it as part of it."""
    text = original.string
    return original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _values_if_readable(path: str) -> dict[str, str]:
    try:
        return values_of(path)
    except (OSError, UnicodeDecodeError):
        return {}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_ours(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(1000).lstrip("\ufeff").startswith(HEADER)
    except OSError:
        return False


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file's content. A missing file is created, readable by its owner only. Raises OSError.

    An existing file keeps its mode and owner. The target of a symbolic link is changed in place.
    """
    path = path.resolve()
    try:
        mode = path.stat()
    except FileNotFoundError:
        mode = None
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        if mode is not None:
            os.chmod(name, mode.st_mode & 0o7777)
            with suppress(OSError, AttributeError):
                os.chown(name, mode.st_uid, mode.st_gid)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
