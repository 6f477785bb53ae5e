"""JSON of the network: read and written, how large it is in memory, and what is repeated parsed once."""

from .codec import check_depth, dumps, loads, loads_lenient, replace_surrogates

__all__ = ["check_depth", "dumps", "loads", "loads_lenient", "replace_surrogates"]
