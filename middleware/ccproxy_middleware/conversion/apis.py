"""The upstream APIs: where each is asked, and what converts for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..toolkit.errors import ApiError
from .anthropic.parameters import read_model
from .chat import request as chat_request
from .chat.response import convert_response as convert_completion
from .chat.stream import StreamConverter as ChunkConverter
from .chat.tools import ToolConverter
from .context import Context
from .converted import Api, ConvertedRequest
from .counting.tokens import count_request as count_chat
from .event_stream import EventStream
from .providers.errors import error_from_response
from .providers.profiles import Profile, profile_for_model
from .responses import request as responses_request
from .responses.counting import count_request as count_responses
from .responses.failures import error_of_http
from .responses.response import convert_response
from .responses.stream import StreamConverter


@dataclass(frozen=True, slots=True)
class UpstreamApi:
    """One API.

    count: the tokens of a body, by the profile's tokenizer.
    """

    path: str
    convert_response: Callable[[Any, Context], dict[str, Any]]
    stream: Callable[[Context, str], EventStream]
    error: Callable[..., ApiError]
    count: Callable[[Mapping[str, Any], Any], int]


APIS: Mapping[Api, UpstreamApi] = {
    "chat": UpstreamApi("/v1/chat/completions", convert_completion, ChunkConverter, error_from_response, count_chat),
    "responses": UpstreamApi("/v1/responses", convert_response, StreamConverter, error_of_http, count_responses),
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
    """Convert a parsed ``POST /v1/messages`` body for the API that the profile takes for its model, or for ``api``.

    The other parameters are those of the converters.
    """
    if (api or profile_for_model(provider, read_model(data)).api) == "responses":
        return responses_request.convert_request(
            data, provider, model=model, counting=counting, tool_converter=tool_converter, refused=refused
        )
    return chat_request.convert_request(data, provider, model=model, counting=counting, tool_converter=tool_converter)
