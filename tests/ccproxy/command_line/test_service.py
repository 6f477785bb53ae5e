"""``cc-boost service`` as processes, with a program that plays systemd; the files for systemd and launchd."""

import os
import plistlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ccproxy.command_line.service import launchd_agent, systemd_unit
from support.serving.process import free_port

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "service"]

SYSTEMCTL = f"""#!{sys.executable}
import os, re, shlex, signal, subprocess, sys
home = os.environ["HOME"]
with open(home + "/calls", "a") as file:
    print(*sys.argv[1:], file=file)
if os.path.exists(home + "/broken"):
    sys.exit("Failed to connect to bus: No medium found")
pid = home + "/pid"
if "restart" in sys.argv or "--now" in sys.argv:
    if os.path.exists(pid):
        os.kill(int(open(pid).read()), signal.SIGTERM)
        os.unlink(pid)
if "restart" in sys.argv:
    unit = open(home + "/.config/systemd/user/cc-boost.service").read()
    command = shlex.split(re.search("ExecStart=(.*)", unit)[1])
    directory = re.search("WorkingDirectory=(.*)", unit)[1]
    kept = {{name: os.environ[name] for name in ("HOME", "PATH")}}
    out = open(home + "/log", "a")
    process = subprocess.Popen(command, cwd=directory, env=kept, stdout=out, stderr=out, start_new_session=True)
    open(pid, "w").write(str(process.pid))
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work/.env").write_text("PORT=1\nLOG_LEVEL=verbose\n")  # a project's own
    yield tmp_path
    with suppress(OSError, ValueError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def write_settings(home: Path, *lines: str) -> int:
    port = free_port()
    path = home / ".config/cc-boost/.env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("OPENAI_API_KEY=k", "HOST=127.0.0.1", f"PORT={port}", *lines)) + "\n")
    return port


def is_up(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def service(home: Path, command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{home / 'bin'}:/usr/bin:/bin", "HOME": str(home)}
    return subprocess.run(
        [*COMMAND, command], cwd=home / "work", env=environment, capture_output=True, text=True, timeout=90
    )


def test_installed_asked_for_installed_again_and_removed(home: Path) -> None:
    port = write_settings(home)
    done = service(home, "install")
    assert done.returncode == 0, done.stderr
    assert f"cc-boost runs at http://localhost:{port}," in done.stdout
    assert "journalctl --user -u cc-boost.service" in done.stdout
    assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200

    done = service(home, "status")
    assert (done.returncode, f"http://localhost:{port}, answers" in done.stdout) == (0, True)

    (home / ".config/cc-boost/.env").write_text(f"OPENAI_API_KEY=k\nHOST=127.0.0.1\nPORT={port}\nBIG_MODEL=other\n")
    assert service(home, "install").returncode == 0
    assert httpx.get(f"http://127.0.0.1:{port}/").json()["models"]["BIG_MODEL"] == "other"

    done = service(home, "remove")
    assert done.returncode == 0, done.stderr
    assert not (home / ".config/systemd/user/cc-boost.service").exists()
    end = time.monotonic() + 30
    while is_up(port):
        assert time.monotonic() < end
        time.sleep(0.05)
    done = service(home, "status")
    assert (done.returncode, "not installed" in done.stdout) == (1, True)
    assert service(home, "remove").stdout == "cc-boost is not installed as a service.\n"


def test_exit_code_2_without_a_configuration_file(home: Path) -> None:
    done = service(home, "install")
    assert done.returncode == 2
    assert "run cc-boost setup first" in done.stderr


def test_exit_code_2_with_the_problems_of_the_configuration_file(home: Path) -> None:
    write_settings(home, "LOG_LEVEL=loud")
    done = service(home, "install")
    assert done.returncode == 2
    assert done.stderr.startswith("LOG_LEVEL: given 'LOUD' in ")
    assert not (home / ".config/systemd").exists()


def test_exit_code_1_and_nothing_left_when_the_manager_can_not_be_reached(home: Path) -> None:
    write_settings(home)
    (home / "broken").touch()
    done = service(home, "install")
    assert done.returncode == 1
    assert "Failed to connect to bus: No medium found" in done.stderr
    assert list((home / ".config/systemd/user").iterdir()) == []


def test_exit_code_1_when_there_is_no_manager(home: Path) -> None:
    write_settings(home)
    (home / "bin/systemctl").unlink()
    environment = {"PATH": str(home / "bin"), "HOME": str(home)}
    done = subprocess.run([*COMMAND, "install"], cwd=home, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 1
    assert done.stderr.startswith("There is neither systemd nor launchd here")


def test_exit_code_1_when_the_port_is_taken(home: Path) -> None:
    port = write_settings(home)
    command = [COMMAND[0], "serve"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
    with subprocess.Popen(command, cwd=home / ".config/cc-boost", env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = service(home, "install")
        process.terminate()
    assert done.returncode == 1
    assert done.stderr.startswith(f"Something answers at http://localhost:{port} already")


@pytest.mark.parametrize("command", ["install", "remove"])
def test_unit_of_somebody_else_is_left_alone(home: Path, command: str) -> None:
    write_settings(home)
    unit = home / ".config/systemd/user/cc-boost.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    done = service(home, command)
    assert done.returncode == 2
    assert "was not created by cc-boost" in done.stderr
    assert unit.read_text() == "[Service]\n"


def test_unit_quotes_what_systemd_would_expand() -> None:
    unit = systemd_unit(["/opt/my env/bin/python", "100%", "$HOME", 'a"b'], Path("/home/50%"))
    assert 'ExecStart="/opt/my env/bin/python" "100%%" "$$HOME" "a\\"b"\n' in unit
    assert "WorkingDirectory=/home/50%%\n" in unit
    assert "RestartPreventExitStatus=2\n" in unit


def test_agent_of_launchd_runs_the_proxy_and_logs_to_its_file() -> None:
    agent = plistlib.loads(
        launchd_agent(["/usr/bin/python", "-m", "ccproxy"], Path("/Users/a b"), Path("/Users/l.log"))
    )
    assert agent["ProgramArguments"] == ["/usr/bin/python", "-m", "ccproxy"]
    assert agent["WorkingDirectory"] == "/Users/a b"
    assert agent["StandardErrorPath"] == "/Users/l.log"
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
