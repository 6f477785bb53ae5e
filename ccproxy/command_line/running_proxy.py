"""A running cc-boost at a URL that the user gives."""

from collections.abc import Mapping
from typing import Any

import httpx

from ..serving import EXIT_CANT_START, fail

_LIST_LIMIT = 6.0  # seconds for a proxy's list of models: the proxy may have to ask the provider


def _list(url: str, key: str) -> list[Mapping[str, Any]]:
    """A proxy's list of models. Raises httpx.HTTPError, or ValueError or a similar error if the answer is not a
    list.
    """
    headers = {"authorization": f"Bearer {key}"}
    with _client(url) as client:
        answer = client.get(f"{url}/v1/models", params={"limit": 1000}, headers=headers)
    answer.raise_for_status()
    listed: list[Mapping[str, Any]] = answer.json()["data"]
    return listed


def list_or_exit(url: str, key: str) -> list[Mapping[str, Any]]:
    """The model list of a proxy that the user names. It shows that the proxy is running and accepts the key."""
    try:
        _check_name(url)
        return _list(url, key)
    except httpx.HTTPStatusError as exc:
        if exc.response.status_code in (401, 403):
            fail(f"{url} does not accept the key. Set ANTHROPIC_API_KEY to one of its own.", EXIT_CANT_START)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        fail(f"Nothing answers at {url}: {exc}. Is cc-boost running there?", EXIT_CANT_START)
    except (ValueError, LookupError, TypeError):
        pass
    fail(f"{url} is no cc-boost. Name the address of one, such as http://localhost:8082.", EXIT_CANT_START)


def list_if_there(url: str, key: str) -> list[Mapping[str, Any]]:
    """The model list of a proxy that may not be running yet; empty if it is not."""
    try:
        return _list(url, key)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError):
        return []


def _check_name(url: str) -> None:
    """Raise ValueError if the start page is not cc-boost's. Other errors are httpx's."""
    with _client(url) as client:
        answer = client.get(f"{url}/")
    if answer.is_success:
        page = answer.json()
        if not isinstance(page, dict) or page.get("name") != "cc-boost":
            raise ValueError("another program's page")


def _client(url: str) -> httpx.Client:
    return httpx.Client(trust_env="127.0.0.1" not in url, timeout=_LIST_LIMIT)
