"""The worker process under gunicorn."""

import os
import signal
from types import FrameType
from typing import Any

from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

LOOK_SECONDS = 1
"""How often a worker tells its arbiter that it lives, and looks whether the arbiter does."""


class Worker(UvicornWorker):  # type: ignore[misc]
    """uvicorn's worker, which takes uvloop and httptools where they are installed.

    At a SIGINT gunicorn's arbiter tells its workers by SIGQUIT, which uvicorn's worker hears and does nothing about:
    the arbiter would wait out its whole ``graceful_timeout``. Here it ends as a SIGTERM does.

    An arbiter that is killed tells nobody. The worker ends as at a SIGTERM then, instead of keeping the port.
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
