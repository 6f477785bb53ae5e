"""``cc-boost demo``: the whole stack over real sockets, with a built-in provider."""

import asyncio
import json
import sys
from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Any, Literal, TypeAlias

from ccproxy.app import create_app
from ccproxy.logs import configure_logging
from ccproxy.serving import serve, served
from ccproxy.settings import Settings

from .conversation import LIMIT_SECONDS, converse
from .planner import MODEL as PLANNER_MODEL
from .planner import plan
from .prompted import by_prompt
from .provider import KEY, MODELS, demo_provider
from .search import converse_with_search, decide_on_search, demo_searxng
from .vision import EYES, converse_with_image, decide_on_image

CLIENT_KEY = "demo"

Api: TypeAlias = Literal["chat", "responses"]


def run_search(*, verbose: bool = False, api: Api = "chat") -> int:
    """Show a web search. The exit code is 0 only if everything arrived."""
    requests: list[dict[str, Any]] = []
    queries: list[str] = []
    configure_logging("WARNING", "text")
    with ExitStack() as stack:
        provider_url = stack.enter_context(served(demo_provider(requests.append, decide_on_search)))
        search_url = stack.enter_context(served(demo_searxng(queries.append)))
        app = create_app(demo_settings(provider_url, api=api, **_searching(search_url)))
        url = stack.enter_context(served(app))
        _write(f"client -> cc-boost {url} -> provider {provider_url} (built in, no key, no network)\n")
        _write(f"                            -> SearXNG  {search_url} (built in, knows three pages)\n")
        missing = asyncio.run(_limited(converse_with_search(url, CLIENT_KEY, _write)))
    if verbose:
        for body in requests:
            _write(f"\nrequest  as the provider got it\n{json.dumps(body, indent=2, ensure_ascii=False)}\n")
    if not missing and (len(requests), len(queries)) != (2, 1):
        missing = [f"two requests and one search (there were {len(requests)} and {len(queries)})"]
    if missing:
        _write("\nNot everything arrived. Missing: " + "; ".join(missing) + ".\n")
        return 1
    _write("\nEverything arrived: a search, its results, text with citations, usage.\n")
    return 0


def run_vision(*, verbose: bool = False, api: Api = "chat") -> int:
    """Show an image sent to a model that accepts none. The exit code is 0 only if everything arrived."""
    requests: list[dict[str, Any]] = []
    configure_logging("ERROR", "text")  # the demo shows that images are refused
    with ExitStack() as stack:
        provider_url = stack.enter_context(served(demo_provider(requests.append, decide_on_image)))
        url = stack.enter_context(served(create_app(demo_settings(provider_url, api=api, vision_model=EYES))))
        _write(f"client -> cc-boost {url} -> provider {provider_url} (built in, no key, no network)\n")
        missing = converse_with_image(url, CLIENT_KEY, _write)
    if verbose:
        for body in requests:
            _write(f"\nrequest  as the provider got it\n{json.dumps(body, indent=2, ensure_ascii=False)}\n")
    if not missing and [body["model"] for body in requests] != [EYES, MODELS[0]]:
        missing = [f"a question to {EYES} and one to {MODELS[0]}"]
    if missing:
        _write("\nNot everything arrived. Missing: " + "; ".join(missing) + ".\n")
        return 1
    _write("\nEverything arrived: the image was refused, described by another model, and answered from its words.\n")
    return 0


def _searching(url: str) -> dict[str, Any]:
    return {"web_search": "searxng", "web_search_url": url}


def run_conversation(*, verbose: bool = False, boost: bool = False, prompted: bool = False, api: Api = "chat") -> int:
    """Show one conversation. The exit code is 0 only if everything arrived.

    ``api``: the API that the provider is asked with. ``boost``: a planner without tools decides what to do, and the
    provider only carries it out. ``prompted``: the provider's model has no tools; its prompt describes them.
    """
    requests: list[dict[str, Any]] = []
    plans: list[dict[str, Any]] = []
    configure_logging("WARNING", "text")
    with ExitStack() as stack:
        provider_url = stack.enter_context(served(demo_provider(requests.append, by_prompt if prompted else None)))
        planner_url = stack.enter_context(served(demo_provider(plans.append, plan))) if boost else None
        app = create_app(demo_settings(provider_url, planner_url, api=api, prompted=prompted))
        url = stack.enter_context(served(app))
        _write(f"client -> cc-boost {url} -> provider {provider_url} (built in, no key, no network)\n")
        if planner_url is not None:
            _write(f"                            -> planner  {planner_url} (built in, takes no tools)\n")
        missing = asyncio.run(_limited(converse(url, CLIENT_KEY, _write, boost=boost)))
    if verbose:
        for name, bodies in (("planner", plans), ("provider", requests)):
            for body in bodies:
                shown = json.dumps(body, indent=2, ensure_ascii=False)
                _write(f"\nrequest  as the {name} got it\n{shown}\n")
    if not missing and boost and (len(plans), len(requests)) != (2, 1):
        missing = [f"two requests at the planner and one at the provider (there were {len(plans)} and {len(requests)})"]
    if not missing and not boost and len(requests) != 2:
        missing = [f"two requests at the provider (there were {len(requests)})"]
    if not missing and not boost and not prompted and api == "responses" and not _has_reasoning(requests[-1]):
        missing = ["the provider's own reasoning in the second request"]
    if not missing and prompted and not all("<tool_call>" in json.dumps(body) for body in requests):
        missing = ["the tools in the prompt"]
    if missing:
        _write("\nNot everything arrived. Missing: " + "; ".join(missing) + ".\n")
        return 1
    also = ", the provider's own reasoning" if api == "responses" and not boost and not prompted else ""
    _write(f"\nEverything arrived: streamed text, a tool call and its result{also}, stop reasons, usage.\n")
    return 0


def run_servers(
    port: int, *, boost: bool = False, prompted: bool = False, search: bool = False, api: Api = "chat"
) -> None:
    """Run the proxy on ``port`` of this machine with its provider (and planner, and SearXNG) until Ctrl-C."""
    with ExitStack() as stack:
        decide = decide_on_search if search else by_prompt if prompted else None
        provider_url = stack.enter_context(served(demo_provider(decide=decide)))
        more = _searching(stack.enter_context(served(demo_searxng()))) if search else {}
        planner_url = stack.enter_context(served(demo_provider(decide=plan))) if boost else None
        settings = demo_settings(provider_url, planner_url, api=api, prompted=prompted, port=port, **more)
        announce = f"ANTHROPIC_BASE_URL=http://localhost:{port} ANTHROPIC_AUTH_TOKEN={CLIENT_KEY} claude"
        serve(create_app(settings), settings, announce=announce)


def demo_settings(
    provider_url: str, planner_url: str | None = None, *, api: Api = "chat", prompted: bool = False, **values: Any
) -> Settings:
    """Settings for the built-in provider, and the planner if there is one, independent of the user's environment."""
    large, small = MODELS
    options: dict[str, Any] = {}
    if api == "responses":
        options |= {"api": "responses", "efforts": ["low", "medium", "high"]}
    if prompted:
        options["tools"] = "prompted"
    if options:
        values["provider_options"] = options
    if planner_url is not None:
        values |= {
            "enable_boost_support": "BIG_MODEL,MIDDLE_MODEL",
            "boost_base_url": f"{planner_url}/v1",
            "boost_api_key": KEY,
            "boost_model": PLANNER_MODEL,
        }
    return Settings.explicit(
        openai_api_key=KEY,
        openai_base_url=f"{provider_url}/v1",
        anthropic_api_key=CLIENT_KEY,
        big_model=large,
        middle_model=large,
        small_model=small,
        host="127.0.0.1",
        **values,
    )


def _has_reasoning(body: dict[str, Any]) -> bool:
    """Whether a reasoning item came back together with the call that it led to."""
    kinds = [item["type"] for item in body["input"]]
    return "reasoning" in kinds[: kinds.index("function_call")]


async def _limited(conversation: Awaitable[list[str]]) -> list[str]:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            return await conversation
    except TimeoutError:
        return [f"an end within {LIMIT_SECONDS:g} seconds"]


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
