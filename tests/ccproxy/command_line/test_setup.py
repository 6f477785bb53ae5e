"""``cc-boost setup``: what it writes, what it keeps, and that it can be taken back."""

import json
import os
import pty
import select
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from support.providers.scripted import ScriptedProvider
from support.serving.command import CommandLine, Done
from support.serving.servers import serve

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "setup"]
LIMIT = 60.0
SECRET = "planted-5EcReT"
EXISTING = """\
{
\t"theme": "dark-daltonized",
\t"permissions": {"allow": ["Bash(npm run *)"],   "deny": []},
\t"env": {
\t\t"FOO": "bar",
\t\t"ANTHROPIC_API_KEY": "sk-ant-planted-5EcReT",
\t\t"ANTHROPIC_BASE_URL": "https://elsewhere.example"
\t},
\t"model": "glm-4.6"
}
"""
URL: list[str] = []

Setup: TypeAlias = Callable[..., Done]


@pytest.fixture(autouse=True, scope="module")
def provider() -> Iterator[None]:
    with serve(ScriptedProvider(), lifespan="off") as server:
        URL.append(f"{server.url}/v1")
        yield
    URL.clear()


def environment(home: Path, **variables: str) -> dict[str, str]:
    known = {"PATH": "/usr/bin:/bin", "HOME": str(home), "OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": URL[0]}
    return {**known, "BIG_MODEL": "gpt-4o", "SMALL_MODEL": "tiny", **variables}


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Setup:
    """Run the command with a home, in this process: its start takes longer than its work."""
    command_line = CommandLine(monkeypatch, capfd)

    def setup(home: Path, *arguments: str, directory: Path | None = None, **variables: str) -> Done:
        known = environment(home, **variables)
        return command_line.run("setup", *arguments, directory=directory or home, environment=known)

    return setup


