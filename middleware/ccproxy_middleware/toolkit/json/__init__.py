"""JSON from the network: parsing and serializing, its size in memory, and a cache for repeated parts."""

from .codec import check_depth, dumps, loads, loads_lenient, replace_surrogates
from .members import Member, members, with_members

__all__ = ["Member", "check_depth", "dumps", "loads", "loads_lenient", "members", "replace_surrogates", "with_members"]
