"""The command line in the tests' own process, which saves its start; what it starts itself are real processes."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccproxy.command_line.cli import app


@dataclass(frozen=True)
class Done:
    """A finished run."""

    returncode: int
    stdout: str
    stderr: str


class CommandLine:
    """Runs ``cc-boost`` in ``directory`` with nothing but the given environment, and nobody at a terminal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def run(self, *arguments: str, directory: Path, environment: Mapping[str, str]) -> Done:
        with self._monkeypatch.context() as patch:
            for name in list(os.environ):
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(tempfile, "tempdir", None)
            patch.chdir(directory)
            with pytest.raises(SystemExit) as ended:
                app(args=list(arguments), prog_name="cc-boost")
        code = ended.value.code
        shown = self._capfd.readouterr()
        return Done(code if isinstance(code, int) else 1, shown.out, shown.err)
