"""The worker process under gunicorn."""

import os
import signal
from types import FrameType
from typing import Any

from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

LOOK_SECONDS = 1
"""How often a worker tells its arbiter that it lives, and looks whether the arbiter does."""


class Worker(UvicornWorker):  # type: ignore[misc]
    """uvicorn's worker, which uses uvloop and httptools where they are installed.

    At a SIGINT gunicorn's arbiter sends SIGQUIT to its workers, which uvicorn's worker ignores: the arbiter would wait
    for its whole ``graceful_timeout``. Here SIGQUIT is handled like SIGTERM.

    If the arbiter is killed, it sends no signal. The worker then ends as at a SIGTERM, instead of keeping the port.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_notify = LOOK_SECONDS
        self._orphaned = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    async def callback_notify(self) -> None:
        await super().callback_notify()
        if os.getppid() != self.ppid and not self._orphaned:
            self._orphaned = True
            self.log.error("The arbiter is gone; the worker ends.")
            signal.raise_signal(signal.SIGTERM)
