"""Sets variables in a ``.env`` file; the rest of the file stays unchanged."""

import re
from collections.abc import Mapping
from pathlib import Path

from ccproxy.settings import replace_file

_VALUE = rb"""(?:'(?:\\'|[^'])*'|"(?:\\"|[^"])*"|[^\r\n]*?)(?=[ \t]+\#[^\r\n]*|[ \t]*(?:\r|\n|\Z))"""


def write_variables(path: Path, values: Mapping[str, str]) -> None:
    """Set variables in the file, which is created if it is missing. Raises OSError.

    The file is replaced in one step and keeps its mode. The target of a symbolic link is changed in place.
    """
    try:
        before = path.resolve().read_bytes()
    except FileNotFoundError:
        before = b""
    replace_file(path, set_variables(before, values))


def set_variables(content: bytes, values: Mapping[str, str]) -> bytes:
    """The content with these variables: each in its own line (the last one if there are several), else at the end."""
    newline = b"\r\n" if b"\r\n" in content else b"\n"
    for name, value in values.items():
        quoted = quote(value).encode()
        assignments = list(re.finditer(rb"^[ \t]*(?:export[ \t]+)?" + name.encode() + rb"[ \t]*=[ \t]*", content, re.M))
        if assignments:
            start = assignments[-1].end()
            old = re.compile(_VALUE).match(content, start)
            end = old.end() if old else start
            content = content[:start] + quoted + content[end:]
        else:
            separator = b"" if not content or content.endswith(b"\n") else newline
            content += separator + name.encode() + b"=" + quoted + newline
    return content


def quote(value: str) -> str:
    """A value quoted so that ``.env`` files and shells read it."""
    if re.fullmatch(r"[\w.:/@%+,-]+", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
