"""The layer that refuses a request beyond the limits of its key, before any provider is called."""

import math
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from ..auth import Admission, forbidden
from ..conversion.claude_code import told_at_once
from ..models import ANSWER_PATHS, COUNT_PATHS, tier_of
from ..routing import (
    TIERS,
    Candidate,
    LocalLimits,
    PaceLimits,
    Place,
    Rates,
    RequestFacts,
    Route,
    Selection,
    chosen_by_client,
)
from ..toolkit.asgi import BufferedBody, route_path
from ..toolkit.errors import ApiError, invalid_request, read_request, send_error
from ..toolkit.record import Record, get_record, observe
from .limits import KeyLimits, not_allowed
from .spending import Accounts, Spending, caps_of, reached

_MESSAGES = "/messages"

HasPrice = Callable[[str, str], bool]
CountedBy = Callable[[str, Rates], PaceLimits]


class BudgetMiddleware:
    """Enforce the limits of each client's key: tiers and models, requests and tokens per minute, dollars per day and
    month.

    limits: returns the current limits of the key with a given name, or None where it has none.
    counted_by: counts requests and tokens per minute, by a name and the rates; without it they are counted in this
        process.
    spending: returns what a key has spent; without it, a key with a limit on cost gets a 403.
    has_price: whether a model (upstream, model) has a price; without it every model counts as priced.
    upstreams, routes: those of RoutingMiddleware, to determine which models may answer. helpers: the models (upstream,
        model) that inner layers may call on behalf of a request; they need a price too.

    A tier or model that is not allowed is a 403 ``permission_error``. If the key has a limit on cost, so is a model
    without a price, and a path whose costs are not known. Too many requests or tokens per minute are a 429
    ``rate_limit_error`` with ``retry-after``. For tokens, the estimate of the prompt is counted at the start, and
    replaced at the end by the tokens that were actually used. Once a key has spent its limit, its requests are a 429
    ``billing_error`` with ``x-should-retry: false`` and the ``anthropic-ratelimit-unified-*`` headers of an exhausted
    limit.

    Reads: ``ccproxy.client_key`` in the scope, or the credential, where AuthMiddleware stands inside; ``model`` in the
    body; ``ccproxy.model`` and ``ccproxy.candidates`` in the scope; ``ccproxy.record`` at the end, for the usage and
    cost of a request.
    Writes: nothing. A refusal is in the dialect of the path. Claude Code gets a 424 instead of the 403, since it shows
    the message of a 424 without asking for a login.
    Needs: asyncio, and for requests and tokens per minute the package ``limits``. AuthMiddleware, which determines the
    key's name. A place inside ModelMappingMiddleware; outside of it only the names that clients use are known.
    Alone: does nothing, since no key has a name then.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Callable[[str], KeyLimits | None],
        counted_by: CountedBy = LocalLimits,
        spending: Spending | None = None,
        has_price: HasPrice | None = None,
        upstreams: Collection[str] = (),
        routes: Sequence[Route] = (),
        helpers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.app = app
        self._admission = Admission(app)
        self._limits = limits
        self._counted_by = counted_by
        self._accounts = None if spending is None else Accounts(spending)
        self._has_price = has_price
        self._upstreams = frozenset(("default", *map(str.lower, upstreams)))
        self._selection = Selection(tuple(routes), self._upstreams)
        self._helpers = tuple(Candidate(*pair) for pair in helpers)
        self._counters: dict[str, tuple[Rates, PaceLimits]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope) if scope["type"] == "http" else ""
        if scope["type"] != "http" or scope["method"] != "POST" or not path.endswith(ANSWER_PATHS + COUNT_PATHS):
            return await self.app(scope, receive, send)
        name = self._admission.key_name(scope)
        limits = None if name is None else self._limits(name)
        if name is None or limits is None or (scope.get("ccproxy.model") or {}).get("fixed"):
            return await self.app(scope, receive, send)
        if await self._admission.refuses(scope, send):
            return
        request = await read_request(scope, receive, send)
        if request is None:
            return
        scope, body = request
        counted: _Counted | None = None
        try:
            facts = await self._check(name, limits, scope, body)
            if path.endswith(ANSWER_PATHS):
                await self._check_money(name, limits)
                counted = await self._take(name, limits, body, facts)
        except ApiError as error:
            return await send_error(scope, told_at_once(scope, send), error)
        del facts
        end = partial(self._end, name, limits, counted)
        await observe(self.app, scope, body, send, end)

    async def _check(self, name: str, limits: KeyLimits, scope: Scope, body: BufferedBody) -> RequestFacts:
        """The facts about a request that is allowed. Raises ApiError for one that is not."""
        data = await body.json_object()
        if data is None:
            raise invalid_request("The request body is not a JSON object")
        model = data.get("model")
        if not isinstance(model, str):
            raise invalid_request("model: Field required")
        facts = RequestFacts(data, scope)
        tier = self._tier(scope, facts)
        names = [model] if tier is None or facts.model is None else [model, facts.model]
        if (refusal := not_allowed(name, limits, tier, names)) is not None:
            raise refusal
        if limits.has_cap:
            _, candidates = await body.work(partial(self._selection.candidates, scope, model, lambda: facts))
            self._check_prices(name, scope, candidates)
        return facts

    def _tier(self, scope: Scope, facts: RequestFacts) -> str | None:
        """The tier that the client requests; None where it names an upstream, or a model that is none of Claude's."""
        if facts.model is None or chosen_by_client(facts.model, self._upstreams) is not None:
            return None
        if "ccproxy.candidates" in scope:  # the names have been mapped
            return facts.tier
        return TIERS.get(tier_of(facts.model) or "")

    def _check_prices(self, name: str, scope: Scope, candidates: Sequence[Candidate]) -> None:
        if self._accounts is None:
            raise forbidden(f"the key {name} has a spend limit, and nothing here counts what it spends")
        record = get_record(scope)
        path = route_path(scope) if record is None else record.path
        if not path.endswith((_MESSAGES, *COUNT_PATHS)):
            raise forbidden(f"the key {name} has a spend limit: it may ask by /v1/messages, whose costs are counted")
        for candidate in (*candidates, *self._helpers):
            if self._has_price is not None and not self._has_price(*candidate):
                model = candidate.model if candidate.upstream == "default" else str(candidate)
                raise forbidden(
                    f"the key {name} has a spend limit, and the model {model} has no price: whoever runs this proxy "
                    "can set one in PRICES_FILE"
                )

    async def _check_money(self, name: str, limits: KeyLimits) -> None:
        now = datetime.now(UTC)
        for cap in caps_of(limits, now) if self._accounts is not None else ():
            assert self._accounts is not None  # noqa: S101
            spent = await self._accounts.spent(name, cap)
            if spent >= cap.dollars:
                raise reached(name, cap, spent, now)

    async def _take(self, name: str, limits: KeyLimits, body: BufferedBody, facts: RequestFacts) -> "_Counted | None":
        rates = limits.rates
        if rates is None:
            self._counters.pop(name, None)
            return None
        known = self._counters.get(name)
        if known is None or known[0] != rates:
            self._counters[name] = known = rates, self._counted_by(name, rates)
        tokens = await body.work(lambda: facts.input_tokens) if rates.tpm else 0
        taken = await known[1].take(tokens)
        if isinstance(taken, Place):
            return _Counted(known[1], taken)
        seconds = max(1, math.ceil(taken))
        counted = {"requests": rates.rpm, "tokens": rates.tpm}
        words = " and ".join(f"{count:,} {what}" for what, count in counted.items() if count is not None)
        message = f"the key {name} has a limit of {words} per minute: try again in {seconds} seconds"
        raise ApiError(429, "rate_limit_error", message, headers=[("retry-after", str(seconds))])

    def _end(self, name: str, limits: KeyLimits, counted: "_Counted | None", record: Record) -> None:
        if counted is not None:
            used = _tokens(record)
            counted.by.release(counted.place, counted.place.tokens if used is None else used)
        if self._accounts is not None and limits.has_cap and record.cost is not None:
            self._accounts.add(name, record.time, record.cost)


class _Counted(NamedTuple):
    by: PaceLimits
    place: Place


def _tokens(record: Record) -> int | None:
    """The tokens of an exchange; None where usage was not reported and tokens may have been used."""
    usage: Any = record.usage
    if not usage:
        return 0 if record.status is not None and record.status >= 400 else None
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    return sum(value for name in names if isinstance(value := usage.get(name), int) and 0 < value < 2**53)
