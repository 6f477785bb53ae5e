"""Base URLs as people write them: with the path of an endpoint at the end, or with ``/v1`` where it is added anyway."""

import re
from urllib.parse import urlsplit

_ENDPOINT = re.compile(r"/(?:(?:chat/completions/*)+|completions|responses|messages|models)/*$", re.IGNORECASE)
_OWN_MODELS = (".services.ai.azure.com", ".models.ai.azure.com")  # Azure serves chat completions below /models
_REPEATED = re.compile(r"/+v1(?:/+messages|/+chat/+completions)?(?=/+v1/)")


def without_endpoint(base_url: str) -> str:
    """A provider's base URL without a slash or the path of an endpoint, such as ``/chat/completions``, at its end."""
    base_url = base_url.rstrip("/")
    found = _ENDPOINT.search(base_url)
    if found is None or not urlsplit(base_url[: found.start()]).netloc:
        return base_url
    if found[0].lower() == "/models" and (urlsplit(base_url).hostname or "").endswith(_OWN_MODELS):
        return base_url
    return base_url[: found.start()].rstrip("/")


def without_repeated_version(path: str) -> str:
    """A request's path without what a client's base URL has too much: ``/v1/messages`` for ``/v1/v1/messages``."""
    end = 0
    while found := _REPEATED.match(path, end):
        end = found.end()
    return "/" + path[end:].lstrip("/") if end else path
