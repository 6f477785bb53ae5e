"""A process that reads a PDF and can be stopped."""

import os
import subprocess
import sys
import threading
from pathlib import Path

_PROGRAM = str(Path(__file__).with_name("pdf_program.py"))
_ENVIRONMENT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP")  # without any keys


def has_python() -> bool:
    """Whether there is a Python interpreter to run it: the executable of a frozen program is the program itself."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


class PdfProcess:
    """A process that one thread waits for and another may stop.

    It does not use asyncio's subprocesses, which not every event loop supports: the loop of another host on Windows may
    have none.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(
        self, mode: str, data: bytes, seconds: int, memory: int, patience: float
    ) -> subprocess.CompletedProcess[bytes] | None:
        """Have a PDF in base64 read: its exit code and its output; None if it took too long or was stopped.

        ``mode``: what to extract, as ``pdf_program`` defines it. It may take ``seconds`` of CPU time, ``memory`` bytes,
        and ``patience`` seconds of wall time. Raises OSError if no process can be started.
        """
        arguments = [sys.executable, "-I", "-S", _PROGRAM, mode, str(seconds), str(memory), *map(str, sys.path)]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # on Windows
        with self._lock:
            if self.stopped:
                return None
            self._process = subprocess.Popen(  # noqa: S603  # our own program, by this Python
                arguments, stdin=pipe, stdout=pipe, stderr=null, env=environment, creationflags=flags
            )
        with self._process as process:
            try:
                output, _ = process.communicate(data, patience)
            except subprocess.TimeoutExpired:
                return None
            finally:
                process.kill()
        return None if self.stopped else subprocess.CompletedProcess(arguments, process.returncode, output)

    def stop(self) -> None:
        """Stop the process if it is still running, or keep it from starting."""
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.kill()
