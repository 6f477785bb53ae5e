"""The shape of the code: which way imports run, what the layers need, how long a module may be."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.paths import ROOT

LAYERS = ROOT / "middleware/ccproxy_middleware"
PROXY = ROOT / "ccproxy"
MODULES = sorted([*LAYERS.rglob("*.py"), *PROXY.rglob("*.py")])
# Of the conversion.
ASGI_MODULES = {
    "count_tokens.py", "document_reader.py", "exchange.py", "incoming.py", "middleware.py", "model_lists.py",
    "stream_exchange.py",
}  # fmt: skip
PROGRAMS = {"pdf_program.py"}  # run in processes of their own; all the rest of the conversion does no I/O


def imports(module: Path) -> Iterator[str]:
    """The full names of all that a module imports, relative imports written out."""
    root = LAYERS.parent if LAYERS in module.parents else ROOT
    package = module.relative_to(root).with_suffix("").parts[:-1]
    # By pattern, since CPython 3.11's ast module can fail when garbage is collected in the middle of it.
    for line in module.read_text().splitlines():
        if found := re.match(r"\s*from (\.*)([\w.]*) import ", line):
            level = len(found[1])
            base = package[: len(package) + 1 - level] if level else ()
            yield ".".join([*base, *([found[2]] if found[2] else [])])
        elif found := re.match(r"\s*import ([\w., ]+)", line):
            yield from (name.split(" as ")[0].strip() for name in found[1].split(","))


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize("module", sorted(LAYERS.rglob("*.py")), ids=named)
def test_layers_know_nothing_of_the_proxy(module: Path) -> None:
    assert not [name for name in imports(module) if name.split(".")[0] in ("ccproxy", "pydantic_settings", "httpx")]


@pytest.mark.parametrize("module", sorted((LAYERS / "conversion").rglob("*.py")), ids=named)
def test_converters_do_no_io(module: Path) -> None:
    if module.name not in ASGI_MODULES | PROGRAMS:
        roots = {name.split(".")[0] for name in imports(module)}
        assert not roots & {"starlette", "anyio", "asyncio", "aiohttp", "socket", "os", "subprocess"}


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_module_is_one_story(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400


def test_no_package_is_called_middleware() -> None:
    """It would be shadowed by a user's own ``middleware.py``."""
    assert not (ROOT / "middleware/__init__.py").exists()


def test_layers_are_imported_with_starlette_and_orjson_alone() -> None:
    refuse = (
        "import sys\n"
        "for name in ('httpx', 'aiohttp', 'pydantic', 'pydantic_settings', 'typer', 'rich', 'uvicorn', 'jiter',"
        " 'pypdf', 'bpe_openai', 'prometheus_client', 'structlog'):\n"
        "    sys.modules[name] = None\n"
        "import ccproxy_middleware\n"
    )
    subprocess.run([sys.executable, "-c", refuse], check=True)


def test_what_few_processes_need_is_not_imported_by_those_that_serve() -> None:
    look = (
        "import sys\n"
        "import asgi\n"
        "slow = ('rich', 'pygments', 'structlog', 'typer', 'bpe_openai', 'pypdf', 'jiter')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )
    env = {"OPENAI_API_KEY": "key", "ANTHROPIC_API_KEY": "key", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", look], check=True, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
