"""``cc-boost keys``: the file is changed and nothing else of it."""

import json
import os
import shlex
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from ccproxy.command_line import cli
from ccproxy.settings import parse_keys

GIVEN = """\
# The team's keys, in the order of their desks

[[key]]   # the first one
name = "zoe"
key = "key-of-zoe"  # she wants it plain
expires = 2099-01-01

[[key]]
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
name = "ann"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    monkeypatch.setenv("KEYS_FILE", "keys.toml")


def run(monkeypatch: pytest.MonkeyPatch, line: str) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_key_is_made_and_shown_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (
        "export KEYS_FILE=keys.toml",
        "cc-boost keys add ann --tier small --tier middle --requests-per-minute 60",
    ):
        if line.startswith("cc-boost"):
            assert run(monkeypatch, line) == 0
    told = capsys.readouterr()
    key = told.out.strip()
    assert len(key) > 40
    assert told.err == "The key of ann, shown this once; keys.toml has its SHA-256 only:\n"
    file = tmp_path / "keys.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert key not in text
    [entry] = parse_keys(text, "keys.toml")
    assert entry.key.digest == sha256(key.encode()).digest()
    assert (entry.limits.tiers, entry.limits.requests_per_minute) == (("small", "middle"), 60)


def test_rest_of_the_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(GIVEN)
    file.chmod(0o640)
    options = (
        "--plain --expires 2098-12-31 --model 'qwen*' --tokens-per-minute 1000 --usd-per-day 2.5 --usd-per-month 40"
    )
    assert run(monkeypatch, f"cc-boost keys add bob {options}") == 0
    key = capsys.readouterr().out.strip()
    added = file.read_text()
    assert added.startswith(GIVEN)
    assert f'name = "bob"\nkey = "{key}"\nexpires = 2098-12-31\nmodels = ["qwen*"]\n' in added
    assert file.stat().st_mode & 0o777 == 0o640
    assert run(monkeypatch, "cc-boost keys revoke zoe") == 0
    assert "The key of zoe is revoked" in capsys.readouterr().out
    revoked = file.read_text()
    assert revoked == added.replace("expires = 2099-01-01\n", "expires = 2099-01-01\nrevoked = true\n")
    assert run(monkeypatch, "cc-boost keys revoke zoe") == 0
    assert file.read_text() == revoked
    assert [entry.key.revoked for entry in parse_keys(revoked, "keys.toml")] == [True, False, False]


def test_inline_entries_stay_inline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('key = [{name = "zoe", key = "z"}]  # one line\n')
    assert run(monkeypatch, "cc-boost keys add ann --plain") == 0
    assert run(monkeypatch, "cc-boost keys revoke zoe") == 0
    text = file.read_text()
    assert [(entry.key.name, entry.key.revoked) for entry in parse_keys(text, "")] == [("zoe", True), ("ann", False)]
    assert text.endswith("# one line\n")


def test_list_shows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.toml"
    more = "revoked = true\n[[key]]\nname = 'old'\nkey = 'o'\nexpires = 2020-01-01\nusd_per_day = 2.5\n"
    more += "models = ['a', 'b']\n"
    file.write_text(GIVEN + more)
    assert run(monkeypatch, "cc-boost keys list") == 0
    told = capsys.readouterr().out
    assert told == (
        "name  state    expires               models  usd/day\n"
        "zoe   active   2099-01-01T00:00:00Z\n"
        "ann   revoked\n"
        "old   expired  2020-01-01T00:00:00Z  a,b     2.5\n"
    )
    assert run(monkeypatch, "cc-boost keys list --json") == 0
    told = capsys.readouterr().out
    assert "key-of-zoe" not in told
    assert "9f86d0" not in told
    assert json.loads(told)[2] == {
        "name": "old",
        "state": "expired",
        "expires": "2020-01-01T00:00:00Z",
        "tiers": None,
        "models": ["a", "b"],
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "usd_per_day": 2.5,
        "usd_per_month": None,
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cc-boost keys add zoe", "entry 3 (zoe), name: entry 1 has the same"),
        ("cc-boost keys add 'a b'", "entry 3, name: accepted: up to 64 letters"),
        ("cc-boost keys add bob --tier huge", "entry 3 (bob), tiers: given 'huge'"),
        (
            "cc-boost keys add bob --usd-per-day 0",
            "entry 3 (bob), usd_per_day: accepted: a number of US dollars above 0",
        ),
        (
            "cc-boost keys add bob --expires tomorrow",
            "--expires: given 'tomorrow'; accepted: a date such as 2027-01-31",
        ),
        ("cc-boost keys revoke bob", "keys.toml has no key of the name 'bob'; there are zoe, ann"),
        ("cc-boost keys list --file none.toml", "none.toml can't be read: No such file or directory"),
        ("cc-boost keys list --env-file none.env", "--env-file: given 'none.env'; accepted: a file that exists"),
    ],
)
def test_what_can_not_be_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, words: str
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(GIVEN)
    assert run(monkeypatch, line) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""
    assert file.read_text() == GIVEN
    assert os.listdir(tmp_path) == ["keys.toml"]


def test_file_is_named_by_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KEYS_FILE")
    assert run(monkeypatch, "cc-boost keys list") == 2
    assert "KEYS_FILE is not set" in capsys.readouterr().err
    (tmp_path / ".env").write_text("KEYS_FILE=team.toml\n")
    assert run(monkeypatch, "cc-boost keys add ann") == 0
    assert (tmp_path / "team.toml").exists()


def test_broken_file_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys.toml").write_text("[[key]]\nnaem = 'ann'\n")
    assert run(monkeypatch, "cc-boost keys add bob") == 2
    assert "keys.toml, entry 1, naem: there is no such field. Do you mean name?" in capsys.readouterr().err
    assert (tmp_path / "keys.toml").read_text() == "[[key]]\nnaem = 'ann'\n"
