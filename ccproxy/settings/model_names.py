"""The models that the settings name: comma-separated lists, and ``NAME:model`` for a model of another upstream."""

from collections.abc import Iterable
from typing import NamedTuple, Self

from ccproxy_middleware.models import DEFAULT_UPSTREAM, canonical_model, split_models, split_upstream

MODELS = "a model, or several separated by commas, each model or NAME:model"


class ModelNames(str):
    """The first of a list of models, which is asked first; ``all`` are this model and its standbys."""

    all: tuple[str, ...]

    def __new__(cls, models: str | Iterable[str]) -> Self:
        """Raises ValueError for a list without a model."""
        names = models.all if isinstance(models, ModelNames) else split_models(_listed(models))
        if not names:
            raise ValueError("there is no model in it")
        made = super().__new__(cls, names[0])
        made.all = names
        return made


class NamedModel(NamedTuple):
    """A model of an upstream, and the variables and routes that name it."""

    upstream: str
    model: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        return self.model if self.upstream == DEFAULT_UPSTREAM else f"{self.upstream}:{self.model}"


def names_of(models: str | None) -> tuple[str, ...]:
    """All models of a setting; empty if it is unset."""
    if models is None:
        return ()
    return models.all if isinstance(models, ModelNames) else split_models(models)


def collect(by_place: Iterable[tuple[str, str]], upstreams: Iterable[str]) -> list[NamedModel]:
    """Each model once, with all its places, from pairs of (place, model)."""
    names = frozenset(upstreams)
    found: dict[tuple[str, str], dict[str, None]] = {}
    for place, model in by_place:
        upstream, own = split_upstream(model, names)
        found.setdefault((upstream or DEFAULT_UPSTREAM, own), {})[place] = None
    return [NamedModel(upstream, model, tuple(places)) for (upstream, model), places in found.items()]


def planner_candidates(model: str, upstreams: Iterable[str]) -> tuple[list[str], list[str]]:
    """The models of BOOST_MODEL without an upstream, and those with one."""
    names = frozenset(upstreams)
    plain: list[str] = []
    named: list[str] = []
    for text in names_of(model):
        (plain if split_upstream(text, names)[0] is None else named).append(text)
    return plain, named


def canonical(models: Iterable[str], upstreams: Iterable[str]) -> tuple[str, ...]:
    """Each model in its canonical form."""
    names = frozenset(upstreams)
    return tuple(canonical_model(model, names) for model in models)


def _listed(models: str | Iterable[str]) -> str | tuple[str, ...]:
    return models if isinstance(models, str) else tuple(models)
