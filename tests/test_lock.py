"""The pinned dependencies: complete, fitting to pyproject.toml, and from nowhere in particular."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PINS = {
    canonicalize_name(name): (version, hashes)
    for name, version, hashes in re.findall(
        r"^([\w.-]+)==(\S+)[^\\\n]*((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", LOCK, re.M
    )
}


def test_every_dependency_is_pinned_to_a_version_that_pyproject_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    unfit = [
        f"{requirement} ({PINS.get(canonicalize_name(requirement.name), ('not pinned',))[0]})"
        for requirement in wanted
        if not requirement.specifier.contains(PINS.get(canonicalize_name(requirement.name), ("0",))[0])
    ]
    assert unfit == []


def test_every_pin_has_a_hash_and_nothing_else_stands_there() -> None:
    assert [name for name, (_, hashes) in PINS.items() if not hashes] == []
    lines = [line for line in LOCK.splitlines() if line and not line.startswith(("#", "    --hash=sha256:"))]
    assert len(lines) == len(PINS)
    assert "://" not in LOCK
