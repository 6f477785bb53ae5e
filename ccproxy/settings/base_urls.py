"""Base URLs as people write them: with an endpoint's path at the end, or with a ``/v1`` that is added anyway."""

import re
from urllib.parse import urlsplit

_ENDPOINT = re.compile(r"/(?:(?:chat/completions/*)+|completions|responses|messages|models)/*$", re.IGNORECASE)
_OWN_MODELS = (".services.ai.azure.com", ".models.ai.azure.com")  # Azure serves chat completions below /models
_REPEATED = re.compile(r"/+v1(?:/+messages|/+chat/+completions)?(?=/+v1/)")


def without_endpoint(base_url: str) -> str:
    """A provider's base URL without a trailing slash or endpoint path, such as ``/chat/completions``."""
    base_url = base_url.rstrip("/")
    found = _ENDPOINT.search(base_url)
    if found is None or not urlsplit(base_url[: found.start()]).netloc:
        return base_url
    if found[0].lower() == "/models" and (urlsplit(base_url).hostname or "").endswith(_OWN_MODELS):
        return base_url
    return base_url[: found.start()].rstrip("/")


def without_repeated_version(path: str) -> str:
    """A request's path without the version that a client's base URL repeats: ``/v1/messages`` for
    ``/v1/v1/messages``.
    """
    end = 0
    while found := _REPEATED.match(path, end):
        end = found.end()
    return "/" + path[end:].lstrip("/") if end else path
