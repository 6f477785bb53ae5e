"""Convert Anthropic's web search tool to the provider's own."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...toolkit.errors import ApiError, invalid_request
from ...web_search import SearchTool, is_search_tool, read_tool
from ..providers import Profile


def is_hosted(tool: Mapping[str, Any], profile: Profile) -> bool:
    """Whether the provider can run this tool of Anthropic's servers."""
    return profile.web_search == "hosted" and is_search_tool(tool)


def search_tool(data: Mapping[str, Any], profile: Profile) -> SearchTool | None:
    """The search tool of a request, if there is one and the provider searches. Raises a 400."""
    return read_tool(data) if profile.web_search == "hosted" else None


def responses_tool(tool: SearchTool) -> dict[str, Any]:
    """The tool for Responses. Raises a 400 for an unsupported option."""
    if tool.blocked_domains:
        raise _no_blocked_domains()
    converted: dict[str, Any] = {"type": "web_search"}
    if tool.allowed_domains:
        converted["filters"] = {"allowed_domains": list(tool.allowed_domains)}
    if tool.location is not None:
        converted["user_location"] = _location(tool)
    return converted


def add_to_chat(body: dict[str, Any], json: dict[str, bytes], tool: SearchTool, profile: Profile) -> None:
    """Add the provider's equivalent for chat completions. Raises a 400 if there is none."""
    if profile.chat_search == "openrouter":  # openrouter.ai/docs/guides/features/server-tools/web-search
        parameters: dict[str, Any] = {}
        if tool.allowed_domains:
            parameters["allowed_domains"] = list(tool.allowed_domains)
        if tool.blocked_domains:
            parameters["excluded_domains"] = list(tool.blocked_domains)
        if tool.location is not None:
            parameters["user_location"] = _location(tool)
        own: dict[str, Any] = {"type": "openrouter:web_search"}
        body["tools"] = [*body.get("tools", ()), {**own, "parameters": parameters} if parameters else own]
        json.pop("tools", None)
    elif profile.chat_search == "options":
        if tool.allowed_domains:
            raise invalid_request("tools: allowed_domains are not supported by the provider's web search")
        if tool.blocked_domains:
            raise _no_blocked_domains()
        place = {name: value for name, value in _location(tool).items() if name != "type"}
        told = {"user_location": {"type": "approximate", "approximate": place}} if place else {}
        body["web_search_options"] = told
    else:
        raise invalid_request(
            "tools: web_search is hosted, but the provider's chat completions have no search: "
            """with PROVIDER_OPTIONS='{"api": "responses"}' it is asked by Responses, """
            "and WEB_SEARCH names services that need no provider"
        )


def _location(tool: SearchTool) -> dict[str, Any]:
    told = {} if tool.location is None else {name: value for name, value in asdict(tool.location).items() if value}
    return {"type": "approximate", **told}


def _no_blocked_domains() -> ApiError:
    return invalid_request("tools: blocked_domains are not supported by the provider's web search")
