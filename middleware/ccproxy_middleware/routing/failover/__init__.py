"""Failover: the candidates of a request are tried in order until one answers."""

from .answers import ClientAnswer
from .candidates import DEFAULT, Candidate, chosen_by_client, parse_candidate, remembered
from .choice import Choice
from .cooldowns import Cooldowns
from .exchange import Question, RoutedExchange, Upstreams
from .keys import CLIENT, KeyPools
from .pace import Pace
from .routed import Routed, Trail
from .windows import CandidateWindows, Windows

__all__ = [
    "CLIENT",
    "DEFAULT",
    "Candidate",
    "CandidateWindows",
    "Choice",
    "ClientAnswer",
    "Cooldowns",
    "KeyPools",
    "Pace",
    "Question",
    "Routed",
    "RoutedExchange",
    "Trail",
    "Upstreams",
    "Windows",
    "chosen_by_client",
    "parse_candidate",
    "remembered",
]
