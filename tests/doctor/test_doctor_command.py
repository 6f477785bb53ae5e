"""``cc-boost doctor`` as its user meets it: a process, its output, its exit code."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from doctor import disguises
from support.providers.scripted import ScriptedProvider, Silence
from support.serving.servers import serve

COMMAND = [str(Path(sys.executable).parent / "cc-boost"), "doctor"]
LIMIT = 60


def variables(home: Path, url: str = "") -> dict[str, str]:
    known = {"PATH": "/usr/bin:/bin", "HOME": str(home), "OPENAI_API_KEY": "planted-5EcReT", "TERM": "xterm-256color"}
    return known | {"MAX_TOKENS_LIMIT": "32000"} | ({"OPENAI_BASE_URL": url} if url else {})


def run(home: Path, *arguments: str, url: str = "") -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, *arguments]
    return subprocess.run(command, cwd=home, env=variables(home, url), capture_output=True, text=True, timeout=LIMIT)


def test_finding_is_written_into_the_named_file(tmp_path: Path) -> None:
    with serve(ScriptedProvider(disguises.sees_nothing), lifespan="off") as server:
        file = tmp_path / "mine.env"
        file.write_text(f"OPENAI_BASE_URL='{server.url}/v1'  # the one at home\n")
        done = run(tmp_path, "--json", "--write-env", "--env-file", "mine.env")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert (document["verdict"], document["written"]) == ("warning", "mine.env")
    lines = file.read_text().splitlines()
    assert lines == [f"OPENAI_BASE_URL='{server.url}/v1'  # the one at home", "PROVIDER_OPTIONS='{\"vision\": false}'"]
    assert not (tmp_path / ".env").exists()


def test_exit_codes_when_there_are_problems_or_bad_settings(tmp_path: Path) -> None:
    problems = run(tmp_path, url="http://127.0.0.1:9/v1")
    assert problems.returncode == 1
    assert "problem  Reachable" in problems.stdout
    assert "planted-5EcReT" not in problems.stdout + problems.stderr
    bad = run(tmp_path, url="ftp://x")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("OPENAI_BASE_URL: given 'ftp://x'")


def test_ctrl_c_ends_it_at_a_terminal(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda body: Silence())
    with serve(provider, lifespan="off") as server:
        pid, terminal = pty.fork()
        if pid == 0:  # in the child
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it, and hands that on
            os.chdir(tmp_path)
            os.execve(COMMAND[0], COMMAND, variables(tmp_path, f"{server.url}/v1"))  # noqa: S606
        shown = b""
        end = time.monotonic() + LIMIT
        while not provider.completions and time.monotonic() < end:
            time.sleep(0.02)
        os.write(terminal, b"\x03")
        try:
            while piece := os.read(terminal, 1000):
                shown += piece
        except OSError:  # Linux's way to say that the other side is closed
            pass
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    text = shown.decode()
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT, text
    assert "\N{CHECK MARK} " in text
    assert text.rstrip().endswith("Stopped.")
    assert "Traceback" not in text