def settings_file(home: Path, text: str | None = None) -> Path:
    path = home / ".claude/settings.json"
    path.parent.mkdir(exist_ok=True)
    if text is not None:
        path.write_bytes(text.encode())
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def test_variables_are_written_and_all_else_is_kept(setup: Setup, tmp_path: Path) -> None:
    path = settings_file(tmp_path, EXISTING)
    path.chmod(0o640)
    done = setup(tmp_path, "--yes", PORT="9123")
    assert done.returncode == 0, done.stderr
    settings, before = read(path), json.loads(EXISTING)
    assert settings["permissions"] == before["permissions"]
    assert settings["env"]["FOO"] == "bar"
    assert settings["env"]["ANTHROPIC_BASE_URL"] == "http://localhost:9123"
    assert settings["env"]["ANTHROPIC_AUTH_TOKEN"] == "cc-boost"
    assert settings["env"]["ANTHROPIC_API_KEY"] == ""
    assert settings["env"]["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "128000"
    assert settings["model"] == "opus"
    assert path.read_text().startswith(
        '{\n\t"theme": "dark-daltonized",\n\t"permissions": {"allow": ["Bash(npm run *)"],   '
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert '+\t\t"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "128000"' in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert [entry.name for entry in path.parent.iterdir()] == ["settings.json"]
    records = list((tmp_path / ".local/state/cc-boost/setup").iterdir())  # they hold what was there, keys and all
    assert {stat.S_IMODE(record.stat().st_mode) for record in records} == {0o600}
    assert stat.S_IMODE(records[0].parent.stat().st_mode) == 0o700


def test_status_line_is_written_unless_there_is_one(setup: Setup, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "{}")
    assert setup(tmp_path, "--yes").returncode == 0
    line = read(path)["statusLine"]
    assert line["type"] == "command"
    assert line["command"].endswith("cc-boost statusline")
    path.write_text(json.dumps({**read(path), "other": 1}))
    assert setup(tmp_path, "--undo", "--yes").returncode == 0
    assert read(path) == {"other": 1}
    own = {"statusLine": {"type": "command", "command": "mine"}}
    path.write_text(json.dumps(own))
    assert setup(tmp_path, "--yes").returncode == 0
    assert read(path)["statusLine"] == own["statusLine"]
    assert setup(tmp_path, "--undo", "--yes").returncode == 0
    assert read(path) == own


def test_status_line_that_was_changed_since_stays(setup: Setup, tmp_path: Path) -> None:
    path = settings_file(tmp_path, "{}")
    assert setup(tmp_path, "--yes").returncode == 0
    mine = {"type": "command", "command": "mine"}
    path.write_text(json.dumps({**read(path), "statusLine": mine}))
    done = setup(tmp_path, "--undo", "--yes")
    assert "Changed by others since then, and left as is: statusLine." in done.stdout
    assert read(path) == {"statusLine": mine}


FORMS = {
    "tabs": EXISTING,
    "crlf and bom": "\ufeff" + EXISTING.replace("\n", "\r\n"),
    "compact": json.dumps(json.loads(EXISTING), separators=(",", ":")),
    "no newline": EXISTING.rstrip("\n"),
    "not ascii": '{"env": {"A": "\\u00e9\u00e9"}, "a": "\u2028"}',
    "empty object": "{}",
    "empty file": "",
    "no file": None,
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("times", [1, 2])
def test_undo_restores_exactly_what_was_there(setup: Setup, tmp_path: Path, text: str | None, times: int) -> None:
    path = settings_file(tmp_path, text)
    before = path.read_bytes() if path.exists() else None
    for n in range(times):
        done = setup(tmp_path, "--yes", PORT=f"900{n}")
        assert done.returncode == 0
        assert SECRET not in done.stdout + done.stderr
    assert read(path)["env"]["ANTHROPIC_BASE_URL"] == f"http://localhost:900{times - 1}"
    done = setup(tmp_path, "--undo", "--yes")
    assert done.returncode == 0, done.stderr
    assert (path.read_bytes() if path.exists() else None) == before
    assert not (tmp_path / ".config/cc-boost/.env").exists()
    again = setup(tmp_path, "--undo", "--yes")
    assert again.returncode == 1
    assert again.stderr.startswith("cc-boost setup has not written to ")


def test_undo_keeps_what_has_been_changed_since(setup: Setup, tmp_path: Path) -> None:
    path = settings_file(tmp_path, EXISTING)
    setup(tmp_path, "--yes")
    settings = read(path)
    settings["theme"] = "light"
    settings["env"]["ANTHROPIC_BASE_URL"] = "https://third.example"
    path.write_text(json.dumps(settings))
    done = setup(tmp_path, "--undo", "--yes")
    expected = json.loads(EXISTING)
    expected["theme"] = "light"
    expected["env"]["ANTHROPIC_BASE_URL"] = "https://third.example"
    assert read(path) == expected
    assert "left as is: ANTHROPIC_BASE_URL." in done.stdout


def test_users_file_is_made_once_and_for_its_owner_only(setup: Setup, tmp_path: Path) -> None:
    setup(tmp_path, "--yes", CUSTOM_HEADER_X_TEAM="blue team", PORT="9001")
    path = tmp_path / ".config/cc-boost/.env"
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# Settings of cc-boost")
    assert set(lines[1:]) == {
        *(f"OPENAI_API_KEY={SECRET}", f"OPENAI_BASE_URL={URL[0]}", "BIG_MODEL=gpt-4o", "SMALL_MODEL=tiny", "PORT=9001"),
        *("CUSTOM_HEADER_X_TEAM='blue team'", "HOST=127.0.0.1"),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    setup(tmp_path, "--yes", BIG_MODEL="other")
    assert path.read_text().splitlines() == lines


def test_users_file_that_was_changed_stays_after_undo(setup: Setup, tmp_path: Path) -> None:
    setup(tmp_path, "--yes")
    path = tmp_path / ".config/cc-boost/.env"
    path.write_text(path.read_text() + "PORT=9001\n")
    done = setup(tmp_path, "--undo", "--yes")
    assert f"{path} has changed since then, and stays." in done.stdout
    assert path.exists()


def test_settings_of_a_project_are_written_with_project(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    options: dict[str, Any] = {"directory": tmp_path / "work", "ANTHROPIC_API_KEY": f"{SECRET}-client"}
    done = setup(tmp_path, "--project", "--yes", **options)
    assert read(tmp_path / "work/.claude/settings.json")["env"]["ANTHROPIC_AUTH_TOKEN"] == f"{SECRET}-client"
    assert "do not share it" in done.stderr
    assert not (tmp_path / ".claude").exists()
    assert SECRET not in done.stdout + done.stderr
    assert setup(tmp_path, "--project", "--yes", "--undo", **options).returncode == 0
    assert not (tmp_path / "work/.claude/settings.json").exists()


@pytest.mark.parametrize("text", ['{"env": {"A": 1},}', "[]", '{"env": []}', '{"a": 1} // note', "\x00"])
def test_file_that_is_not_understood_stays_as_it_is(setup: Setup, tmp_path: Path, text: str) -> None:
    path = settings_file(tmp_path, text)
    done = setup(tmp_path, "--yes")
    assert done.returncode == 2
    assert "It stays as it is." in done.stderr
    assert path.read_text() == text


def test_symbolic_link_is_kept(setup: Setup, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.json"
    target.write_text("{}")
    settings_file(tmp_path).symlink_to(target)
    setup(tmp_path, "--yes")
    assert settings_file(tmp_path).is_symlink()
    assert "ANTHROPIC_BASE_URL" in read(target)["env"]


def test_proxy_elsewhere_by_its_url(setup: Setup, tmp_path: Path) -> None:
    settings_file(tmp_path, "{}")
    done = setup(tmp_path, "--yes", "--url", "http://proxy.example:8082/", OPENAI_API_KEY="", ANTHROPIC_API_KEY="k")
    assert done.returncode == 0, done.stderr
    env = read(settings_file(tmp_path))["env"]
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_AUTH_TOKEN"]) == ("http://proxy.example:8082", "k")
    assert not (tmp_path / ".config").exists()


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        ((), {}, "No terminal to confirm this in: add --yes."),
        (("--yes",), {"OPENAI_API_KEY": ""}, "OPENAI_API_KEY: not set. "),
        (("--yes",), {"LOG_LEVEL": "loud"}, "LOG_LEVEL: given 'LOUD'"),
    ],
)
def test_exit_code_2_and_nothing_written(
    setup: Setup, tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    path = settings_file(tmp_path, "{}")
    done = setup(tmp_path, *arguments, **variables)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert path.read_text() == "{}"
    assert not (tmp_path / ".config/cc-boost/.env").exists()


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False), ("", False)])
def test_difference_is_shown_and_asked_about_at_a_terminal(tmp_path: Path, answer: str, written: bool) -> None:
    (tmp_path / ".config/cc-boost").mkdir(parents=True)
    (tmp_path / ".config/cc-boost/.env").write_text(f"OPENAI_API_KEY={SECRET}\n")
    path = settings_file(tmp_path, "{}")
    pid, terminal = pty.fork()
    if pid == 0:  # in the child
        os.chdir(tmp_path)
        os.execve(COMMAND[0], COMMAND, environment(tmp_path))  # noqa: S606
    shown = ""
    end = time.monotonic() + LIMIT
    while "[y/N]" not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 10_000).decode()
    os.write(terminal, f"{answer}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert "ANTHROPIC_BASE_URL" in shown
    assert os.waitstatus_to_exitcode(status) == (0 if written else 1)
    assert ("ANTHROPIC_BASE_URL" in path.read_text()) is written
