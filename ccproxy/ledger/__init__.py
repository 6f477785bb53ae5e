"""The ledger: one row of numbers per exchange, in a database. It is imported only if there is a database."""

from .groups import GROUPS, Group
from .history import History
from .ledger import Ledger
from .records import SessionUsage
from .sessions import Sessions

__all__ = ["GROUPS", "Group", "History", "Ledger", "SessionUsage", "Sessions"]
