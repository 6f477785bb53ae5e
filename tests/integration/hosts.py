"""Loading and running the files of ``examples/`` as a user has them."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from support.paths import ROOT
from support.serving.process import free_port

EXAMPLES = ROOT / "examples"
START_LIMIT = 30.0  # seconds
STOP_LIMIT = 20.0


def load(name: str) -> Any:
    """Import an example under a name of its own; it reads the environment now."""
    full_name = f"examples_{name}"
    spec = importlib.util.spec_from_file_location(full_name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module  # Django imports its routes by name
    spec.loader.exec_module(module)
    return module


@contextmanager
def running(arguments: list[str], folder: Path, environment: Mapping[str, str], ready: str = "/") -> Iterator[str]:
    """Run Python in a folder, with PORT set, while the block lasts; yields the URL once ``ready`` answers.

    The process must then end by SIGTERM, without a traceback.
    """
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE")}
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, *(argument.replace("{port}", str(port)) for argument in arguments)],
        cwd=folder,
        env={**kept, "PORT": str(port), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait(process, url + ready)
        yield url
    finally:
        process.terminate()
        try:
            output, _ = process.communicate(timeout=STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert "Traceback" not in output, output


def _wait(process: subprocess.Popen[str], url: str) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(url, timeout=5, trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"it did not start: {process.communicate()[0]}")
