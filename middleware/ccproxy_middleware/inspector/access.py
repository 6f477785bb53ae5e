"""Who may see the page, and who may send requests from it."""

from starlette.types import Scope

from ..auth import AdminKeys, ClientKeys
from ..toolkit.asgi import get_header
from ..toolkit.errors import ApiError
from ..toolkit.local_requests import host_name, is_forwarded, is_loopback, is_loopback_name, is_of_foreign_page

LOOPBACK_ONLY = (
    "Without a client key the inspector answers this machine only: open it at http://localhost:<port>/ui on the "
    "machine that runs the proxy, or set ANTHROPIC_API_KEY or ADMIN_API_KEY and restart, and it asks for that key."
)
SEVERAL_KEYS = (
    "The inspector shows everybody's conversations, and this proxy has more than one client key, none of which may "
    "open it: set ADMIN_API_KEY and restart, and it asks for that key."
)


class Access:
    """The access rules of the page.

    Where there are admin keys, only they give access to the data. Otherwise the client key does, if there is only one:
    with several, each would show the conversations of the others. Without keys, the page is available on this machine
    only.

    A request of this machine comes from a loopback address, has a loopback name in ``Host`` (a foreign page whose host
    name was made to resolve to 127.0.0.1 sends its own name), and was not forwarded.
    """

    def __init__(self, keys: ClientKeys, admin: AdminKeys) -> None:
        self._keys = keys
        self._admin = admin

    def check_page(self, scope: Scope) -> None:
        """Check access to the page's files, which contain no secrets. Raises ApiError."""
        if self._admin:
            return
        if self._keys and len(self._keys) != 1:
            raise ApiError(403, "permission_error", SEVERAL_KEYS)
        if not self._keys and not _is_local(scope):
            raise ApiError(403, "permission_error", LOOPBACK_ONLY)

    def check_data(self, scope: Scope) -> None:
        """Check access to the exchanges. Raises ApiError."""
        self.check_page(scope)
        keys = self._admin or self._keys
        if keys and (refusal := keys.refusal(scope)) is not None:
            raise refusal
        if is_of_foreign_page(scope):
            raise ApiError(403, "permission_error", "a page of another origin can't do this")

    def check_action(self, scope: Scope) -> str | None:
        """Check that a request may be sent: only by the page itself or a program, not by another page. Raises ApiError.

        Returns the name of the admin key that allows it, which takes the place of a client's key.
        """
        self.check_data(scope)
        if (get_header(scope["headers"], b"content-type") or "").partition(";")[
            0
        ].strip().lower() != "application/json":
            raise ApiError(415, "invalid_request_error", "this needs content-type: application/json")
        key = self._admin.sent(scope) if self._admin else None
        return None if key is None else key.name


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    if client is None or is_forwarded(scope):
        return False
    return is_loopback(client[0]) and is_loopback_name(host_name(scope))
