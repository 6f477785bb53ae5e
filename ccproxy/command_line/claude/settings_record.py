"""What ``cc-boost setup`` has written into a Claude Code settings file, so that it can be undone."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from ...settings import replace_file
from .json_edits import set_in


@dataclass(frozen=True, slots=True)
class Record:
    """before: the file's original bytes, None if there was no file. after: the SHA-256 of what was written.

    env: each written variable with its previous value, None if it had none. model: the same for the member ``model``;
    empty if it was not written. written: the values that were written. status_line: whether ``statusLine`` is among
    them;
    it was not there before.
    """

    path: str
    before: str | None
    after: str
    env: dict[str, Any]
    model: list[Any]
    written: dict[str, Any]
    status_line: bool = False

    @property
    def bytes_before(self) -> bytes | None:
        return None if self.before is None else base64.b64decode(self.before)


def encoded(content: bytes | None) -> str | None:
    """Bytes in the form in which a record stores them."""
    return None if content is None else base64.b64encode(content).decode()


def digest(content: bytes) -> str:
    """A digest that shows whether a file has changed."""
    return hashlib.sha256(content).hexdigest()


def load_record(path: Path) -> Record | None:
    """The record of a settings file, if setup has written to the file."""
    try:
        return Record(**json.loads(_place(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def save_record(path: Path, record: Record) -> None:
    """Save the record, readable by its owner only. Raises OSError."""
    place = _place(path)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(place, json.dumps(asdict(record), indent=2).encode())


def forget_record(path: Path) -> None:
    """Delete the record after an undo."""
    _place(path).unlink(missing_ok=True)


def taken_back(content: bytes, record: Record) -> tuple[bytes | None, list[str]]:
    """The file with setup's changes undone, None if it did not exist before; and the names that others have changed
    since.

    If nobody else has changed the file, it gets its original bytes. Otherwise each value that is still setup's own gets
    its previous value.
    """
    if digest(content) == record.after:
        return record.bytes_before, []
    text = content.decode("utf-8")
    settings = json.loads(text.removeprefix("\ufeff") or "{}")
    env = settings.get("env")
    env = env if isinstance(env, dict) else {}
    back: dict[str, Any] = {}
    changed: list[str] = []
    for name, before in record.env.items():
        if env.get(name) == record.written.get(name):
            back[name] = before
        elif name in env:
            changed.append(name)
    if back:
        text = set_in(text, back, inside="env")
    if record.model:
        if settings.get("model") == record.written.get("model"):
            text = set_in(text, {"model": record.model[0]})
        else:
            changed.append("model")
    if record.status_line and "statusLine" in settings:
        if settings["statusLine"] == record.written.get("statusLine"):
            text = set_in(text, {"statusLine": None})
        else:
            changed.append("statusLine")
    return text.encode("utf-8"), changed


def _place(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    return user_state_path("cc-boost", appauthor=False) / "setup" / f"{name}.json"
