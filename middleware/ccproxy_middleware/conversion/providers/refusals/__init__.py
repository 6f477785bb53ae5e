"""What providers refuse, in their own words, and the profile switches that avoid it."""

from .images import IMAGES
from .messages import MESSAGES
from .parameters import PARAMETERS
from .rule import Patch, Rule, Sent
from .tools import TOOLS

RULES: tuple[Rule, ...] = (*IMAGES, *PARAMETERS, *TOOLS, *MESSAGES)
"""In the order of trying."""

__all__ = ["IMAGES", "RULES", "Patch", "Rule", "Sent"]
