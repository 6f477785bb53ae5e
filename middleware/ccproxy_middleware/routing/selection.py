"""Which candidates may answer a request, and by what they were chosen."""

from collections.abc import Callable, Collection, Sequence

from starlette.types import Scope

from .facts import RequestFacts
from .failover import Candidate, chosen_by_client, parse_candidate, remembered
from .rules import Route, first_match


class Selection:
    """Chooses by the client's own words, then by the rules, then by the tier.

    upstreams: the names, in lower case. It is the same for the layer that asks the candidates and for one that only has
    to know them.
    """

    def __init__(self, routes: Sequence[Route], upstreams: Collection[str]) -> None:
        self._routes = routes
        self._upstreams = upstreams
        self._parsed = remembered(lambda texts: tuple(parse_candidate(text, upstreams) for text in texts))

    def candidates(
        self, scope: Scope, model: str, facts: Callable[[], RequestFacts]
    ) -> tuple[str, tuple[Candidate, ...]]:
        """The name of the rule, and the candidates in their order.

        ``model``: as in the body. ``facts`` is called only where there are rules. Instead of a rule's name: ``client``,
        where the client has named the upstream, or ``tier``.
        """
        known = scope.get("ccproxy.model") or {}
        if not known.get("fixed"):  # a layer of ours has chosen
            chosen = chosen_by_client(str(known.get("requested") or model), self._upstreams)
            if chosen is not None:
                return "client", (chosen,)
            if self._routes and (route := first_match(self._routes, facts())) is not None:
                return route.name, self._parsed(route.models)
        return "tier", self._parsed(tuple(scope.get("ccproxy.candidates") or (model,)))
