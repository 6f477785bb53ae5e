"""What providers refuse, in their own wording, and the profile switches that avoid it."""

from .images import IMAGES, IN_RESULTS
from .messages import DEVELOPER, MESSAGES
from .parameters import PARAMETERS
from .rule import Patch, Rule, Sent, Words, top, unsupported
from .tools import NO_TOOLS, TOOLS

RULES: tuple[Rule, ...] = (*IMAGES, *PARAMETERS, *TOOLS, *MESSAGES)
"""In the order of trying."""

__all__ = [
    "DEVELOPER",
    "IMAGES",
    "IN_RESULTS",
    "NO_TOOLS",
    "RULES",
    "Patch",
    "Rule",
    "Sent",
    "Words",
    "top",
    "unsupported",
]
