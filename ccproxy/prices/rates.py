"""The prices of one model, and the cost of tokens at these prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1000)
_MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class Tiers:
    """A price that depends on the prompt's length. The last of the ``steps`` whose length the prompt exceeds
    applies.
    """

    base: Decimal
    steps: tuple[tuple[int, Decimal], ...]  # sorted, shortest first

    def at(self, prompt: int) -> Decimal:
        """The price for a prompt with this number of tokens."""
        price = self.base
        for start, other in self.steps:
            if prompt > start:
                price = other
        return price


Rate: TypeAlias = Decimal | Tiers


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars per million tokens; for ``web_search`` and ``request``, per thousand of them.

    A price that is missing falls back to a more general one: cached and written input to input, input cached for an
    hour to
    other written input, reasoning to output.
    """

    input: Rate
    output: Rate
    cached: Rate | None = None
    cache_write: Rate | None = None
    cache_write_hour: Rate | None = None
    reasoning: Rate | None = None
    web_search: Rate | None = None
    request: Rate | None = None

    def cost(self, usage: Mapping[str, Any]) -> Decimal:
        """The cost of a call in US dollars, from Anthropic's usage object."""
        plain, cached = _count(usage, "input_tokens"), _count(usage, "cache_read_input_tokens")
        written, output = _count(usage, "cache_creation_input_tokens"), _count(usage, "output_tokens")
        hour = min(written, _count(usage.get("cache_creation"), "ephemeral_1h_input_tokens"))
        thinking = min(output, _count(usage.get("output_tokens_details"), "thinking_tokens"))
        prompt = plain + cached + written

        def at(rate: Rate) -> Decimal:
            return rate.at(prompt) if isinstance(rate, Tiers) else rate

        write = self.input if self.cache_write is None else self.cache_write
        total = plain * at(self.input)
        if cached:
            total += cached * at(self.input if self.cached is None else self.cached)
        if written:
            total += (written - hour) * at(write)
            total += hour * at(write if self.cache_write_hour is None else self.cache_write_hour)
        if thinking and self.reasoning is not None:
            total += thinking * at(self.reasoning) + (output - thinking) * at(self.output)
        else:
            total += output * at(self.output)
        total /= _MILLION
        if self.web_search is not None:
            searches = _count(usage.get("server_tool_use"), "web_search_requests")
            total += searches * at(self.web_search) / _THOUSAND
        if self.request is not None:
            total += at(self.request) / _THOUSAND
        return total


def _count(holder: Any, name: str) -> int:
    value = holder.get(name) if isinstance(holder, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_COUNT else 0
