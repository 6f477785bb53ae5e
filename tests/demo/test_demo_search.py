"""``cc-boost demo --search``."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "demo", "--search"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_search_is_shown(tmp_path: Path, api: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WEB_SEARCH": "nonsense"}
    result = subprocess.run(
        [*COMMAND, "--api", api, "--verbose"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert 'search   {"query":"Eddystone Lighthouse first lit"}' in result.stdout
    assert "found    Eddystone Lighthouse: https://lighthouses.example/eddystone" in result.stdout
    assert "It was first lit in 1698 <https://lighthouses.example/eddystone>" in result.stdout
    assert "Everything arrived: a search, its results, text with citations, usage.\n" in result.stdout
    assert len(re.findall("as the provider got it", result.stdout)) == 2


def test_boost_is_shown_apart(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    result = subprocess.run(
        [*COMMAND, "--boost"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
