"""``cc-boost usage`` and ``cc-boost statusline``: usage and cost from the ledger."""

from typing import TYPE_CHECKING

from .status_line import run_status_line, settings_block, status_line_setting

if TYPE_CHECKING:
    from ...settings import Settings

__all__ = ["run_status_line", "settings_block", "show_usage", "status_line_setting"]


def show_usage(
    settings: "Settings", *, by: str | None, since: str | None, as_json: bool, as_csv: bool, breaks: bool = False
) -> int:
    """See :func:`.usage.show_usage`. It is imported only here, since a status line does not need it."""
    from . import usage

    return usage.show_usage(settings, by=by, since=since, as_json=as_json, as_csv=as_csv, breaks=breaks)
