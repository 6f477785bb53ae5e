"""``cc-boost report``: the text to attach to a bug report."""

from .command import run_report

__all__ = ["run_report"]
