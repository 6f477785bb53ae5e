"""A process that reads a PDF, and can be stopped."""

import os
import subprocess
import sys
import threading
from pathlib import Path

_PROGRAM = str(Path(__file__).with_name("pdf_program.py"))
_ENVIRONMENT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP")  # no keys among them


def has_python() -> bool:
    """Whether there is a Python to run it: a frozen program is its own."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


class PdfProcess:
    """A process that a thread waits for, and that another one may stop.

    Not asyncio's own, which not every event loop has: that of a foreign host on Windows may have none.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def run(
        self, mode: str, data: bytes, seconds: int, memory: int, patience: float
    ) -> subprocess.CompletedProcess[bytes] | None:
        """Have a PDF in base64 read: its end, and what it has written; None if it took too long or was stopped.

        ``mode``: what is wanted of it, as ``pdf_program`` says. It may take ``seconds`` of the processor, ``memory``
        bytes, and ``patience`` seconds in all. Raises OSError if no process starts.
        """
        arguments = [sys.executable, "-I", "-S", _PROGRAM, mode, str(seconds), str(memory), *map(str, sys.path)]
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
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
        """End it, if it still runs, or keep it from starting."""
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.kill()
