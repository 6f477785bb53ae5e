"""Cool-downs: how long a candidate is not used after a failure."""

import random
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from ...toolkit.errors import FailureReason
from ...toolkit.store import Store
from .candidates import Option

FIRST = 5.0  # seconds, doubled after each failure
LONGEST = 300.0
UNTIL_SET_ANEW = 86_400.0  # for a refused key: longer than any client waits
_LONGEST_TOLD = 86_400.0  # stated by a provider
_PROBE = 30.0  # seconds for which no other request tries a candidate that is being probed
_LOOKED = 0.2  # seconds for which the result "no cool-downs" is cached
_REMEMBERED = 600.0  # seconds after its end during which a cool-down makes the next one longer

_LONGEST_KEPT = 200  # characters of a model's name; clients may send made-up names

_UPSTREAM: tuple[FailureReason, ...] = ("connect", "timeout", "overloaded", "server")
_KEY: tuple[FailureReason, ...] = ("refused_key", "quota")


class Cooldown(NamedTuple):
    """A stored cool-down. until, since: seconds since the epoch. failures: the number of consecutive failures."""

    until: float
    since: float
    failures: int
    reason: str

    def dump(self) -> bytes:
        """The form in which it is stored."""
        return f"{self.until!r} {self.since!r} {self.failures} {self.reason}".encode()


class Probe(NamedTuple):
    """The cool-downs of an option that is tried in spite of them: those there are, and those that no other request
    probes.
    """

    known: list[str]
    claimed: list[str]


class Cooldowns:
    """The cool-downs of all candidates, in a store: by upstream, key, model and key with model.

    ``clock`` returns the seconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._some = True  # whether there may be any, checked now and then
        self._looked_at = -_LOOKED

    def find(self, option: Option) -> Cooldown | None:
        """The cool-down that prevents this option from being used now, the longest if there are several."""
        if not self._any():
            return None
        now = self._clock()
        found = [cooldown for name in _names(option) if (cooldown := self._get(name)) and cooldown.until > now]
        return max(found, default=None)

    def wait(self, options: Iterable[Option]) -> float | None:
        """Seconds until the first of these options may be used; None where there are none."""
        now = self._clock()
        waits = [cooldown.until - now if (cooldown := self.find(option)) else 0.0 for option in options]
        return min(waits, default=None)

    def probe(self, option: Option) -> Probe | None:
        """Reserve an option whose cool-down is over for one request, which tests it; None if the option has no
        cool-down.
        """
        if not self._any():
            return None
        now = self._clock()
        known, claimed = [], []
        for name in _names(option):
            if (cooldown := self._get(name)) is not None:
                known.append(name)
                if cooldown.until <= now:
                    claimed.append(name)
                    self._put(name, cooldown._replace(until=now + _PROBE), _PROBE)
        return Probe(known, claimed) if known else None

    def release(self, probe: Probe | None) -> None:
        """A probe had no result, for instance because its client disconnected: the next request may probe."""
        now = self._clock()
        for name in probe.claimed if probe is not None else ():
            if (cooldown := self._get(name)) is not None:
                self._put(name, cooldown._replace(until=now), 0.0)

    def clear(self, probe: Probe | None) -> None:
        """Remove the cool-downs of an option that has answered."""
        for name in probe.known if probe is not None else ():
            self._store.delete(name)

    def start(
        self, option: Option, reason: FailureReason, *, asked_at: float, told: float | None, refuses_key: bool = False
    ) -> float | None:
        """Start the cool-down of an option that has failed. Returns its seconds, or None where the failure requires
        none.

        ``asked_at``: since the epoch; failures of concurrent requests count once. ``told``: seconds that the provider
        has stated.
        """
        name = _name(option, reason)
        if name is None:
            return None
        now = self._clock()
        before = self._get(name)
        count = 1 if before is None else before.failures if before.since > asked_at else before.failures + 1
        if refuses_key:
            seconds = UNTIL_SET_ANEW
        elif told is not None:
            seconds = min(max(1.0, told), _LONGEST_TOLD)
        else:
            seconds = min(LONGEST, FIRST * 2.0 ** min(count - 1, 10)) * random.uniform(0.8, 1.2)  # noqa: S311
        if before is not None and before.since > asked_at:
            seconds = max(seconds, before.until - now)
        self._put(name, Cooldown(now + seconds, now, count, reason), seconds)
        return seconds

    def _any(self) -> bool:
        """Whether there is any cool-down, from a recently cached result; usually there is none."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOKED:
            self._looked_at = now
            self._some = next(iter(self._store.items("cooldown:")), None) is not None
        return self._some

    def _get(self, name: str) -> Cooldown | None:
        value = self._store.get(name)
        if value is None:
            return None
        try:
            until, since, count, reason = value.decode().split(" ")
            return Cooldown(float(until), float(since), int(count), reason)
        except ValueError:  # written by another version
            return None

    def _put(self, name: str, cooldown: Cooldown, seconds: float) -> None:
        self._some = True
        self._store.put(name, cooldown.dump(), seconds + _REMEMBERED)


def _names(option: Option) -> tuple[str, ...]:
    is_short = len(option.model) <= _LONGEST_KEPT
    return (_all_names if is_short else _all_names.__wrapped__)(option.upstream, option.model, option.key_id)


@lru_cache(maxsize=4096)
def _all_names(upstream: str, model: str, key: str) -> tuple[str, ...]:
    start = f"cooldown:{upstream}"
    of_model = sha256(model.encode(errors="replace")).hexdigest()[:16]  # the client may have made it up
    return start, f"{start}:key:{key}", f"{start}:model:{of_model}", f"{start}:key:{key}:model:{of_model}"


def _name(option: Option, reason: FailureReason) -> str | None:
    upstream, key, model, both = _names(option)
    if reason in _UPSTREAM:
        return upstream
    if reason in _KEY:
        return key
    return {"rate_limit": both, "model_gone": model}.get(reason)
