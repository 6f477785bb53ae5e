"""Reload of a running gunicorn at SIGHUP: a valid configuration takes effect; otherwise nothing changes.

A worker has the settings of the arbiter that forked it. So a replacement worker has the same settings as the others,
even if ``.env`` has changed since.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from .retiring import RetiringWorkers
from .running import load_settings_or_exit

if TYPE_CHECKING:
    from ..settings import Settings

logger = logging.getLogger("ccproxy")

_settings: "Settings | None" = None  # of the arbiter; a forked worker inherits it


def arbiters_settings() -> "Settings | None":
    """The settings for a worker; None in a process that does not use gunicorn.conf.py."""
    return _settings


def load_arbiters_settings() -> "Settings":
    """Load the settings for the arbiter and its next workers, or exit with code 2."""
    global _settings
    _settings = load_settings_or_exit()
    return _settings


def keep_workers_at_bad_reload(arbiter: Any) -> None:
    """Make SIGHUP replace the workers only after the configuration loads, the address can be bound and a worker starts.

    If one of these fails, gunicorn itself would end and stop serving. Replaced workers don't block the arbiter: see
    :class:`RetiringWorkers`.
    """
    from gunicorn.sock import create_sockets  # type: ignore[import-untyped]

    RetiringWorkers(arbiter)
    app, reload = arbiter.app, arbiter.reload
    load_configuration = app.reload

    def reload_if_good() -> None:
        global _settings
        good = app.cfg, _settings
        try:
            load_configuration()
            if app.cfg.address != arbiter.cfg.address:
                for listener in create_sockets(app.cfg, arbiter.log):
                    listener.close()
            _try_to_start(app)
        except SystemExit:  # the reason is on standard error
            app.cfg, _settings = good
            logger.error("The new configuration can't be used; the workers keep the old one.")
        else:
            reload()

    app.reload = lambda: None  # a previous reload has loaded it
    arbiter.reload = reload_if_good


def _try_to_start(app: Any) -> None:
    """Build the app in a separate process, as a worker does. Raises SystemExit if it fails."""
    pid = os.fork()
    if pid == 0:
        try:
            app.wsgi().build_middleware_stack()
        except BaseException as exc:
            print(f"The app can't start: {exc!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit
