"""The metrics of the upstreams between which a RoutingMiddleware chooses."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..toolkit.record import Attempt, ProviderCall

_WAITS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_MAX_UPSTREAMS = 64  # upstreams that have labels of their own


class UpstreamInstruments:
    """How often each upstream was called, failed, was skipped, and made requests wait."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._names: set[str] = set()
        self._requests = Counter(
            "ccproxy_upstream_requests", "Requests that upstreams were asked.", ("upstream",), registry=registry
        )
        self._errors = Counter(
            "ccproxy_upstream_errors",
            "Requests that upstreams have not answered, or not to the end, by the reason.",
            ("upstream", "reason"),
            registry=registry,
        )
        self._cooldowns = Counter(
            "ccproxy_upstream_cooldowns",
            "Times that an upstream, one of its keys or models was left alone after a failure.",
            ("upstream", "reason"),
            registry=registry,
        )
        self._waits = Histogram(
            "ccproxy_upstream_queue_wait_seconds",
            "Time for which requests have waited for their turn at an upstream; those that had none to wait for apart.",
            ("upstream",),
            buckets=_WAITS,
            registry=registry,
        )
        self._waiting = Gauge(
            "ccproxy_upstream_queue_length",
            "Requests that wait for their turn at an upstream.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livesum",
        )

        self._costs = Counter(
            "ccproxy_cost_usd",
            "US dollars that calls of providers have cost, as far as their prices are known.",
            ("upstream", "model"),
            registry=registry,
        )

        self._count_request = cache(lambda upstream: self._requests.labels(upstream).inc)  # faster than labels()

    def queue(self, upstream: str, change: int) -> None:
        """A request begins to wait at an upstream (1), or no longer does (-1)."""
        self._waiting.labels(self._label(upstream)).inc(change)

    def end(self, attempt: Attempt) -> None:
        """An exchange is over in which this was tried."""
        upstream = self._label(attempt.upstream)
        if attempt.waited:
            self._waits.labels(upstream).observe(attempt.waited)
        if not attempt.asked:
            return
        self._count_request(upstream)()
        if attempt.reason is not None and attempt.reason != "refused":
            self._errors.labels(upstream, attempt.reason).inc()
        if attempt.cooled is not None:
            self._cooldowns.labels(upstream, attempt.reason or "none").inc()

    def spend(self, call: ProviderCall, model: str) -> None:
        """Count the cost of a call. ``model``: the label."""
        if call.cost:
            self._costs.labels(self._label(call.upstream or "none"), model).inc(float(call.cost))

    def _label(self, upstream: str) -> str:
        if upstream not in self._names:
            if len(self._names) >= _MAX_UPSTREAMS:
                return "other"
            self._names.add(upstream)
        return upstream
