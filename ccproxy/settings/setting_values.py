"""How a setting is declared, and how the text of a variable is read."""

from pathlib import Path
from typing import Any

from pydantic import Field


def setting(default: Any, description: str, accepted: str, **options: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"accepted": accepted}, **options)


def split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a path
        return False


def read_text(value: str) -> str:
    """The text of the file of this name, or the value itself where there is none. Raises ValueError."""
    try:
        return Path(value).read_text(encoding="utf-8") if _is_file(value) else value
    except (OSError, ValueError) as exc:
        raise ValueError(f"it can't be read: {exc}") from None
