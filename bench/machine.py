"""What the numbers were measured on."""

import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_VERSIONS = (
    "cc-boost",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "aiohttp",
    "httpx",
    "orjson",
    "fastapi",
    "openai",
)


def machine() -> str:
    """The machine and the versions, in two lines."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores = len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    there = []
    for name in _VERSIONS:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    size = f"{int(memory[1]) / 2**20:.0f} GB, " if memory else ""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return (
        f"{date}; {cores} cores of {cpu[1] if cpu else platform.machine()}, {size}Linux {platform.release()}.\n"
        f"Python {platform.python_version()}, {', '.join(there)}."
    )
