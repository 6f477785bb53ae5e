"""Which upstream answers a request, and which one takes over if it fails."""

from .facts import TIERS, RequestFacts
from .failover import DEFAULT, Candidate, Routed, chosen_by_client, parse_candidate
from .middleware import RoutingMiddleware
from .pace import Pace, Turn
from .pace_limits import LocalLimits, PaceLimits, Place, RateCounter, Rates, Work
from .pace_queue import priority_of
from .rules import Conditions, Explanation, Misfit, Route, explain, first_match, glob_pattern, named
from .selection import Selection

__all__ = [
    "DEFAULT",
    "TIERS",
    "Candidate",
    "Conditions",
    "Explanation",
    "LocalLimits",
    "Misfit",
    "Pace",
    "PaceLimits",
    "Place",
    "RateCounter",
    "Rates",
    "RequestFacts",
    "Route",
    "Routed",
    "RoutingMiddleware",
    "Selection",
    "Turn",
    "Work",
    "chosen_by_client",
    "explain",
    "first_match",
    "glob_pattern",
    "named",
    "parse_candidate",
    "priority_of",
]
