"""Which upstream answers a request."""

from .facts import RequestFacts
from .rules import Conditions, Explanation, Misfit, Route, explain, first_match, named

__all__ = ["Conditions", "Explanation", "Misfit", "RequestFacts", "Route", "explain", "first_match", "named"]
