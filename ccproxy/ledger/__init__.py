"""The ledger: a row of numbers for each exchange, in a database. It is imported when there is one, not before."""

from .groups import GROUPS, Group
from .history import History
from .ledger import Ledger
from .records import SessionUsage
from .sessions import Sessions

__all__ = ["GROUPS", "Group", "History", "Ledger", "SessionUsage", "Sessions"]
