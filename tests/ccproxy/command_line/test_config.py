"""``cc-boost config`` as a process: what is read, what is set, and from where."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "config"]
SECRET = "planted-5EcReT"


def config(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), **variables}
    command = [*COMMAND, *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config/cc-boost").mkdir(parents=True)
    (tmp_path / ".config/cc-boost/.env").write_text(f"OPENAI_API_KEY={SECRET}\nBIG_MODEL=qwen3\nPORT=9000\n")
    (tmp_path / ".env").write_text("PORT=9001\n")
    return tmp_path


def test_each_setting_is_shown_with_its_place_and_keys_are_not(home: Path) -> None:
    done = config(home, CUSTOM_HEADER_X_TEAM=SECRET, SMALL_MODEL="tiny")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    users = f"{home}/.config/cc-boost/.env"
    for line in (
        [f"{users}:", "read"],
        ["OPENAI_API_KEY", f"****  (from {users})"],
        ["PORT", f"'9000'  (from {users})"],
        ["SMALL_MODEL", "'tiny'  (from the environment)"],
        ["CUSTOM_HEADER_X_TEAM", "****  (from the environment)"],
    ):
        assert line in [[part.strip() for part in shown] for shown in lines]
    assert ".env: not read: its first line is not that of cc-boost's .env.example" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert (done.stderr, done.returncode) == ("", 0)


def test_json_for_the_server_has_the_folders_file(home: Path) -> None:
    document = json.loads(config(home, "--serve", "--json").stdout)
    assert [(file["path"], file["read"]) for file in document["files"]][-1] == (".env", True)
    assert {"name": "PORT", "value": "'9001'", "from": ".env"} in document["settings"]
    assert document["problems"] == []


def test_exit_code_2_with_the_problems_when_settings_are_bad(home: Path) -> None:
    done = config(home, LOG_LEVEL="loud")
    assert "LOG_LEVEL: given 'LOUD'; accepted: one of" in done.stdout
    assert done.returncode == 2
    done = config(home, "--env-file", "none.env")
    assert done.stderr == "--env-file: given 'none.env'; accepted: a file that exists\n"
    assert done.returncode == 2


def test_exit_code_2_when_a_file_can_not_be_read(home: Path) -> None:
    (home / "bad.env").write_bytes(b"PORT=\xff\n")
    done = config(home, "--env-file", "bad.env")
    assert (done.stderr, done.returncode) == ("bad.env: can't be read; accepted: a UTF-8 text file\n", 2)
