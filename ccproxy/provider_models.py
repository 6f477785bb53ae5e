"""What the provider reports about its models before Claude Code starts: availability and context sizes."""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ccproxy_middleware.models import DEFAULT_UPSTREAM, split_upstream

from .doctor import as_only, open_probe
from .settings import Settings, Upstream, names_of, tier_models

_LIMIT = 6.0  # seconds for each request: a provider that lists its models slowly may still answer well
_OWN_API_LIMIT = 2.0  # and for one on this machine

Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Told:
    """The results of the providers of all tiers.

    failure: why a tier has no model that can be reached, empty if all have one; remedy: what to check then. models: the
    providers' own entries, by id, which is ``NAME:id`` for upstreams other than the default one.
    """

    failure: str = ""
    remedy: str = ""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def ask_providers(settings: Settings) -> Told:
    """Query the list of models of each tier's provider, in the same way as the proxy would."""
    logging.getLogger("ccproxy").addHandler(logging.NullHandler())  # the caller reports the failure
    return asyncio.run(_ask_all(settings))


async def _ask_all(settings: Settings) -> Told:
    by_tier = [[_upstream(settings, model) for model in names_of(models)] for models in tier_models(settings).values()]
    names = list(dict.fromkeys(name for names in by_tier for name in names))
    asked = await asyncio.gather(*(_ask(as_only(settings, name), settings.upstream(name)) for name in names))
    failures = {name: failure for name, (failure, _) in zip(names, asked, strict=True) if failure}
    models: Entries = {}
    for name, (_, entries) in zip(names, asked, strict=True):
        prefix = "" if name == DEFAULT_UPSTREAM else f"{name}:"
        models |= {f"{prefix}{id_}": entry for id_, entry in entries.items()}
    down = next((names for names in by_tier if all(name in failures for name in names)), None)
    if down is None:
        return Told(models=models)
    upstream = settings.upstream(down[0])
    variable = upstream.own_names("OPENAI_BASE_URL")
    return Told(failures[down[0]], f"Is {variable}={upstream.base_url} right, is the server up", models)


def _upstream(settings: Settings, model: str) -> str:
    return split_upstream(model, settings.upstreams)[0] or DEFAULT_UPSTREAM


async def _ask(settings: Settings, upstream: Upstream) -> tuple[str, Entries]:
    """Why an upstream can't be reached, and its entries. ``settings``: as if it were the only one."""
    failure = ""
    models: Entries = {}
    try:
        async with asyncio.timeout(_LIMIT), open_probe(settings, upstream.name) as probe:
            answer = await probe.get("/models")
        failure = answer.error if answer.error.startswith("could not connect") else ""
        data = answer.data.get("data") if isinstance(answer.data, dict) else None
        for entry in data if isinstance(data, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                models[entry["id"]] = entry
    except TimeoutError:
        pass
    if not failure and not upstream.is_anthropic:
        await _add_sizes(settings, models)
    return failure, models


async def _add_sizes(settings: Settings, models: Entries) -> None:
    """Add the context sizes that local servers report through APIs of their own."""
    root = re.sub(r"/v1/?$", "", settings.openai_base_url)
    names = {settings.big_model, settings.middle_model, settings.small_model}
    async with httpx.AsyncClient(base_url=root, timeout=_OWN_API_LIMIT, trust_env=False) as client:
        try:
            if settings.provider == "ollama":
                loaded = _context_lengths(await _json(client, "GET", "/api/ps"), "models", "name")
                for name in names:
                    shown = await _json(client, "POST", "/api/show", {"model": name})
                    size = loaded.get(name) or loaded.get(f"{name}:latest") or _ollama_size(shown)
                    if size:
                        models.setdefault(name, {"id": name})["context_length"] = size
            elif settings.provider == "llama.cpp":  # its list contains the sizes for which the models were trained
                served = await _json(client, "GET", "/props")
                generation = served.get("default_generation_settings") if isinstance(served, dict) else None
                size = generation.get("n_ctx") if isinstance(generation, dict) else None
                if type(size) is int and size > 0:
                    for name in names:
                        models.setdefault(name, {"id": name})["meta"] = {"n_ctx": size}
            elif settings.provider == "lmstudio":
                for name, size in _context_lengths(await _json(client, "GET", "/api/v0/models"), "data", "id").items():
                    models.setdefault(name, {"id": name})["context_length"] = size
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return


async def _json(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    answer = await client.request(method, path, json=body)
    return answer.json() if answer.status_code == 200 else None


def _context_lengths(payload: Any, key: str, name: str) -> dict[str, int]:
    """The sizes in a list of models: the size with which a model was loaded, else its maximum."""
    entries = payload.get(key) if isinstance(payload, dict) else None
    sizes = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            found = [entry.get(f) for f in ("loaded_context_length", "context_length", "max_context_length")]
            size = next((value for value in found if type(value) is int and value > 0), None)
            if size is not None and isinstance(entry.get(name), str):
                sizes[entry[name]] = size
    return sizes


def _ollama_size(shown: Any) -> int | None:
    """The size in Ollama's description of a model: the ``num_ctx`` with which it is run, else its maximum.

    OLLAMA_CONTEXT_LENGTH of the server, which is usually smaller, is visible only once the model is loaded.
    """
    if not isinstance(shown, dict):
        return None
    if found := re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters", "")), re.MULTILINE):
        return int(found[1])
    about = shown.get("model_info")
    sizes = [v for k, v in about.items() if k.endswith(".context_length")] if isinstance(about, dict) else []
    return next((size for size in sizes if type(size) is int and size > 0), None)
