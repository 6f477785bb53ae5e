"""A new configuration for a running gunicorn: taken at a HUP if it is good; if not, all goes on as it was.

A worker has the settings of the arbiter it was forked from, so that one which replaces another is like the rest
whatever ``.env`` says meanwhile.
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

_settings: "Settings | None" = None  # of the arbiter; a fork hands it on


def arbiters_settings() -> "Settings | None":
    """The settings for a worker; None in a process that gunicorn.conf.py has no part in."""
    return _settings


def load_arbiters_settings() -> "Settings":
    """The settings for the arbiter and its next workers, or exit code 2."""
    global _settings
    _settings = load_settings_or_exit()
    return _settings


def keep_workers_at_bad_reload(arbiter: Any) -> None:
    """Let a HUP replace the workers only once the configuration is loaded, its address can be had and a worker starts.

    gunicorn itself would end, with all that it serves, where one of them fails. The workers that are replaced don't
    hold up the arbiter: see :class:`RetiringWorkers`.
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
        except SystemExit:  # its reason is on standard error
            app.cfg, _settings = good
            logger.error("The new configuration can't be used; the workers keep the old one.")
        else:
            reload()

    app.reload = lambda: None  # a reload has loaded it before
    arbiter.reload = reload_if_good


def _try_to_start(app: Any) -> None:
    """Put the app together in a process of its own, as a worker does. Raises SystemExit if it fails."""
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
