"""Metrics of several workers combined: a directory in which each worker keeps its numbers."""

import atexit
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


@cache
def prepare_metrics() -> None:
    """Prepare an empty directory for the workers' numbers. Called in the arbiter before it forks.

    If the environment names no directory, a private one is created and deleted when the arbiter ends. At a reload the
    function is called again and leaves the numbers alone. It also does so in the arbiter of a binary upgrade, which
    runs
    beside the old one. If there is no space for a directory, the workers log this and serve without metrics.
    """
    given = os.environ.get(DIRECTORY)
    if not given:
        made = os.path.join(tempfile.gettempdir(), f"ccproxy-metrics-{secrets.token_hex(8)}")
        os.environ[DIRECTORY] = made
        atexit.register(_remove, made, os.getpid())
        with suppress(OSError):
            os.mkdir(made, 0o700)
    elif "GUNICORN_PID" not in os.environ:
        with suppress(OSError):
            Path(given).mkdir(parents=True, exist_ok=True)
            for stale in Path(given).glob("*.db"):
                stale.unlink(missing_ok=True)


def hand_over_metrics(uid: int, gid: int) -> None:
    """Let workers that drop root privileges write their numbers. Called before the arbiter forks."""
    if os.geteuid() == 0 and os.path.isdir(os.environ[DIRECTORY]):
        os.chown(os.environ[DIRECTORY], uid, gid)


def forget_worker(pid: int) -> None:
    """Remove an ended worker's gauges: its requests in progress are over. Its counters stay. Called after it has
    ended.
    """
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:  # a worker ends with the same handlers
        shutil.rmtree(directory, ignore_errors=True)
