"""What several workers need to be counted as one: a directory in which each keeps its numbers."""

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
    """Called in the arbiter, before it forks: an empty directory for the workers' numbers.

    Without one in the environment a private one is made, which goes when the arbiter ends. Called again, at a
    reload, it leaves the numbers alone; so it does in the arbiter of a binary upgrade, beside which the old one runs.
    Where there is no space for a directory, the workers say so and serve without metrics.
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
    """Called before the arbiter forks: workers that drop root's rights must be able to write their numbers."""
    if os.geteuid() == 0 and os.path.isdir(os.environ[DIRECTORY]):
        os.chown(os.environ[DIRECTORY], uid, gid)


def forget_worker(pid: int) -> None:
    """Called when a worker has ended: what it had under way is over. Its counts stay."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:  # a worker ends with the same handlers
        shutil.rmtree(directory, ignore_errors=True)
