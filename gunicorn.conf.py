"""``gunicorn -c gunicorn.conf.py asgi:app``; ``WEB_CONCURRENCY`` sets the number of workers."""

from typing import Any

from ccproxy import running

settings = running.load_settings_or_exit()  # here, so that bad settings end gunicorn before it forks

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
worker_class = "uvicorn_worker.UvicornWorker"  # takes uvloop and httptools where they are installed
loglevel = settings.log_level.lower()
accesslog = None
keepalive = running.KEEP_ALIVE_SECONDS

# Workers report from their event loop, so a long stream never meets this limit, only a worker that hangs.
timeout = 60

# How long running streams may go on after a SIGTERM or a reload; then the worker is killed.
graceful_timeout = running.GRACE_SECONDS

control_socket_disable = True  # nothing here uses it


def when_ready(server: Any) -> None:
    """Warn once, in the arbiter, about the addresses it really listens on."""
    running.configure_logging(settings.log_level)
    for address in server.cfg.address:
        if isinstance(address, tuple):  # a path is a Unix socket
            running.warn_at_start(settings, address[0])
