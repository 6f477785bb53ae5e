"""Which upstream answers a request, and which one goes on where it fails."""

from .candidates import DEFAULT, Candidate, parse_candidate
from .middleware import RoutingMiddleware

__all__ = ["DEFAULT", "Candidate", "RoutingMiddleware", "parse_candidate"]
