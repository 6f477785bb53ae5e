"""The worker process under gunicorn."""

import signal
from types import FrameType

from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]


class Worker(UvicornWorker):  # type: ignore[misc]
    """uvicorn's worker, which takes uvloop and httptools where they are installed.

    At a SIGINT gunicorn's arbiter tells its workers by SIGQUIT, which uvicorn's worker hears and does nothing about:
    the arbiter would wait out its whole ``graceful_timeout``. Here it ends as a SIGTERM does.
    """

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)
