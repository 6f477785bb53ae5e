"""``gunicorn -c gunicorn.conf.py asgi:app``; ``WEB_CONCURRENCY`` sets the number of workers."""

from typing import Any

from ccproxy.logs import formats as logs
from ccproxy.serving import multiprocess, reloading, running, standard_streams

standard_streams.open_standard_streams()

settings = reloading.load_arbiters_settings()  # here, so that bad settings end gunicorn before it forks

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
worker_class = "ccproxy.worker.Worker"
loglevel = settings.log_level.lower()
logconfig_dict = logs.logging_config(settings.log_level, settings.log_format)
accesslog = None
keepalive = running.KEEP_ALIVE_SECONDS

# Workers report from their event loop, so a long stream never meets this limit, only a worker that hangs.
timeout = 60

# After a SIGTERM or a reload; then the worker is killed.
graceful_timeout = running.server_grace(settings)

control_socket_disable = True  # nothing here uses it

if settings.metrics:
    multiprocess.prepare_metrics()


def on_starting(server: Any) -> None:
    """Make a HUP safe, and the workers able to count."""
    reloading.keep_workers_at_bad_reload(server)
    if settings.metrics:
        multiprocess.hand_over_metrics(server.cfg.uid, server.cfg.gid)


def when_ready(server: Any) -> None:
    """Warn once, in the arbiter, about the addresses it really listens on."""
    for address in server.cfg.address:
        if isinstance(address, tuple):  # a path is a Unix socket
            running.warn_at_start(settings, address[0])


def child_exit(server: Any, worker: Any) -> None:
    """A worker's streams have ended with it."""
    if settings.metrics:
        multiprocess.forget_worker(worker.pid)


on_reload = when_ready
