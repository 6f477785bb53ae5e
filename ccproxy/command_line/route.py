"""``cc-boost route``: where a request would go and why, without sending it."""

import asyncio
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ccproxy_middleware import ModelMappingMiddleware
from ccproxy_middleware.auth import ClientKeys
from ccproxy_middleware.conversion.providers import profile_for_model, resolve_profile
from ccproxy_middleware.routing import (
    DEFAULT,
    Candidate,
    Explanation,
    RequestFacts,
    chosen_by_client,
    explain,
    parse_candidate,
)
from ccproxy_middleware.toolkit.json import dumps, loads

from ..layers import Parts, conversion_options, layers_in_use, make_layers
from ..model_limits import window
from ..serving import EXIT_CONFIGURATION, fail, load_settings_or_exit
from ..settings import KeysFile, Settings

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*[=:]\s*([\t -~]*)")
_APIS = {"chat": "Chat Completions", "responses": "Responses", "anthropic": "Anthropic's Messages"}


@dataclass(frozen=True, slots=True)
class Way:
    """The destination of a request.

    rule: the name of the matching rule; ``client`` if the client names the upstream, ``tier`` if only the tier decides.
    explanations: one for each rule up to the first match; empty if no rule is consulted.
    """

    model: str
    tier: str | None
    input_tokens: int
    rule: str
    explanations: Sequence[Explanation]
    candidates: Sequence[Candidate]


def show_route(file: str, headers: Sequence[str] = (), *, env_file: str | None = None, as_json: bool = False) -> int:
    """Print where the ``/v1/messages`` body in a file goes; ``-`` is standard input. Returns the exit code, 0.

    Ends the process with exit code 2 if the settings, the file or a header is invalid.
    """
    settings = load_settings_or_exit(env_file)
    pairs = [_header_or_exit(text) for text in headers]
    data = _body_or_exit(file)
    way = find_way(settings, data, pairs)
    if as_json:
        print(json.dumps(_document(settings, way), indent=2))
    else:
        print("\n".join(_lines(settings, way)))
    return 0


def find_way(settings: Settings, data: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()) -> Way:
    """What the proxy does with a parsed ``/v1/messages`` body and these headers."""
    scope, data = asyncio.run(_map_model(settings, data, headers))
    known = scope.get("ccproxy.model") or {}
    requested = str(known.get("requested") or data["model"])
    upstreams = {DEFAULT, *settings.upstreams}
    facts = RequestFacts(data, scope)
    explanations: Sequence[Explanation] = ()
    texts = scope.get("ccproxy.candidates") or (data["model"],)
    rule = "tier"
    if "routing" not in layers_in_use(settings):
        texts = texts[:1]
    elif (chosen := chosen_by_client(requested, upstreams)) is not None:
        return Way(requested, facts.tier, facts.input_tokens, "client", (), (chosen,))
    else:
        explanations = explain(settings.routes, facts)
        if explanations and not explanations[-1].misfits:
            rule, texts = explanations[-1].route.name, explanations[-1].route.models
    candidates = dict.fromkeys(parse_candidate(text, upstreams) for text in texts)
    return Way(requested, facts.tier, facts.input_tokens, rule, explanations, tuple(candidates))


