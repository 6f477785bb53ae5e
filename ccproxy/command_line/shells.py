"""Changing the environment in each shell's syntax."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

Shell = Literal["sh", "fish", "powershell", "cmd"]

_SPECIAL_IN_CMD = re.compile(r'[\^&|<>()"%!]')


class _Language(NamedTuple):
    """The lines that unset variables and set one variable."""

    unset: Callable[[Iterable[str]], Iterable[str]]
    set: Callable[[str, str], str]


def script(shell: Shell, *, unset: Iterable[str], variables: Mapping[str, str]) -> str:
    """Lines that unset some variables and set others. Raises ValueError for a value that the shell can't represent."""
    language = _LANGUAGES[shell]
    names = list(unset)
    lines = [
        *(language.unset(names) if names else ()),
        *(language.set(name, value) for name, value in variables.items()),
    ]
    return "\n".join(lines)


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell(value: str) -> str:
    """Quote a value. PowerShell treats typographic quotes like plain ones."""
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value) + "'"


def _cmd(value: str) -> str:
    if not value.isprintable():
        raise ValueError("cmd can't hold a value of several lines")
    return _SPECIAL_IN_CMD.sub(lambda found: "%%" if found[0] == "%" else f"^{found[0]}", value)


_LANGUAGES: Mapping[Shell, _Language] = {
    "sh": _Language(
        lambda names: [f"unset {' '.join(names)}"], lambda name, value: f"export {name}={shlex.quote(value)}"
    ),
    "fish": _Language(
        lambda names: (f"set -e {name}" for name in names), lambda name, value: f"set -gx {name} {_fish(value)}"
    ),
    "powershell": _Language(
        lambda names: (f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in names),
        lambda name, value: f"$env:{name} = {_powershell(value)}",
    ),
    # A batch file. No quotes, since they would become part of the value.
    "cmd": _Language(
        lambda names: (f"@set {name}=" for name in names), lambda name, value: f"@set {name}={_cmd(value)}"
    ),
}
