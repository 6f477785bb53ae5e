"""``cc-boost doctor``: what works with the provider, what does not, and how to fix it."""

from .command import run
from .env_file import write_variables
from .probe import open_probe
from .upstreams import as_only

__all__ = ["as_only", "open_probe", "run", "write_variables"]
