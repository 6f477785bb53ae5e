"""The declarations and checks of WEB_SEARCH, WEB_SEARCH_URL and WEB_SEARCH_KEY."""

from importlib.util import find_spec
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from .setting_values import read_key, read_url, setting

SearchName = Literal["searxng", "brave", "tavily", "exa", "serper", "ddgs", "provider"]

_WITH_KEY = ("brave", "tavily", "exa", "serper")


def _name(value: Any) -> Any:
    if isinstance(value, str):
        value = value.strip().lower()
        if value == "ddgs" and find_spec("ddgs") is None:
            raise ValueError("the package ddgs is not installed: pip install 'cc-boost[search]'")
    return value


def _url(value: str | None, info: ValidationInfo) -> str | None:
    if value is None:
        if info.data.get("web_search") == "searxng":
            raise ValueError("WEB_SEARCH=searxng needs the URL of the instance's root, such as http://localhost:8888")
        return None
    return read_url(value).removesuffix("/search")


def _key(value: Any, info: ValidationInfo) -> Any:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is None:
        if (name := info.data.get("web_search")) in _WITH_KEY:
            raise ValueError(f"WEB_SEARCH={name} needs it")
        return None
    return read_key(text, several=False)


WebSearch = Annotated[SearchName | None, BeforeValidator(_name)]
WebSearchURL = Annotated[str | None, AfterValidator(_url)]
WebSearchKey = Annotated[SecretStr | None, BeforeValidator(_key)]

NAME = setting(
    None,
    "What runs web searches for clients that expect Anthropic's servers to. Unset: they are refused.",
    f"one of {', '.join(get_args(SearchName))}",
)
URL = setting(
    None,
    "The root of the SearXNG instance; for the others, another host than theirs.",
    "an http:// or https:// URL with a host, without user, query and fragment",
)
KEY = setting(None, "The key of brave, tavily, exa or serper.", "a key of printable ASCII characters")
