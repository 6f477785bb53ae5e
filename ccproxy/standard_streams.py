"""The three standard streams of a process that was started without one of them, or whose output can't be written."""

import os
import sys


def open_standard_streams() -> None:
    """Open those that are closed to the null device, first of all.

    Otherwise a file or a connection takes the number, and what is written to standard error goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def announce(text: str) -> None:
    """Print a line on standard output, which may be on a full disk or a closed pipe: nothing depends on it."""
    try:
        print(text, flush=True)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # or the interpreter fails to write the rest at its end
        os.close(null)
