"""Where a request is sent, and why."""

from functools import lru_cache
from time import perf_counter
from typing import NamedTuple
from urllib.parse import quote

from ...toolkit.record import Attempt, Record
from .candidates import Candidate, Option

_SHOWN = 8  # candidates that were passed over
_LONGEST = 100  # characters of a name
_MAX_ATTEMPTS = 100  # that a record keeps
_AS_THEY_ARE = " !#$&'*+-./:<>?@[]^_`{|}~"


class Routed(NamedTuple):
    """Where a request is sent, and why: ``passed`` are the candidates that were skipped, each with the reason.

    ``rule`` is the name of a rule; ``client``, where the client has named the upstream; or ``tier``.
    """

    rule: str
    upstream: str
    model: str
    passed: tuple[tuple[str, str], ...] = ()

    def header(self) -> str:
        """The value of ``x-cc-boost-route``. Characters that have a meaning there are percent-encoded."""
        text = f"rule={_shown(self.rule)}; upstream={_shown(self.upstream)}; model={_shown(self.model)}"
        passed = ",".join(f"{_shown(name)}({reason})" for name, reason in self.passed[-_SHOWN:])
        return f"{text}; passed={passed}"[:1000] if passed else text


def _shown(name: str) -> str:
    return _quoted(name[:_LONGEST])


@lru_cache(maxsize=1024)
def _quoted(name: str) -> str:
    return quote(name, safe=_AS_THEY_ARE, errors="replace")


class Trail:
    """The history of a request's candidates so far, for the header and the record."""

    def __init__(self, rule: str, record: Record | None) -> None:
        self.asked = 0
        self._rule = rule
        self._record = record
        self._began = perf_counter() if record is None else record.started
        self._passed: list[tuple[str, str]] = []
        if record is not None:
            record.rule = rule

    def now(self) -> float:
        """Seconds since the exchange's start."""
        return perf_counter() - self._began

    def begin(self, option: Option, waited: float) -> Attempt:
        """An option is tried."""
        self.asked += 1
        attempt = Attempt(option.upstream, option.model, self.now(), key=option.key, waited=waited)
        if self._record is not None:
            self._record.upstream, self._record.model = option.upstream, option.model
            self._record.upstream_status = self._record.upstream_request_id = None
        self._keep(attempt)
        return attempt

    def skip(self, candidate: Candidate, reason: str, waited: float = 0.0) -> None:
        """A candidate is skipped without being tried."""
        name = str(candidate)
        if waited or (name, reason) not in self._passed:
            now = self.now()
            self._keep(Attempt(*candidate, now - waited, reason, asked=False, waited=waited, ended=now))
            self._passed.append((name, reason))

    def pass_over(self, attempt: Attempt, reason: str) -> None:
        """A candidate that was tried has failed."""
        attempt.reason = reason
        self._passed.append((f"{attempt.upstream}:{attempt.model}", reason))

    def routed(self, option: Option) -> Routed:
        """Where the request is sent now."""
        return Routed(self._rule, option.upstream, option.model, tuple(self._passed))

    def _keep(self, attempt: Attempt) -> None:
        if self._record is not None and len(self._record.attempts) < _MAX_ATTEMPTS:
            self._record.attempts.append(attempt)
