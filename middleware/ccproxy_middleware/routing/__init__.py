"""Which upstream answers a request, and which one goes on where it fails."""

from .candidates import DEFAULT, Candidate, parse_candidate
from .middleware import RoutingMiddleware
from .pace import Pace, Turn
from .pace_limits import LocalLimits, PaceLimits, Place, RateCounter, Rates, Work
from .pace_queue import priority_of

__all__ = [
    "DEFAULT",
    "Candidate",
    "LocalLimits",
    "Pace",
    "PaceLimits",
    "Place",
    "RateCounter",
    "Rates",
    "RoutingMiddleware",
    "Turn",
    "Work",
    "parse_candidate",
    "priority_of",
]
