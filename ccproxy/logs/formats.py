"""How log records are written: key=value for people, one JSON object per line for machines.

All code logs with the standard library, so that a host that embeds the app keeps its own logging. In our own processes
structlog writes the records: a record's ``extra`` becomes its fields.
"""

import json
import logging
import logging.config
import os
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from functools import cached_property, partial
from typing import Any, Literal, TextIO

LogFormat = Literal["auto", "text", "json"]

_LOGGERS = ("ccproxy", "ccproxy_middleware", "uvicorn", "uvicorn.error", "gunicorn.error")

# Line breaks, characters that move a terminal's cursor or reverse its text, and unpaired surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def configure_logging(level: str, format: LogFormat = "auto") -> None:
    """Send log records of the proxy, its layers and its server from this level on to standard error."""
    logging.config.dictConfig(logging_config(level, format))


def logging_config(level: str, format: LogFormat = "auto") -> dict[str, Any]:
    """The same for ``logging.config.dictConfig``. Other libraries are logged from WARNING on.

    ``format`` auto means text if standard error is a terminal, else JSON.
    """
    logger = {"handlers": ["stderr"], "level": level, "propagate": False}
    quiet = max(logging.WARNING, logging.getLevelNamesMapping()[level])
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _Formatter, "format": format, "is_terminal": sys.stderr.isatty()}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": quiet},
        # uvicorn's access log would repeat our lines; without a handler uvicorn doesn't create its records.
        "loggers": {**dict.fromkeys(_LOGGERS, logger), "uvicorn.access": {**logger, "handlers": [], "level": quiet}},
    }


def file_formatter(format: LogFormat) -> logging.Formatter:
    """A formatter for a log file that people open: auto means text."""
    return _Formatter("json" if format == "json" else "text", is_terminal=False)


class _Formatter(logging.Formatter):
    """structlog's formatter, created for the first record: most processes log nothing, and its import is slow and
    large.

    The import also needs a file descriptor. If none is left, a record is written without structlog.
    """

    def __init__(self, format: LogFormat, *, is_terminal: bool) -> None:
        super().__init__()
        self._make = partial(_make_formatter, format, is_terminal=is_terminal)

    def format(self, record: logging.LogRecord) -> str:
        try:
            formatter = self._formatter
        except (ImportError, OSError):
            told = {"level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
            if record.exc_info:
                told["exception"] = self.formatException(record.exc_info)
            return json.dumps(told)
        return formatter.format(record)

    @cached_property
    def _formatter(self) -> logging.Formatter:
        return self._make()


def _make_formatter(format: LogFormat, *, is_terminal: bool) -> logging.Formatter:
    import structlog

    text = format == "text" or (format == "auto" and is_terminal)
    fields: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_colors,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S" if text else "iso", utc=not text),
    ]
    if text:
        colors = is_terminal and not os.environ.get("NO_COLOR") and sys.platform != "win32"
        fields.append(_escape)
        render: Any = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, sort_keys=False, exception_formatter=_write_traceback
        )
    else:
        fields += [structlog.processors.format_exc_info, _in_order]
        render = structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=fields,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )


def _without_colors(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop uvicorn's second, coloured copy of its messages."""
    event.pop("color_message", None)
    return event


def _in_order(logger: Any, name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    first = {key: event.pop(key) for key in ("timestamp", "level", "logger", "event") if key in event}
    return {**first, **event}


def _escape(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep every record on one line, whatever text a client has put into it."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _escaped(value)
    return event


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _write_traceback(out: TextIO, exc_info: Any) -> None:
    """Write a traceback indented, so that none of its lines looks like a record."""
    lines = "".join(traceback.format_exception(*exc_info)).splitlines()
    out.write("\n".join(f"    {_escaped(line)}" for line in lines))
