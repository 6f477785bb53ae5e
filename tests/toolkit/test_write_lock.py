"""The pinned dependencies: complete, fitting to pyproject.toml, and from nowhere in particular."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
BUILD_LOCK = (ROOT / "requirements-build.lock").read_text()


def pins_of(lock: str) -> dict[str, tuple[str, str]]:
    found = re.findall(r"^([\w.-]+)==(\S+)[^\\\n]*((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", lock, re.M)
    return {canonicalize_name(name): (version, hashes) for name, version, hashes in found}


PINS = pins_of(LOCK)


def test_every_dependency_is_pinned_to_a_version_that_pyproject_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    unfit = [
        f"{requirement} ({PINS.get(canonicalize_name(requirement.name), ('not pinned',))[0]})"
        for requirement in wanted
        if not requirement.specifier.contains(PINS.get(canonicalize_name(requirement.name), ("0",))[0])
    ]
    assert unfit == []


@pytest.mark.parametrize("lock", [LOCK, BUILD_LOCK], ids=["run", "build"])
def test_every_pin_has_a_hash_and_nothing_else_stands_there(lock: str) -> None:
    pins = pins_of(lock)
    assert [name for name, (_, hashes) in pins.items() if not hashes] == []
    lines = [line for line in lock.splitlines() if line and not line.startswith(("#", "    --hash=sha256:"))]
    assert len(lines) == len(pins)
    assert "://" not in lock


def test_what_builds_the_container_is_pinned() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pins = pins_of(BUILD_LOCK)
    assert "uv" in pins
    assert all(requirement.specifier.contains(pins[requirement.name][0]) for requirement in map(Requirement, requires))
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements-build.lock" in dockerfile
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.M)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:\S+@sha256:[0-9a-f]{64}", bases[0])
    assert "--no-build-isolation" in dockerfile, "hatchling would be downloaded without a pin"
