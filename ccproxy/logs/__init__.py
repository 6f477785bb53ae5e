"""What the proxy logs, and in which format."""

from .body_log import logged
from .exchange_log import log_exchange
from .formats import configure_logging, file_formatter, logging_config

__all__ = [
    "configure_logging",
    "file_formatter",
    "log_exchange",
    "logged",
    "logging_config",
]
