"""The limits of one key, and the check of those that need no counting."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from ..auth import forbidden
from ..routing import Rates, glob_pattern
from ..toolkit.errors import ApiError


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key may do; None means no limit.

    tiers: of ``big``, ``middle``, ``small``. models: names of models, in which ``*`` stands for any characters and
    ``?`` for one, ignoring case. requests_per_minute, tokens_per_minute: in any 60 seconds, at least 1. usd_per_day,
    usd_per_month: US dollars in a UTC day or month.
    """

    tiers: Collection[str] | None = None
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None

    @property
    def rates(self) -> Rates | None:
        """The limits that are counted per minute."""
        rates = Rates(self.requests_per_minute, self.tokens_per_minute)
        return None if rates == Rates() else rates

    @property
    def has_cap(self) -> bool:
        """Whether there is a limit on cost."""
        return self.usd_per_day is not None or self.usd_per_month is not None


def not_allowed(key: str, limits: KeyLimits, tier: str | None, names: Collection[str]) -> ApiError | None:
    """The refusal of a request whose tier (None: its model is none of Claude's) or model the key may not use.

    ``names``: the names under which the model may be allowed, the provider's first. A model without a tier is allowed
    only by ``models``.
    """
    tiers, models = limits.tiers, limits.models
    if tiers is not None and tier not in tiers and (tier is not None or models is None):
        found = "is of none" if tier is None else f"is of the tier {tier}"
        word = "tiers" if len(tiers) > 1 else "tier"
        return forbidden(f"the key {key} may use the {word} {_listed(tiers)}; {next(iter(names))} {found}")
    if models is None:
        return None
    allowed = glob_pattern(models)
    if any(allowed.fullmatch(name) for name in names):
        return None
    return forbidden(f"the key {key} may use the models {_listed(models)}; this request is for {next(iter(names))}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)