async def _map_model(
    settings: Settings, data: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]]
) -> tuple[Scope, dict[str, Any]]:
    """The scope and the body as the routing layer receives them."""
    seen: list[tuple[Scope, dict[str, Any]]] = []

    async def routing(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope, loads((await receive())["body"])))

    async def receive() -> Message:
        return {"type": "http.request", "body": dumps(data), "more_body": False}

    async def send(message: Message) -> None:
        """Discard the answer: nobody waits for it."""

    app: ASGIApp = routing
    for layer in make_layers(settings, Parts()):
        make: Any = layer.cls
        if make == ModelMappingMiddleware:
            app = make(app, *layer.args, **layer.kwargs)
    lowered = [(name.lower(), value) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": lowered}
    named = settings.keys_file.named if isinstance(settings.keys_file, KeysFile) else None
    if (key := ClientKeys(settings.client_keys, named_keys=named).sent(scope)) is not None:
        scope["ccproxy.client_key"] = key.name
    await app(scope, receive, send)
    return seen[0]


def _header_or_exit(text: str) -> tuple[bytes, bytes]:
    found = _HEADER.fullmatch(text.strip())
    if found is None:
        accepted = "a name and a value, such as x-claude-code-request-class=subagent"
        fail(f"--header: given {text!r}; accepted: {accepted}", EXIT_CONFIGURATION)
    return found[1].encode(), found[2].strip().encode()


def _body_or_exit(file: str) -> dict[str, Any]:
    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"{name} can't be read: {error.strerror or error}", EXIT_CONFIGURATION)
    try:
        data = json.loads(text.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        fail(f"{name}, line {error.lineno}: it is no JSON: {error.msg}", EXIT_CONFIGURATION)
    except (ValueError, RecursionError):
        fail(f"{name}: it is no JSON in UTF-8", EXIT_CONFIGURATION)
    if not isinstance(data, dict) or not isinstance(data.get("model"), str) or not data["model"]:
        fail(f"{name}: it is no body of /v1/messages, an object with a model and messages", EXIT_CONFIGURATION)
    return data


def _api(settings: Settings, candidate: Candidate) -> str:
    """The API that the upstream is asked with: ``chat``, ``responses`` or ``anthropic``."""
    upstream = settings.upstream(candidate.upstream)
    if upstream.is_anthropic or "format_conversion" not in layers_in_use(settings):
        return "anthropic"
    profile = resolve_profile(upstream.provider, conversion_options(settings, upstream))
    return str(profile_for_model(profile, candidate.model).api)


def _document(settings: Settings, way: Way) -> dict[str, Any]:
    return {
        "model": way.model,
        "tier": way.tier,
        "input_tokens": way.input_tokens,
        "rule": way.rule,
        "rules": [
            {
                "rule": explanation.route.name,
                "fits": not explanation.misfits,
                "misfits": [
                    {"condition": misfit.condition, "wanted": misfit.wanted, "found": _plain(misfit.found)}
                    for misfit in explanation.misfits
                ],
            }
            for explanation in way.explanations
        ],
        "candidates": [
            {
                "upstream": candidate.upstream,
                "model": candidate.model,
                "api": _api(settings, candidate),
                "context_window": window(settings, *candidate),
            }
            for candidate in way.candidates
        ],
    }


def _plain(found: Any) -> Any:
    return sorted(found) if isinstance(found, frozenset) else found


def _lines(settings: Settings, way: Way) -> list[str]:
    tier = f"tier {way.tier}" if way.tier else "no tier"
    lines = [f"Model {way.model}: {tier}, about {way.input_tokens:,} tokens of input"]
    if way.explanations:
        lines.append(f"Rules of {settings.routes_file}:")
    for explanation in way.explanations:
        why = "; ".join(map(str, explanation.misfits))
        lines.append(f"  {explanation.route.name}: " + (f"does not fit: {why}" if why else "fits"))
    several = len(way.candidates) > 1
    end = "These are asked in order, until one answers:" if several else "It goes to:"
    lines.append(f"{_reason(settings, way)}. {end}")
    for number, candidate in enumerate(way.candidates, 1):
        tokens = window(settings, *candidate)
        size = f"{tokens:,} tokens" if tokens else "window not known"
        api = _APIS[_api(settings, candidate)]
        lines.append(f"  {number}. {candidate.model} at {candidate.upstream} ({api}, {size})")
    return lines


def _reason(settings: Settings, way: Way) -> str:
    if way.rule == "client":
        return "The client names the upstream, which comes before tiers and rules"
    if way.rule != "tier":
        return f"Rule {way.rule} decides"
    if way.explanations:
        return "No rule fits" + ("; the tier decides" if way.tier else "")
    if "routing" not in layers_in_use(settings):
        return "There is one model for it" if way.tier else "It keeps its name"
    return "The tier decides" if way.tier else "It keeps its name"
