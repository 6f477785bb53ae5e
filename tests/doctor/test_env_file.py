"""Variables in a ``.env`` file, of which the rest must stay byte for byte."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from ccproxy.doctor.env_file import quote, set_variables, write_variables

OPTIONS = '{"vision": false, "extra_body": {"note": "it\'s $HOME \\\\ #1"}}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"PROVIDER=vllm\n"),
        (b"A=1", b"A=1\nPROVIDER=vllm\n"),
        (b"A=1\r\nB=2", b"A=1\r\nB=2\r\nPROVIDER=vllm\r\n"),
        (b"PROVIDER=ollama\nA=1\n", b"PROVIDER=vllm\nA=1\n"),
        (b"  export PROVIDER = ollama  # mine\nA='x # y'\n", b"  export PROVIDER = vllm  # mine\nA='x # y'\n"),
        (b"PROVIDER='ol\nlama'\r\nA=1\r\n", b"PROVIDER=vllm\r\nA=1\r\n"),
        (b'PROVIDER="a \\" b" # c\n', b"PROVIDER=vllm # c\n"),
        (b"PROVIDER=\nA=1\n", b"PROVIDER=vllm\nA=1\n"),
        (b"PROVIDER=a#b\n", b"PROVIDER=vllm\n"),
        (b"PROVIDER=one\nPROVIDER=two\n", b"PROVIDER=one\nPROVIDER=vllm\n"),
        (b"# PROVIDER=a\nMY_PROVIDER=x\nPROVIDERS=y\n", b"# PROVIDER=a\nMY_PROVIDER=x\nPROVIDERS=y\nPROVIDER=vllm\n"),
        (b"\xff\xfe=\xe9\n", b"\xff\xfe=\xe9\nPROVIDER=vllm\n"),
    ],
)  # fmt: skip
def test_variable_is_set_and_the_rest_stays(before: bytes, after: bytes) -> None:
    assert set_variables(before, {"PROVIDER": "vllm"}) == after


@pytest.mark.parametrize("value", ["plain", "", " a b ", "it's", OPTIONS, "a#b", 'say "x"', "back\\slash"])
def test_value_is_read_as_it_was_written(value: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    for before in (b"A=1\n", b'A=1\nNAME="old value" # why\nB=2\n', b"NAME=old\nB=2\n"):
        path.write_bytes(set_variables(before, {"NAME": value}))
        assert dotenv_values(path)["NAME"] == value
        assert set(dotenv_values(path)) >= {line.split(b"=")[0].decode() for line in before.splitlines()}


def test_mode_and_link_stay_and_nothing_is_left_behind(tmp_path: Path) -> None:
    target, link = tmp_path / "real.env", tmp_path / ".env"
    target.write_text("A=1\n")
    target.chmod(0o640)
    link.symlink_to(target)
    write_variables(link, {"B": "2"})
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("A=1\nB=2\n", 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "real.env"]


def test_file_is_for_its_owner_only_when_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write_variables(path, {"A": "1"})
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("A=1\n", 0o600)


def test_file_stays_when_it_can_not_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "directory" / ".env"
    with pytest.raises(OSError, match="directory"):
        write_variables(path, {"A": "1"})


def test_quote_is_left_out_when_it_is_not_needed() -> None:
    assert (quote("vllm"), quote("{}"), quote("")) == ("vllm", "'{}'", "''")
