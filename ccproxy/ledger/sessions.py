"""Each session's usage in memory, for the status line when there is no database."""

from collections import OrderedDict

from ccproxy_middleware.ledger import Row

from .records import SessionUsage

_MAX_SESSIONS = 10_000


class Sessions:
    """The newest sessions of this process."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, SessionUsage] = OrderedDict()

    def write(self, row: Row) -> None:
        """Count an exchange."""
        if row.session is None:
            return
        usage = self._known.get(row.session)
        if usage is None:
            usage = self._known[row.session] = SessionUsage()
            if len(self._known) > _MAX_SESSIONS:
                self._known.popitem(last=False)
        self._known.move_to_end(row.session)
        usage.add(row)

    async def session(self, id_: str) -> SessionUsage | None:
        """The usage of the session with this id; None if it is unknown."""
        return self._known.get(id_)
