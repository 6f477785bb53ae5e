"""JSON of the network: read and written, how large it is in memory, and what is repeated parsed once."""

from .codec import check_depth, dumps, loads, loads_lenient, replace_surrogates
from .members import Member, members, with_members

__all__ = ["Member", "check_depth", "dumps", "loads", "loads_lenient", "members", "replace_surrogates", "with_members"]
