"""``cc-boost demo --vision``."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "demo", "--vision"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_image_is_described(tmp_path: Path, api: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "VISION_MODEL": "nonsense"}
    result = subprocess.run(
        [*COMMAND, "--api", api, "--verbose"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert "model    It asks whether to save the changes: Yes or No." in result.stdout
    assert "[image 1: A dialog with the text `Save changes?`" in result.stdout
    assert "Everything arrived: the image was refused, described by another model" in result.stdout


@pytest.mark.parametrize("other", ["--search", "--boost", "--serve"])
def test_it_is_shown_alone(tmp_path: Path, other: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    result = subprocess.run(
        [*COMMAND, other], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2
