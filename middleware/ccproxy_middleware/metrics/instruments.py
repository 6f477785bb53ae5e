"""The metrics themselves, and how an exchange changes them. Imports prometheus-client, so only MetricsMiddleware
imports it.

Names and buckets are those of OpenTelemetry for generative AI where they exist, in Prometheus' spelling: see
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

import os
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from ..models import TIERS
from ..toolkit.asker import AGENT_TYPES, REQUEST_CLASSES
from ..toolkit.record import Record
from .counter_files import allocate_counter_files
from .upstreams import UpstreamInstruments

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
CLIENT_LEFT = 499
"""Stands for the status of an exchange whose client left before the answer began, as in nginx's log."""

_DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_LONG = (163.84, 327.68, 655.36)  # beyond OpenTelemetry's: for the long answers of coding agents
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_LATE = (20.0, 40.0, 80.0)  # also beyond them: for models that reason, or that must be loaded first
_TOKENS = tuple(float(4**n) for n in range(14))
_MAX_COUNT = 2**53
_MAX_KEYS = 100  # names that are used as labels
_CHAT = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "tier")
_KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_creation": "cache_creation_input_tokens",
}
_CHAT_ROUTES = frozenset(("messages", "chat_completions", "responses"))
_ERRORS = frozenset(
    (
        *("invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error"),
        *("conflict_error", "request_too_large", "rate_limit_error", "api_error", "timeout_error", "overloaded_error"),
    )
)


