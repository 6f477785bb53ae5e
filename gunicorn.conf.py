"""``gunicorn -c gunicorn.conf.py asgi:app``; ``WEB_CONCURRENCY`` sets the number of workers."""

from typing import Any

from ccproxy.logs import logging_config
from ccproxy.serving import (
    KEEP_ALIVE_SECONDS,
    forget_worker,
    hand_over_metrics,
    keep_workers_at_bad_reload,
    load_arbiters_settings,
    prepare_metrics,
    server_grace,
    warn_at_start,
)
from ccproxy.standard_streams import open_standard_streams

open_standard_streams()

settings = load_arbiters_settings()  # here, so that bad settings end gunicorn before it forks

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
worker_class = "ccproxy.worker.Worker"
loglevel = settings.log_level.lower()
logconfig_dict = logging_config(settings.log_level, settings.log_format)
accesslog = None
keepalive = KEEP_ALIVE_SECONDS

# Workers report from their event loop, so a long stream never meets this limit, only a worker that hangs.
timeout = 60

# After a SIGTERM or a reload; then the worker is killed.
graceful_timeout = server_grace(settings)

control_socket_disable = True  # nothing here uses it

if settings.metrics:
    prepare_metrics()


def on_starting(server: Any) -> None:
    """Make a HUP safe, and the workers able to count."""
    keep_workers_at_bad_reload(server)
    if settings.metrics:
        hand_over_metrics(server.cfg.uid, server.cfg.gid)


def when_ready(server: Any) -> None:
    """Warn once, in the arbiter, about the addresses it really listens on."""
    for address in server.cfg.address:
        if isinstance(address, tuple):  # a path is a Unix socket
            warn_at_start(settings, address[0])


def child_exit(server: Any, worker: Any) -> None:
    """A worker's streams have ended with it."""
    if settings.metrics:
        forget_worker(worker.pid)


on_reload = when_ready
