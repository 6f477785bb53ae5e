"""The command line as its user meets it: a process in an empty directory, its output and its exit code."""

import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from ccproxy.serving import local_url
from ccproxy.settings.listing import variables
from support.paths import ROOT

BIN = Path(sys.executable).parent
SECRET = "planted-5EcReT"

COMMAND = [str(BIN / "cc-boost")]
WAYS = {
    "cc-boost": COMMAND,
    "cc-boost serve": [*COMMAND, "serve"],
    "python -m ccproxy": [sys.executable, "-m", "ccproxy"],
    "python asgi.py": [sys.executable, str(ROOT / "asgi.py")],
    "uvicorn": [str(BIN / "uvicorn"), "--app-dir", str(ROOT), "asgi:app", "--port", "1"],
    "gunicorn": [
        str(BIN / "gunicorn"),
        "-c",
        str(ROOT / "gunicorn.conf.py"),
        "--pythonpath",
        str(ROOT),
        "asgi:app",
    ],
}


def run(command: list[str], directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), **variables}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("way", WAYS)
def test_exit_code_2_with_a_line_per_problem_when_settings_are_bad(way: str, tmp_path: Path) -> None:
    variables = {"PORT": "99999", "OPENAI_BASE_URL": "example.com", "ANTHROPIC_API_KEY": f"{SECRET}é"}
    result = run(WAYS[way], tmp_path, PYTHONUTF8="1", **variables)
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "OPENAI_BASE_URL",
        "PORT",
    ]
    assert result.returncode == 2
    assert SECRET not in result.stderr + result.stdout


def test_exit_code_2_when_an_option_is_bad(tmp_path: Path) -> None:
    result = run([*COMMAND, "--port", "0", "--log-level", "loud"], tmp_path, OPENAI_API_KEY="k")
    assert result.stderr.splitlines() == [
        "PORT: given '0'; accepted: a whole number from 1 to 65535",
        "LOG_LEVEL: given 'LOUD'; accepted: one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
    ]
    assert result.returncode == 2


def test_exit_code_2_when_the_file_of_settings_is_bad(tmp_path: Path) -> None:
    (tmp_path / "mine.env").write_text("OPENAI_API_KEY=k\nPORT=x\n")
    result = run([*COMMAND, "--env-file", "mine.env"], tmp_path)
    assert (result.stderr.splitlines(), result.returncode) == (
        ["PORT: given 'x' in mine.env; accepted: a whole number from 1 to 65535"],
        2,
    )
    (tmp_path / ".env").write_text("PORT=1\nOPENAI_API_KEY sk-planted\n")
    result = run(COMMAND, tmp_path)
    assert result.stderr.startswith(".env, line 2: can't be parsed; accepted: NAME=value")
    assert (len(result.stderr.splitlines()), result.returncode) == (1, 2)
    result = run([*COMMAND, "--env-file", "none.env"], tmp_path)
    assert result.stderr == "--env-file: given 'none.env'; accepted: a file that exists\n"
    assert result.returncode == 2


@pytest.mark.parametrize("way", ["cc-boost", "python asgi.py"])
def test_exit_code_1_with_one_line_when_the_port_is_taken(way: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(WAYS[way], tmp_path, OPENAI_API_KEY="k", HOST="127.0.0.1", PORT=str(port))
    assert result.stderr == f"Can't listen on HOST 127.0.0.1, PORT {port}: Address already in use.\n"
    assert (result.stdout, result.returncode) == ("", 1)


def test_exit_code_1_with_one_line_when_the_host_is_unknown(tmp_path: Path) -> None:
    result = run(COMMAND, tmp_path, OPENAI_API_KEY="k", HOST="host.invalid", ANTHROPIC_API_KEY="k")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Can't listen on HOST host.invalid, PORT 8082: ")
    assert result.returncode == 1


@pytest.mark.parametrize(
    "command", [[*COMMAND, "--help"], [*COMMAND, "serve", "--help"], [*WAYS["python -m ccproxy"], "-h"]]
)
def test_help_lists_every_variable_with_its_default(command: list[str], tmp_path: Path) -> None:
    result = run(command, tmp_path)
    assert result.returncode == 0
    words = "".join(result.stdout.split())  # lines are wrapped at blanks and after hyphens
    for name, default, text in variables():
        line = f"{name}{text}[{default}]" if default else f"{name}{text}"
        assert line.replace(" ", "") in words
    assert result.stdout.startswith("Usage: cc-boost")


def test_help_names_the_commands(tmp_path: Path) -> None:
    words = run([*COMMAND, "--help"], tmp_path).stdout.split()
    assert {"serve", "demo", "--version"} <= set(words)


@pytest.mark.parametrize(("typed", "offered"), [("cc-boost do", "doctor"), ("cc-boost service ", "install")])
def test_shell_completes_commands(typed: str, offered: str, tmp_path: Path) -> None:
    words = typed.split(" ")
    asked = {"_CC_BOOST_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    assert offered in run([COMMAND[0]], tmp_path, **asked).stdout.split()


def test_completion_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    done = run(["/bin/bash", "-c", f"{COMMAND[0]} --install-completion; true"], tmp_path)
    assert "bash completion installed" in done.stdout, done.stderr
    [script] = (tmp_path / ".bash_completions").iterdir()
    assert "complete -o default -F _cc_boost_completion cc-boost" in script.read_text()


def test_version_when_asked(tmp_path: Path) -> None:
    result = run([*COMMAND, "--version"], tmp_path)
    assert (result.stdout, result.returncode) == (f"cc-boost {version('cc-boost')}\n", 0)


def test_exit_code_2_when_the_command_is_unknown(tmp_path: Path) -> None:
    result = run([*COMMAND, "sevre"], tmp_path)
    assert result.returncode == 2
    assert "No such command 'sevre'" in result.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:1"),
        ("::", "http://localhost:1"),
        ("127.0.0.1", "http://localhost:1"),
        ("192.168.1.2", "http://192.168.1.2:1"),
        ("fe80::1", "http://[fe80::1]:1"),
    ],
)
def test_local_url_of_a_host(host: str, url: str) -> None:
    assert local_url(host, 1) == url
