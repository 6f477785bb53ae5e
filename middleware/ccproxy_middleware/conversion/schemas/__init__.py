"""JSON Schemas of tools and formats, adapted to what providers accept."""

from .dialects import DIALECTS
from .fit import Fitted, fit_format, fit_tool
from .references import Allowance
from .strict import is_strict

__all__ = ["DIALECTS", "Allowance", "Fitted", "fit_format", "fit_tool", "is_strict"]
