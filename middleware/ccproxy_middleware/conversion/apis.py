"""The upstream APIs: the path of each, and its converters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..toolkit.errors import ApiError
from .anthropic import EventStream, read_model
from .chat import StreamConverter, ToolConverter, convert_response
from .chat import convert_request as convert_chat_request
from .context import Api, Context, ConvertedRequest
from .counting import count_request
from .providers import Profile, error_from_response, profile_for_model
from .responses import (
    ResponsesConverter,
    convert_responses_answer,
    convert_responses_request,
    count_responses,
    error_of_http,
)


@dataclass(frozen=True, slots=True)
class UpstreamApi:
    """One API.

    count: counts the tokens of a body with the profile's tokenizer.
    """

    path: str
    convert_response: Callable[[Any, Context], dict[str, Any]]
    stream: Callable[[Context, str], EventStream]
    error: Callable[..., ApiError]
    count: Callable[[Mapping[str, Any], Any], int]


APIS: Mapping[Api, UpstreamApi] = {
    "chat": UpstreamApi("/v1/chat/completions", convert_response, StreamConverter, error_from_response, count_request),
    "responses": UpstreamApi(
        "/v1/responses", convert_responses_answer, ResponsesConverter, error_of_http, count_responses
    ),
}


def convert_request(
    data: Any,
    provider: Profile,
    *,
    model: str | None = None,
    counting: bool = False,
    tool_converter: ToolConverter | None = None,
    refused: Callable[[str], bool] = lambda digest: False,
    api: Api | None = None,
) -> ConvertedRequest:
    """Convert a parsed ``POST /v1/messages`` body for the API that the profile selects for its model, or for ``api``.

    The other parameters are those of the converters.
    """
    if (api or profile_for_model(provider, read_model(data)).api) == "responses":
        return convert_responses_request(
            data, provider, model=model, counting=counting, tool_converter=tool_converter, refused=refused
        )
    return convert_chat_request(data, provider, model=model, counting=counting, tool_converter=tool_converter)
