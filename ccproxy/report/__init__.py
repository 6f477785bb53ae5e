"""``cc-boost report``: what to attach to a report of a bug."""

from .command import run_report

__all__ = ["run_report"]
