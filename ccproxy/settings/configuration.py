"""The error for invalid settings, built from what pydantic reports."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

MASK = "****"


class ConfigurationError(ValueError):
    """The settings are invalid. ``str()`` has one line for each problem, with secrets masked."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def problem(variable: str, given: str, reason: str, accepted: str) -> str:
    """One line about one variable. Empty parts are left out."""
    parts = (given, reason, f"accepted: {accepted}" if accepted else "")
    return f"{variable}: " + "; ".join(part for part in parts if part)


def describe(error: ValidationError, fields: Mapping[str, FieldInfo], files: Mapping[str, str] = {}) -> list[str]:
    """A line for each problem: the variable, its value and the file it is from, the reason, and what is accepted.

    ``files``: the files that variables come from.
    A field's ``accepted`` is in its ``json_schema_extra``. A validator's ConfigurationError already has its lines. A
    ValueError that says what "there are" is complete without it.
    """
    lines: dict[str, int] = {}  # in order and without duplicates: two bad parts of one list are one problem each
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
    """A value on one short line, without any part of a URL that may be a key."""
    text = re.sub(r"[^/\s]*@", f"{MASK}@", str(value))
    text = re.sub(r"\?.*", f"?{MASK}", text, flags=re.DOTALL)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def find_lookalikes(names: Iterable[str], known: Iterable[str], own: Mapping[str, str] = {}) -> tuple[str, ...]:
    """A warning for each variable whose name is close to one of ours, such as OPENAI_BASEURL.

    ``own``: variables from files that contain only settings, with the file. Every unknown variable there is a mistake.
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
