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


def describe(error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line for each thing that is wrong: the variable, what was given, why not, what is accepted.

    A field's ``accepted`` stands in its ``json_schema_extra``. A ConfigurationError of a validator has its
    lines already. A ValueError that says what "there are" needs no more.
    """
    lines: dict[str, None] = {}  # a set in order: two bad parts of one list are one problem each, not more
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, ConfigurationError):
            lines.update(dict.fromkeys(cause.problems))
            continue
        name = str(detail["loc"][0])
        reason = "" if cause is None else str(cause)
        extra = fields[name].json_schema_extra
        accepted = "" if "there are" in reason or not isinstance(extra, dict) else str(extra["accepted"])
        if detail["type"] == "missing" or detail["input"] is None:
            given = "not set"
        elif name == "custom_headers" or SecretStr.__name__ in str(fields[name].annotation):
            given = f"given {MASK}"
        else:
            given = f"given {_shown(detail['input'])}"
        lines[problem(name.upper(), given, reason, accepted)] = None
    return list(lines)


def _shown(value: Any) -> str:
    """A value on one short line, without what may be a key in a URL."""
    text = re.sub(r"[^/\s]*@", f"{MASK}@", str(value))
    text = re.sub(r"\?.*", f"?{MASK}", text, flags=re.DOTALL)
    return repr(text if len(text) <= 80 else text[:77] + "...")


def find_lookalikes(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """A warning for each variable that is nearly one of ours, such as OPENAI_BASEURL."""
    candidates = [name for name in known if len(name) > 4]
    found = []
    for name in dict.fromkeys(name.upper() for name in names):
        close = get_close_matches(name, candidates, n=1, cutoff=0.93)
        if close and name not in candidates:
            found.append(f"{name} is set, but not a setting. Do you mean {close[0]}?")
    return tuple(found)
