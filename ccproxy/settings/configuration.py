"""The error for settings that can't be used, made of what pydantic found."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

MASK = "****"


class ConfigurationError(ValueError):
    """The settings can't be used. ``str()`` has one line for each problem, with secrets masked."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def problem(variable: str, given: str, reason: str, accepted: str) -> str:
    """One line about one variable; empty parts are left out."""
    parts = (given, reason, f"accepted: {accepted}" if accepted else "")
    return f"{variable}: " + "; ".join(part for part in parts if part)


def describe(error: ValidationError, fields: Mapping[str, FieldInfo], files: Mapping[str, str] = {}) -> list[str]:
    """A line for each thing that is wrong: the variable, what was given and in which file, why not, what is accepted.

    ``files``: those that variables come from.
    A field's ``accepted`` stands in its ``json_schema_extra``. A ConfigurationError of a validator has its
    lines already. A ValueError that says what "there are" needs no more.
    """
    lines: dict[str, int] = {}  # in order, each once: two bad parts of one list are one problem each, not more
    order = [name.upper() for name in fields]
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        name = str(detail["loc"][0])
        if isinstance(cause, ConfigurationError):
            for line in cause.problems:
                variable = line.partition(":")[0]
                lines[line] = order.index(variable if variable in order else name.upper())
            continue
        reason = "" if cause is None else str(cause)
        extra = fields[name].json_schema_extra
        accepted = "" if "there are" in reason or not isinstance(extra, dict) else str(extra["accepted"])
        if detail["type"] == "missing" or detail["input"] is None:
            given = "not set"
        elif name == "custom_headers" or SecretStr.__name__ in str(fields[name].annotation):
            given = f"given {MASK}"
        else:
            given = f"given {shown(detail['input'])}"
        if given != "not set" and (file := files.get(name.upper())):
            given += f" in {file}"
        lines[problem(name.upper(), given, reason, accepted)] = order.index(name.upper())
    return sorted(lines, key=lambda line: lines[line])


def shown(value: Any) -> str:
    """A value on one short line, without what may be a key in a URL."""
    text = re.sub(r"[^/\s]*@", f"{MASK}@", str(value))
    text = re.sub(r"\?.*", f"?{MASK}", text, flags=re.DOTALL)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def find_lookalikes(names: Iterable[str], known: Iterable[str], own: Mapping[str, str] = {}) -> tuple[str, ...]:
    """A warning for each variable that is nearly one of ours, such as OPENAI_BASEURL.

    ``own``: variables of files that hold nothing but settings, with the file; there each unknown one is a mistake.
    """
    known = list(known)
    candidates = [name for name in known if len(name) > 4]
    found = []
    for name in dict.fromkeys(name.upper() for name in names):
        if name in known:
            continue
        close = get_close_matches(name, candidates, n=1, cutoff=0.6 if name in own else 0.93)
        shown_name = f"{name} in {own[name]}" if name in own else name
        if close:
            found.append(f"{shown_name} is set, but is not a setting. Did you mean {close[0]}?")
        elif name in own:
            found.append(f"{shown_name} is set, but is not a setting. cc-boost --help lists them.")
    return tuple(found)
