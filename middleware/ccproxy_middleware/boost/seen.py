"""What boost sees of an answer, whichever API it comes by."""

from dataclasses import dataclass

from ..toolkit.errors import ApiError
from .usage import Usage


@dataclass(slots=True)
class Seen:
    """What an answer, or one event of it, tells."""

    text: str = ""
    calls_tool: bool = False
    usage: Usage | None = None
    complete: bool = False
    error: ApiError | None = None
