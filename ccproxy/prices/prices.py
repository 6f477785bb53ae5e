"""The prices of all upstreams of a process."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic

from ccproxy_middleware.toolkit.record import ProviderCall

from .package import may_have, package_rates, snapshot
from .price_file import FilePrices
from .rates import Rates

logger = logging.getLogger("ccproxy.prices")

_MAX_KNOWN = 4096  # models; limited, since clients may send any name
_SECONDS = 60.0  # seconds for which a price is cached, since some prices depend on the time of day
_CONTEXT = ("service_tier", "speed")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An upstream's base URL, and the name of its profile."""

    base_url: str
    provider: str


class Prices:
    """Calculates the cost of a call. An instance is a :data:`Price` of the layers.

    endpoints: by upstream name. ``file`` takes precedence over the package.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        file: FilePrices | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._endpoints = endpoints
        self._file = file
        self._now = now
        self._known: OrderedDict[tuple[str | None, ...], tuple[float, Rates | None]] = OrderedDict()
        self._uses_package = any(may_have(place.base_url, place.provider) for place in endpoints.values())

    def load(self) -> None:
        """Load the package's data in a thread, so that no exchange waits for it."""
        if self._uses_package:
            threading.Thread(target=snapshot, name="prices", daemon=True).start()

    def __call__(self, call: ProviderCall) -> Decimal | None:
        """The cost of a call in US dollars; None if the price or the usage is unknown."""
        if not call.usage:
            return None
        rates = self.rates(call)
        return None if rates is None else rates.cost(call.usage)

    def has(self, upstream: str, model: str) -> bool:
        """Whether an upstream's model has a price."""
        return self.rates(ProviderCall(upstream, model=model)) is not None

    def rates(self, call: ProviderCall) -> Rates | None:
        """The prices of a call's model: by the requested name, else by the name of the model that answered."""
        speed = call.usage.get("speed")
        key = (call.upstream, call.model, call.answered_model, call.service_tier, speed if speed == "fast" else None)
        known = self._known.get(key)
        if known is not None and monotonic() - known[0] < _SECONDS:
            return known[1]
        found = self._find(*key)
        self._known[key] = (monotonic(), found)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        return found

    def _find(
        self, upstream: str | None, model: str | None, answered: str | None, tier: str | None, speed: str | None
    ) -> Rates | None:
        place = self._endpoints.get(upstream or "")
        models = tuple(dict.fromkeys(name for name in (model, answered) if name))
        if place is None:
            return None
        if self._file is not None:
            found = self._file.find((upstream or "", place.provider), models)
            if found is not None:
                return found
        if not may_have(place.base_url, place.provider):
            return None
        context = {name: value for name, value in zip(_CONTEXT, (tier, speed), strict=True) if value}
        for name in models:
            try:
                rates = package_rates(place.base_url, place.provider, name, context, self._now())
            except Exception:
                logger.exception("the price of a model can't be told: %s", name)
                return None
            if rates is not None:
                return rates
        return None
