"""The standard streams of a process that was started without one of them, or whose output can't be written."""

import os
import sys


def open_standard_streams() -> None:
    """Open the closed ones on the null device, before anything else.

    Otherwise a file or a connection gets the number, and text for standard error is written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def announce(text: str) -> None:
    """Print a line on standard output. Failures are ignored, such as a full disk or a closed pipe."""
    try:
        print(text, flush=True)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # otherwise the interpreter fails to write the rest when it exits
        os.close(null)
