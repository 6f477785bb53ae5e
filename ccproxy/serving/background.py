"""A server in a thread of this process, for commands that need one only while they run."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

if TYPE_CHECKING:
    import uvicorn

from .limits import Limits
from .running import listen


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve an app on a free loopback port from a thread, and yield its base URL.

    The socket is already listening, so no client can connect too early.
    """
    import uvicorn

    from .protocol import limited_protocol

    sock = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app,
        http=limited_protocol(Limits()),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(server, sock), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        sock.close()


def _run(server: "uvicorn.Server", sock: socket.socket) -> None:
    try:
        server.run(sockets=[sock])
    except SystemExit:  # uvicorn signals in this way that the app did not start; it has logged the reason
        sock.close()
