"""What the provider tells of its models before Claude Code starts: that it is there, and how much they take."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from ..doctor import open_probe
from ..settings import Settings

_LIMIT = 6.0  # seconds for each question: a provider that is slow to list its models may answer well
_OWN_API_LIMIT = 2.0  # and for one on this machine

Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Told:
    """failure: why the provider can't be reached, empty if it can. models: its own entries, by id."""

    failure: str = ""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def ask_provider(settings: Settings) -> Told:
    """Ask the provider for its models, as the proxy would ask it."""
    return asyncio.run(_ask(settings))


async def _ask(settings: Settings) -> Told:
    failure = ""
    models: Entries = {}
    try:
        async with asyncio.timeout(_LIMIT), open_probe(settings) as probe:
            answer = await probe.get("/models")
        failure = answer.error if answer.error.startswith("could not connect") else ""
        data = answer.data.get("data") if isinstance(answer.data, dict) else None
        for entry in data if isinstance(data, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("id"), str):
                models[entry["id"]] = entry
    except TimeoutError:
        pass
    if not failure:
        await _add_sizes(settings, models)
    return Told(failure, models)


async def _add_sizes(settings: Settings, models: Entries) -> None:
    """Add the context sizes that local servers tell by APIs of their own."""
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
            elif settings.provider == "llama.cpp":  # its list tells what the models were trained for
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
    """The sizes in a list of models: what a model was loaded with, else the most that it takes."""
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
    """The size in Ollama's description of a model: the ``num_ctx`` that it is run with, else the most that it takes.

    OLLAMA_CONTEXT_LENGTH of the server, which is less mostly, shows only once the model is loaded.
    """
    if not isinstance(shown, dict):
        return None
    if found := re.search(r"^num_ctx\s+(\d+)", str(shown.get("parameters", "")), re.MULTILINE):
        return int(found[1])
    about = shown.get("model_info")
    sizes = [v for k, v in about.items() if k.endswith(".context_length")] if isinstance(about, dict) else []
    return next((size for size in sizes if type(size) is int and size > 0), None)
