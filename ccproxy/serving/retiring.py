"""Workers of gunicorn that a reload has replaced: they finish their answers while the arbiter does its work as ever."""

import os
import signal
import time
from contextlib import suppress
from typing import Any


class RetiringWorkers:
    """Takes the workers that are one too many out of the arbiter's count as soon as they are told to end.

    gunicorn counts them until they have ended: a reload waits for them, during which the arbiter hears no signal, and
    a worker that dies meanwhile is not replaced. Here they are reaped like the others, and killed once the graceful
    timeout of the configuration that told them to end is over.
    """

    def __init__(self, arbiter: Any) -> None:
        self._arbiter = arbiter
        self._retiring: dict[int, tuple[Any, float]] = {}  # by process: the worker, and when it is killed
        self._manage_workers = arbiter.manage_workers
        self._reap_workers = arbiter.reap_workers
        self._stop = arbiter.stop
        arbiter.manage_workers = self.manage_workers
        arbiter.reap_workers = self.reap_workers
        arbiter.stop = self.stop

    def manage_workers(self) -> None:
        """Tell the oldest of too many workers to end, kill those whose time is over, and start what is missing."""
        workers = self._arbiter.WORKERS
        by_age = sorted(workers.items(), key=lambda item: item[1].age)
        deadline = time.monotonic() + self._arbiter.cfg.graceful_timeout
        for pid, worker in by_age[: max(0, len(by_age) - self._arbiter.num_workers)]:
            self._arbiter.kill_worker(pid, signal.SIGTERM)
            if workers.pop(pid, None) is not None:  # else it had ended already
                self._retiring[pid] = worker, deadline
        for pid, (_, due) in self._retiring.items():
            if time.monotonic() > due:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._manage_workers()

    def reap_workers(self) -> None:
        """Reap all that have ended."""
        workers = self._arbiter.WORKERS
        workers.update((pid, worker) for pid, (worker, _) in self._retiring.items())
        try:
            self._reap_workers()
        finally:
            for pid in list(self._retiring):
                if workers.pop(pid, None) is None:
                    del self._retiring[pid]

    def stop(self, graceful: bool = True) -> None:
        """The end of the server: it waits for all of them."""
        self._arbiter.WORKERS.update((pid, worker) for pid, (worker, _) in self._retiring.items())
        self._retiring.clear()
        self._stop(graceful)
