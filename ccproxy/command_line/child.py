"""A program in the foreground of this terminal. Signals, Ctrl-C and Ctrl-Z pass through."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

from ..serving import fail

EXIT_CANT_RUN = 126


def run_program(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a program in the foreground of this terminal, and return its exit code; 128 + N if signal N killed it."""
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # the program may already run before Popen has returned

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif number != signal.SIGINT or not _reached_by_ctrl_c():
            _kill(child, number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        try:
            child = subprocess.Popen([program, *arguments], env=dict(environment))  # noqa: S603 - the user's own program
        except OSError as exc:
            fail(f"{program} can't be run: {exc.strerror or exc}", EXIT_CANT_RUN)
        for number in early:
            pass_on(number, None)
        code = _wait(child)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _wait(child: "subprocess.Popen[bytes]") -> int:
    """The exit code, negative for a signal. If the program is suspended, this process is too, and both resume
    together.
    """
    if not hasattr(os, "WUNTRACED"):  # Windows
        return child.wait()
    went_on = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal went_on
        went_on = True

    before = signal.signal(signal.SIGCONT, note)
    try:
        while True:
            _, status = os.waitpid(child.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                child.returncode = os.waitstatus_to_exitcode(status)
                return child.returncode
            if not went_on:  # otherwise this process was stopped together with it, and both have resumed
                os.kill(os.getpid(), signal.SIGSTOP)
            went_on = False
            _kill(child, signal.SIGCONT)
    finally:
        signal.signal(signal.SIGCONT, before)


def _kill(child: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal. Popen's own method would reap the process and take the exit code from the caller that waits for
    it.
    """
    with suppress(ProcessLookupError):
        os.kill(child.pid, number)


def _reached_by_ctrl_c() -> bool:
    """Whether the child has already received SIGINT: this process group is in its terminal's foreground."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (OSError, AttributeError):
        return False
