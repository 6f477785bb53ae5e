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
# From the bottom up: a module imports from those below it, and of a folder only what its __init__.py offers.
ORDER = (
    "ccproxy_middleware.toolkit",
    "ccproxy_middleware.redaction",
    "ccproxy_middleware.auth",
    "ccproxy_middleware.body_memory",
    "ccproxy_middleware.concurrency",
    "ccproxy_middleware.headers",
    "ccproxy_middleware.models",
    "ccproxy_middleware.metrics",
    "ccproxy_middleware.inspector",
    "ccproxy_middleware.safeguards",
    "ccproxy_middleware.web_search",
    "ccproxy_middleware.conversion.schemas",
    "ccproxy_middleware.conversion.providers",
    "ccproxy_middleware.conversion.hosted_search",
    "ccproxy_middleware.conversion.counting",
    "ccproxy_middleware.conversion.context",
    "ccproxy_middleware.conversion.claude_code",
    "ccproxy_middleware.conversion.anthropic",
    "ccproxy_middleware.conversion.text_calls",
    "ccproxy_middleware.conversion.chat",
    "ccproxy_middleware.conversion.responses",
    "ccproxy_middleware.conversion",
    "ccproxy_middleware.ledger",
    "ccproxy_middleware.passthrough",
    "ccproxy_middleware.routing.failover",
    "ccproxy_middleware.routing",
    "ccproxy_middleware.budgets",
    "ccproxy_middleware.vision",
    "ccproxy_middleware.boost",
    "ccproxy_middleware.prompted_tools",
    "ccproxy_middleware",
    "ccproxy.standard_streams",
    "ccproxy.prices",
    "ccproxy.settings",
    "ccproxy.logs",
    "ccproxy.state",
    "ccproxy.ledger",
    "ccproxy.serving",
    "ccproxy.forwarding",
    "ccproxy.search",
    "ccproxy.boundary",
    "ccproxy.pages",
    "ccproxy.layers",
    "ccproxy.model_limits",
    "ccproxy.upstreams",
    "ccproxy.app",
    "ccproxy.worker",
    "ccproxy.doctor",
    "ccproxy.report",
    "ccproxy.provider_models",
    "ccproxy.demo",
    "ccproxy.command_line.claude",
    "ccproxy.command_line.money",
    "ccproxy.command_line",
    "ccproxy",
)
TOOLKIT = ORDER[0]  # each of its modules is a face of its own
MAX_MODULES = 15  # side by side in a folder

# Of the conversion.
ASGI_MODULES = {
    *(
        "count_tokens.py",
        "document_reader.py",
        "pdf_process.py",
        "exchange.py",
        "final.py",
        "incoming.py",
        "middleware.py",
    ),
    *("model_list.py", "own_answers.py", "stream_exchange.py"),
}
PROGRAMS = {"pdf_program.py"}  # run in processes of their own; all the rest of the conversion does no I/O


def dotted(module: Path) -> str:
    root = LAYERS.parent if LAYERS in module.parents else ROOT
    return ".".join(module.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports(module: Path) -> Iterator[tuple[str, str]]:
    """What a module imports, each name with the full name of where it comes from; "" for a whole module."""
    root = LAYERS.parent if LAYERS in module.parents else ROOT
    package = module.relative_to(root).with_suffix("").parts[:-1]
    # By pattern, since CPython 3.11's ast module can fail when garbage is collected in the middle of it.
    text = re.sub(r"#.*", "", module.read_text())
    for found in re.finditer(r"^\s*from (\.*)([\w.]*) import (\([^)]*\)|[^\n]*)", text, re.MULTILINE):
        level = len(found[1])
        base = package[: len(package) + 1 - level] if level else ()
        source = ".".join([*base, *([found[2]] if found[2] else [])])
        for name in re.findall(r"(\w+)(?: as \w+)?", found[3]):
            if f"{source}.{name}" in NAMES:
                yield f"{source}.{name}", ""
            else:
                yield source, name
    for found in re.finditer(r"^\s*import ([\w., ]+)", text, re.MULTILINE):
        yield from ((name.split(" as ")[0].strip(), "") for name in found[1].split(","))


NAMES = frozenset(map(dotted, MODULES))


def face(package: Path) -> frozenset[str]:
    """The names in a package's ``__all__``."""
    found = re.search(r"__all__ = \[(.*?)\]", package.read_text(), re.DOTALL)
    return frozenset(re.findall(r'"(\w+)"', found[1])) if found else frozenset()


FACES = {dotted(module): face(module) for module in MODULES if module.name == "__init__.py"}


def room(name: str) -> str:
    """The entry of ORDER that a module belongs to."""
    return max((entry for entry in ORDER if name == entry or name.startswith(entry + ".")), key=len)


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize("module", sorted(LAYERS.rglob("*.py")), ids=named)
def test_layers_know_nothing_of_the_proxy(module: Path) -> None:
    assert not [name for name, _ in imports(module) if name.split(".")[0] in ("ccproxy", "pydantic_settings", "httpx")]


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_imports_run_downwards_and_enter_a_room_by_its_face(module: Path) -> None:
    own = room(dotted(module))
    wrong = []
    for source, name in imports(module):
        if source.split(".")[0] not in ("ccproxy", "ccproxy_middleware") or (other := room(source)) == own:
            continue
        if ORDER.index(other) > ORDER.index(own):
            wrong.append(f"{source} is above")
        elif source != other and other != TOOLKIT:
            wrong.append(f"{source} is inside {other}")
        elif name and other != TOOLKIT and source in FACES and name not in FACES[source]:
            wrong.append(f"{source} does not offer {name}")
    assert not wrong


def test_no_two_modules_import_each_other() -> None:
    """Not directly and not in a circle, not even where an import stands in a function."""
    needs = {dotted(module): {source for source, _ in imports(module)} & NAMES for module in MODULES}
    while leaves := [name for name, needed in needs.items() if not needed & needs.keys()]:
        for name in leaves:
            del needs[name]
    assert not needs


@pytest.mark.parametrize("folder", sorted({module.parent for module in MODULES}), ids=named)
def test_folder_is_seen_at_a_glance(folder: Path) -> None:
    assert len([module for module in folder.glob("*.py") if module.name != "__init__.py"]) <= MAX_MODULES


@pytest.mark.parametrize("module", sorted((LAYERS / "conversion").rglob("*.py")), ids=named)
def test_converters_do_no_io(module: Path) -> None:
    if module.name not in ASGI_MODULES | PROGRAMS:
        roots = {name.split(".")[0] for name, _ in imports(module)}
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
        " 'pypdf', 'bpe_openai', 'prometheus_client', 'structlog', 'limits', 'redis', 'genai_prices', 'sqlalchemy'):\n"
        "    sys.modules[name] = None\n"
        "import ccproxy_middleware\n"
    )
    subprocess.run([sys.executable, "-c", refuse], check=True)


def test_what_few_processes_need_is_not_imported_by_those_that_serve() -> None:
    look = (
        "import sys\n"
        "import asgi\n"
        "slow = ('rich', 'pygments', 'structlog', 'typer', 'bpe_openai', 'pypdf', 'jiter', 'limits', 'redis',"
        " 'genai_prices', 'sqlalchemy')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )
    env = {"OPENAI_API_KEY": "key", "ANTHROPIC_API_KEY": "key", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", look], check=True, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_test_files_have_names_of_their_own() -> None:
    """Pytest refuses to collect two of one name together."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
