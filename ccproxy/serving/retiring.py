"""gunicorn workers that a reload has replaced: they finish their answers while the arbiter works normally."""

import os
import signal
import time
from contextlib import suppress
from typing import Any


class RetiringWorkers:
    """Removes surplus workers from the arbiter's count as soon as they are told to end.

    gunicorn counts them until they have ended. A reload therefore waits for them; meanwhile the arbiter handles no
    signals
    and does not replace a worker that dies. Here they are reaped like other workers. They are killed after the graceful
    timeout of the configuration under which they were told to end.
    """

    def __init__(self, arbiter: Any) -> None:
        self._arbiter = arbiter
        self._retiring: dict[int, tuple[Any, float]] = {}  # by process id: the worker, and when it is killed
        self._manage_workers = arbiter.manage_workers
        self._reap_workers = arbiter.reap_workers
        self._stop = arbiter.stop
        arbiter.manage_workers = self.manage_workers
        arbiter.reap_workers = self.reap_workers
        arbiter.stop = self.stop

    def manage_workers(self) -> None:
        """Tell the oldest surplus workers to end, kill those whose time is over, and start missing ones."""
        workers = self._arbiter.WORKERS
        by_age = sorted(workers.items(), key=lambda item: item[1].age)
        deadline = time.monotonic() + self._arbiter.cfg.graceful_timeout
        for pid, worker in by_age[: max(0, len(by_age) - self._arbiter.num_workers)]:
            self._arbiter.kill_worker(pid, signal.SIGTERM)
            if workers.pop(pid, None) is not None:  # otherwise it had already ended
                self._retiring[pid] = worker, deadline
        for pid, (_, due) in self._retiring.items():
            if time.monotonic() > due:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._manage_workers()

    def reap_workers(self) -> None:
        """Reap all workers that have ended."""
        workers = self._arbiter.WORKERS
        workers.update((pid, worker) for pid, (worker, _) in self._retiring.items())
        try:
            self._reap_workers()
        finally:
            for pid in list(self._retiring):
                if workers.pop(pid, None) is None:
                    del self._retiring[pid]

    def stop(self, graceful: bool = True) -> None:
        """Stop the server, and wait for all of them."""
        self._arbiter.WORKERS.update((pid, worker) for pid, (worker, _) in self._retiring.items())
        self._retiring.clear()
        self._stop(graceful)
