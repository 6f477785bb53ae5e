"""Who may see the page, and who may act through it."""

from collections.abc import Sequence

from starlette.types import Scope

from ..auth import ClientKeys
from ..toolkit.asgi import get_header
from ..toolkit.errors import ApiError
from ..toolkit.local_requests import host_name, is_forwarded, is_loopback, is_loopback_name, is_of_foreign_page

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
        if self._keys and (refusal := self._keys.refusal(scope)) is not None:
            raise refusal
        if is_of_foreign_page(scope):
            raise ApiError(403, "permission_error", "a page of another origin can't do this")

    def check_action(self, scope: Scope) -> None:
        """May a request be sent? Only by the page itself or a program, not by another page. Raises ApiError."""
        self.check_data(scope)
        if (get_header(scope["headers"], b"content-type") or "").partition(";")[
            0
        ].strip().lower() != "application/json":
            raise ApiError(415, "invalid_request_error", "this needs content-type: application/json")


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    if client is None or is_forwarded(scope):
        return False
    return is_loopback(client[0]) and is_loopback_name(host_name(scope))
