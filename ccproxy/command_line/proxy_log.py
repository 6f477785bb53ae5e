"""The log of the proxy that ``cc-boost claude`` starts: a file, since Claude Code uses the terminal."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..logs import file_formatter
from ..serving import EXIT_CONFIGURATION, fail
from ..settings import Settings

_LOGGERS = ("ccproxy", "ccproxy_middleware", "uvicorn")


@dataclass
class _Log:
    wanted: bool = False


@contextmanager
def logged_to_file(settings: Settings, path: str | None) -> Iterator[_Log]:
    """Send the proxy's log to a file, since Claude Code uses the terminal. A temporary file is deleted unless it is
    wanted.
    """
    try:
        name = path or _temporary_file()
        handler = logging.FileHandler(name, encoding="utf-8")
    except OSError as exc:
        fail(f"--proxy-log: can't write {path or 'a temporary file'}: {exc.strerror or exc}", EXIT_CONFIGURATION)
    handler.setFormatter(file_formatter(settings.log_format))
    for logger in map(logging.getLogger, _LOGGERS):
        logger.addHandler(handler)
        logger.setLevel(settings.log_level)
        logger.propagate = False
    log = _Log()
    try:
        yield log
    finally:
        for logger in map(logging.getLogger, _LOGGERS):
            logger.removeHandler(handler)
        handler.close()
        if path is None and log.wanted and os.path.getsize(name):
            print(f"cc-boost: the proxy's log is {name}", file=sys.stderr)
        elif path is None:
            os.unlink(name)


def _temporary_file() -> str:
    handle, name = tempfile.mkstemp(prefix="cc-boost-", suffix=".log")
    os.close(handle)
    return name
