"""Running the app: settings or an exit code, logging, a bound socket, uvicorn."""

import ctypes
import gc
import logging
import math
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from .. import standard_streams
from ..logs import configure_logging
from ..settings import ConfigurationError

if TYPE_CHECKING:  # uvicorn and pydantic are slow to import, and --help and --version don't need them
    import uvicorn
    from starlette.types import ASGIApp

    from ..settings import Settings

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than at clients and load balancers, so that they close it first."""

_M_TRIM_THRESHOLD = -1  # of glibc's malloc.h
_M_MMAP_THRESHOLD = -3
_RETURNED_AT_ONCE = 1024 * 1024  # bytes
_KEPT = 8 * 1024 * 1024  # bytes at the heap's end; with less, requests of some 100 KB would ask the system for more

EXIT_CANT_START = 1
EXIT_CONFIGURATION = 2

logger = logging.getLogger("ccproxy")


def load_settings_or_exit(env_file: str | None = None, **values: Any) -> "Settings":
    """The settings. Exits with code 2 and a line for each problem on standard error if they are invalid."""
    from ..settings import Settings

    try:
        return Settings.load(env_file, **values)
    except ConfigurationError as exc:
        fail(str(exc), EXIT_CONFIGURATION)


def fail(message: str, code: int) -> NoReturn:
    """End the process with a message on standard error and no traceback."""
    with suppress(OSError):  # a full disk
        print(message, file=sys.stderr, flush=True)
    sys.exit(code)


def warn_at_start(settings: "Settings", host: str | None = None) -> None:
    """Log the warnings for the operator. ``host``: the listening address, if it is not HOST."""
    from ..settings import startup_warnings

    for warning in startup_warnings(settings, host):
        logger.warning(warning)


def warn_under_server_command(settings: "Settings") -> None:
    """Like :func:`warn_at_start`, for the host on a server's own command line."""
    import click

    context = click.get_current_context(silent=True)
    host = context.params.get("host") if context else None
    if isinstance(host, str):
        warn_at_start(settings, host)


def server_grace(settings: "Settings") -> int:
    """Seconds after which the server itself ends the answers. The app has ended its own by then."""
    from .shutdown import LAST_WORDS_SECONDS

    return math.ceil(settings.shutdown_timeout) + LAST_WORDS_SECONDS


def serve(app: "ASGIApp", settings: "Settings", *, announce: str | None = None, warn: bool = True) -> None:
    """Serve until SIGINT or SIGTERM. Answers in progress get SHUTDOWN_TIMEOUT; then the process ends with exit code 0.

    ``announce`` is printed to standard output as soon as connections are accepted. ``warn``: log the warnings for the
    operator.
    """
    import uvicorn

    configure_logging(settings.log_level, settings.log_format)
    if warn:
        warn_at_start(settings)
    sock = listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=settings.log_level.lower(),
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=server_grace(settings),
    )
    if announce is not None:
        standard_streams.announce(announce)
    # uvicorn raises a signal that comes before the app is up once more at its end: an orderly end, no death by signal.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    server = uvicorn.Server(config)
    tune_memory()
    server.run(sockets=[sock])
    if not server.started:
        sys.exit(EXIT_CANT_START)


def tune_memory() -> None:
    """Reduce garbage collector passes, which block every stream, and make them shorter; return freed memory early.

    This runs last, before a process of our own serves. Objects made during the start are hidden from the collector.
    Python's
    own threshold, 700 new objects, is less than one large parsed request creates. Reference counting frees nearly all
    of
    it, since an exchange leaves no cycles.

    glibc keeps memory that large requests have freed, in pieces between blocks still in use, unless a threshold tells
    it
    from which size on to return memory to the system at once.
    """
    gc.freeze()
    gc.set_threshold(10_000)
    with suppress(AttributeError, OSError, TypeError):  # there is no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _RETURNED_AT_ONCE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Exits with code 1 and a one-line message if it can't listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # proto: asyncio needs it for TCP_NODELAY
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host.strip("[]"), port))
        sock.listen(2048)
    except OSError as exc:
        sock.close()
        fail(f"Can't listen on HOST {host}, PORT {port}: {exc.strerror or exc}.", EXIT_CANT_START)
    return sock


def limit_clients(server: "uvicorn.Server", settings: "Settings") -> None:
    """Apply the limits in a server that is about to accept connections, however it was started."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from .limits import Limits
    from .protocol import limited_protocol  # imported here, like uvicorn itself: other hosts don't need it

    config = server.config
    if not issubclass(config.http_protocol_class, HttpToolsProtocol):
        logger.warning("The server's HTTP protocol is not httptools: CLIENT_TIMEOUT and the like are not kept.")
        return
    config.http_protocol_class = limited_protocol(
        Limits(
            client_seconds=settings.client_timeout,
            idle_seconds=config.timeout_keep_alive,
            per_address=settings.max_connections_per_address,
        )
    )


def local_url(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens on ``host``."""
    host = host.strip("[]")
    if host in ("0.0.0.0", "::", "127.0.0.1", "::1"):  # noqa: S104 - not a bind
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
