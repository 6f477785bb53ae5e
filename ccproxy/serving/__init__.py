"""Server processes: sockets, limits, signals, reload and shutdown."""

from .background import served
from .multiprocess import forget_worker, hand_over_metrics, prepare_metrics
from .reloading import arbiters_settings, keep_workers_at_bad_reload, load_arbiters_settings
from .renewal import RenewableApp
from .running import (
    EXIT_CANT_START,
    EXIT_CONFIGURATION,
    KEEP_ALIVE_SECONDS,
    fail,
    limit_clients,
    load_settings_or_exit,
    local_url,
    serve,
    server_grace,
    tune_memory,
    warn_at_start,
    warn_under_server_command,
)
from .shutdown import Shutdown, ShutdownMiddleware, uvicorn_server
from .watchdog import watched_loop

__all__ = [
    "EXIT_CANT_START",
    "EXIT_CONFIGURATION",
    "KEEP_ALIVE_SECONDS",
    "RenewableApp",
    "Shutdown",
    "ShutdownMiddleware",
    "arbiters_settings",
    "fail",
    "forget_worker",
    "hand_over_metrics",
    "keep_workers_at_bad_reload",
    "limit_clients",
    "load_arbiters_settings",
    "load_settings_or_exit",
    "local_url",
    "prepare_metrics",
    "serve",
    "served",
    "server_grace",
    "tune_memory",
    "uvicorn_server",
    "warn_at_start",
    "warn_under_server_command",
    "watched_loop",
]
