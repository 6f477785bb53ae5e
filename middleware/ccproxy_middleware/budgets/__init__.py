"""What each client's key may request, how often, and for how much money."""

from .limits import KeyLimits
from .middleware import BudgetMiddleware
from .spending import Spending, caps_of

__all__ = ["BudgetMiddleware", "KeyLimits", "Spending", "caps_of"]