class Instruments:
    """The metrics of one layer. Every label has few values: a value from a client is ``other`` unless it is known."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._registry = registry
        requests = Counter(
            "ccproxy_requests",
            f"Exchanges that are over. Status {CLIENT_LEFT}: the client left before the answer began.",
            ("route", "tier", "status", "outcome"),
            registry=registry,
        )
        errors = Counter(
            "ccproxy_errors",
            "Errors that clients were told, in mid-stream too, by Anthropic's type.",
            ("type", "tier"),
            registry=registry,
        )
        duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from the request to the end of the answer.",
            (*_CHAT, "error_type"),
            buckets=_DURATIONS + _LONG,
            registry=registry,
        )
        first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from the request to the first byte of a streamed answer.",
            _CHAT,
            buckets=_FIRST_TOKEN + _LATE,
            registry=registry,
        )
        usage = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of one exchange; input includes what was read from or written to a cache.",
            (*_CHAT, "gen_ai_token_type"),
            buckets=_TOKENS,
            registry=registry,
        )
        tokens = Counter(
            "ccproxy_tokens",
            "Tokens by what they cost: input without the cached ones, output, cache_read, cache_creation.",
            ("kind", "tier"),
            registry=registry,
        )
        agents = Counter(
            "ccproxy_agent_requests",
            "Exchanges of Claude Code's agents that are over, by what it tells of them in its headers.",
            ("request_class", "agent_type"),
            registry=registry,
        )
        agent_tokens = Counter(
            "ccproxy_agent_tokens",
            "Tokens of Claude Code's agents, of the kinds of ccproxy_tokens.",
            ("kind", "request_class", "agent_type"),
            registry=registry,
        )
        keys = Counter(
            "ccproxy_key_requests",
            f"Exchanges that are over, by the name of the client's key; beyond {_MAX_KEYS} names: other.",
            ("client_key", "status"),
            registry=registry,
        )
        key_tokens = Counter(
            "ccproxy_key_tokens",
            "Tokens by the name of the client's key, of the kinds of ccproxy_tokens.",
            ("kind", "client_key"),
            registry=registry,
        )
        self._active = Gauge(
            "ccproxy_active_streams", "Streams under way.", registry=registry, multiprocess_mode="livesum"
        )
        self._retries = Counter(
            "ccproxy_retries", "Tries at the provider beyond the first of an exchange.", registry=registry
        )
        self._connections = Counter(
            "ccproxy_upstream_connections", "Connections to the provider that were newly opened.", registry=registry
        )
        boosts = Counter(
            "ccproxy_boosts", "Boosted exchanges by what came of them.", ("outcome", "tier"), registry=registry
        )
        loops = Counter("ccproxy_boost_loops", "Rounds of plan and execution.", ("tier",), registry=registry)
        hits = Counter(
            "ccproxy_boost_cache_hits", "Plans that the planner was not asked for.", ("tier",), registry=registry
        )
        searches = Counter(
            "ccproxy_web_searches", "Web searches that were run for models.", ("outcome",), registry=registry
        )

        self._upstreams = UpstreamInstruments(registry)
        self.queue = self._upstreams.queue
        self._count_request = _bound(requests, "inc")
        self._count_error = _bound(errors, "inc")
        self._count_tokens = _bound(tokens, "inc")
        self._count_agent = _bound(agents, "inc")
        self._count_agent_tokens = _bound(agent_tokens, "inc")
        self._count_key = _bound(keys, "inc")
        self._count_key_tokens = _bound(key_tokens, "inc")
        self._keys: set[str] = set()
        self._count_boost = _bound(boosts, "inc")
        self._count_loops = _bound(loops, "inc")
        self._count_hits = _bound(hits, "inc")
        self._count_searches = _bound(searches, "inc")
        self._time_request = _bound(duration, "observe")
        self._time_first_token = _bound(first_token, "observe")
        self._add_usage = _bound(usage, "observe")

    def begin_stream(self) -> None:
        """A streamed answer has started."""
        self._active.inc()

    def end_stream(self) -> None:
        """A streamed answer is over."""
        self._active.dec()

    def end(self, route: str, models: Collection[str], record: Record) -> None:
        """Count a completed exchange. ``models``: the names that may be used as labels."""
        tier = record.tier if record.tier in TIERS else "none"
        error = "" if record.error is None else record.error if record.error in _ERRORS else "other"
        status = record.status or (CLIENT_LEFT if record.outcome == "disconnected" else 500)
        self._count_request(route, tier, status, record.outcome)(1)
        if error:
            self._count_error(error, tier)(1)
        if record.client_key is not None:
            self._count_key(self._key(record.client_key), status)(1)
        if route in _CHAT_ROUTES:
            self._chat(tier, error, record.model if record.model in models else "other", record)
        for attempt in record.attempts:
            self._upstreams.end(attempt)
        for call in record.calls:
            self._upstreams.spend(call, call.model if call.model is not None and call.model in models else "other")
        if record.retries:
            self._retries.inc(record.retries)
        if record.upstream_connections:
            self._connections.inc(record.upstream_connections)
        if record.boost_outcome is not None:
            self._count_boost(record.boost_outcome, tier)(1)
            self._count_loops(tier)(record.boost_loops or 0)
            self._count_hits(tier)(record.boost_cache_hits)
        if record.web_searches:
            self._count_searches("success")(record.web_searches - record.web_searches_failed)
            self._count_searches("failure")(record.web_searches_failed)

    def _chat(self, tier: str, error: str, model: str | None, record: Record) -> None:
        labels = ("chat", record.provider or "unknown", model, tier)
        self._time_request(*labels, error)(record.duration or 0.0)
        if record.stream and record.status == 200 and record.first_byte is not None:
            self._time_first_token(*labels)(record.first_byte)
        asker = record.asker
        of_agent = (_known(asker.request_class, REQUEST_CLASSES), _known(asker.agent_type, AGENT_TYPES))
        told = asker.request_class is not None
        if told:
            self._count_agent(*of_agent)(1)
        if not record.usage:
            return
        counts = {kind: _count(record.usage.get(name)) for kind, name in _KINDS.items()}
        for kind, count in counts.items():
            if count:
                self._count_tokens(kind, tier)(count)
                if record.client_key is not None:
                    self._count_key_tokens(kind, self._key(record.client_key))(count)
                if told:
                    self._count_agent_tokens(kind, *of_agent)(count)
        output = counts.pop("output")
        self._add_usage(*labels, "input")(sum(counts.values()))
        self._add_usage(*labels, "output")(output)

    def _key(self, name: str) -> str:
        if name not in self._keys:
            if len(self._keys) >= _MAX_KEYS:
                return "other"
            self._keys.add(name)
        return name

    def page(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type. Sums up all processes that share the directory of MULTIPROCESS."""
        registry = self._registry
        if registry is None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


def _bound(metric: Counter | Histogram, method: str) -> Callable[..., Callable[[float], None]]:
    """The metric's method for these label values, cached: prometheus-client takes long to look one up."""

    @cache
    def bound(*labels: str) -> Any:
        return getattr(metric.labels(*labels), method)

    return bound


def make_instruments() -> Instruments:
    """Metrics with a registry of their own; where processes share a directory, the one set of this process.

    Raises OSError where there is no space for the files, and so may every method of the set.
    """
    if not os.environ.get(MULTIPROCESS):
        return Instruments(CollectorRegistry())
    os.makedirs(os.environ[MULTIPROCESS], mode=0o700, exist_ok=True)
    allocate_counter_files()
    return _shared()


@cache
def _shared() -> Instruments:
    """Two sets of one process would overwrite each other's values in its files."""
    return Instruments(None)


def _known(name: str | None, names: Collection[str]) -> str:
    return "none" if name is None else name if name in names else "other"


def _count(value: object) -> int:
    """A token count as a provider has reported it; one that doesn't fit into a float counts as none."""
    return value if isinstance(value, int) and 0 < value < _MAX_COUNT else 0
