"""What ``cc-boost env`` prints for each shell, run by the shell where it is installed."""

import shutil
import subprocess

import pytest

from ccproxy.command_line.shells import script

VALUES = {
    "A_URL": "http://localhost:8082",
    "A_QUOTE": "it's \"so\" \\ and \\' $HOME `x` $(x) * ~",
    "A_PERCENT": "100%PATH% & | < > ^ ( )!",
    "AN_EMPTY": "",
    "A_UNICODE": "Größe ‘quoted’",
}


@pytest.mark.parametrize("shell", ["sh", "fish"])
def test_shell_gets_the_values_as_they_are(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    lines = script(shell, unset=["GONE", "ALSO_GONE"], variables=VALUES)  # type: ignore[arg-type]
    done = subprocess.run(
        [program, "-c", f"{lines}\nexec env -0"],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GONE": "1", "ALSO_GONE": "1", "KEPT": "1"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert {name: found.get(name) for name in VALUES} == VALUES
    assert (found.keys() & {"GONE", "ALSO_GONE"}, found["KEPT"]) == (set(), "1")


def test_lines_for_powershell() -> None:
    assert script("powershell", unset=["GONE"], variables={"A": "it's", "B": "‘x’ $y `z"}).splitlines() == [
        "Remove-Item Env:GONE -ErrorAction SilentlyContinue",
        "$env:A = 'it''s'",
        "$env:B = '‘‘x’’ $y `z'",
    ]


def test_lines_for_a_batch_file_of_cmd() -> None:
    assert script("cmd", unset=["GONE"], variables={"A": "a b", "B": VALUES["A_PERCENT"], "C": 'x"y'}).splitlines() == [
        "@set GONE=",
        "@set A=a b",
        "@set B=100%%PATH%% ^& ^| ^< ^> ^^ ^( ^)^!",
        '@set C=x^"y',
    ]
    with pytest.raises(ValueError, match="several lines"):
        script("cmd", unset=[], variables={"A": "a\nb"})
