"""Who may see the page, and who may act through it."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import Scope

from .._asgi import get_header
from .._errors import ApiError
from ..auth import ClientKeys

_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")

LOOPBACK_ONLY = (
    "Without a client key the inspector answers this machine only: open it at http://localhost:<port>/ui on the "
    "machine that runs the proxy, or set ANTHROPIC_API_KEY and restart, and it asks for that key."
)


class Access:
    """The page's rules. With keys the data needs one; without, everything is for this machine only.

    A request of this machine comes from a loopback address, names a loopback host (a page of elsewhere whose name
    was made to resolve to 127.0.0.1 names itself), and was forwarded by nobody.
    """

    def __init__(self, api_keys: Sequence[str]) -> None:
        self._keys = ClientKeys(api_keys)

    def check_page(self, scope: Scope) -> None:
        """May the files of the page be seen? They hold no secret. Raises ApiError."""
        if not self._keys and not _is_local(scope):
            raise ApiError(403, "permission_error", LOOPBACK_ONLY)

    def check_data(self, scope: Scope) -> None:
        """May the exchanges be seen? Raises ApiError."""
        self.check_page(scope)
        if self._keys and not self._keys.admit(scope):
            raise self._keys.refusal()

    def check_action(self, scope: Scope) -> None:
        """May a request be sent? Only by the page itself or a program, not by another page. Raises ApiError."""
        self.check_data(scope)
        headers = scope["headers"]
        if (get_header(headers, b"content-type") or "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError(415, "invalid_request_error", "this needs content-type: application/json")
        origin = get_header(headers, b"origin")
        foreign = origin is not None and urlsplit(origin).netloc != get_header(headers, b"host")
        if foreign or get_header(headers, b"sec-fetch-site") not in (None, "same-origin", "none"):
            raise ApiError(403, "permission_error", "a page of another origin can't do this")


def _is_local(scope: Scope) -> bool:
    headers = scope["headers"]
    host = get_header(headers, b"host")
    client = scope.get("client")
    if not client or host is None or any(get_header(headers, name) is not None for name in _FORWARDED):
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return _is_loopback(client[0]) and (name == "localhost" or name.endswith(".localhost") or _is_loopback(name))


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback
