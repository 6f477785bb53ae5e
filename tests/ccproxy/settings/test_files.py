"""Which files settings are read from: the user's own, and the ``.env`` of the folder if it may be ours."""

import os
from pathlib import Path

import pytest

from ccproxy.settings import ConfigurationError, Settings, settings_files, unread_files, users_file
from support.paths import ROOT

FOREIGN = "LOG_LEVEL=verbose\nHOST=db.internal\nMETRICS=statsd\nOPENAI_API_KEY=of-the-project\n"
OURS = "# Settings of cc-boost. Copy this file to .env.\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, with a fresh home and no settings in the environment."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write_users_file(text: str) -> str:
    path = users_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return str(path)


def test_env_of_another_program_is_not_read_in_a_project(folder: Path) -> None:
    (folder / ".env").write_text(FOREIGN)
    write_users_file("OPENAI_API_KEY=of-the-user\n")
    settings = Settings.load(any_env=False)
    assert settings.openai_api_key.get_secret_value() == "of-the-user"
    assert (settings.log_level, settings.host) == ("WARNING", "0.0.0.0")


def test_env_of_the_folder_is_read_by_a_server_whatever_it_is(folder: Path) -> None:
    (folder / ".env").write_text("OPENAI_API_KEY=k\nPORT=9001\n")
    write_users_file("PORT=9000\nSMALL_MODEL=tiny\n")
    settings = Settings.load()
    assert (settings.port, settings.small_model) == (9001, "tiny")


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_env_that_begins_as_ours_is_read_in_a_project_too(folder: Path, start: str) -> None:
    (folder / ".env").write_text(f"{start}{OURS}OPENAI_API_KEY=k\nPORT=9001\n", encoding="utf-8")
    assert Settings.load(any_env=False).port == 9001


def test_copied_example_is_ours(folder: Path) -> None:
    (folder / ".env").write_text((ROOT / ".env.example").read_text())
    assert [(file.path, file.left_out) for file in settings_files(any_env=False)] == [(".env", "")]


def test_empty_value_of_a_later_file_hides_nothing(folder: Path) -> None:
    write_users_file("OPENAI_API_KEY=of-the-user\n")
    (folder / ".env").write_text(f"{OURS}OPENAI_API_KEY=\n")
    assert Settings.load(any_env=False).openai_api_key.get_secret_value() == "of-the-user"


def test_named_file_goes_over_the_users_and_replaces_the_folders(folder: Path) -> None:
    write_users_file("OPENAI_API_KEY=of-the-user\nPORT=9000\n")
    (folder / ".env").write_text("PORT=9001\nSMALL_MODEL=other\n")
    (folder / "mine.env").write_text("PORT=9002\n")
    settings = Settings.load("mine.env", any_env=False)
    assert (settings.port, settings.small_model) == (9002, "gpt-4o-mini")


def test_bad_value_is_told_with_the_file_that_it_stands_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_users_file("OPENAI_API_KEY=k\nPORT=many\nLOG_LEVEL=loud\n")
    (folder / ".env").write_text("LOG_LEVEL=quiet\nMETRICS=statsd\n")
    monkeypatch.setenv("METRICS", "perhaps")
    with pytest.raises(ConfigurationError) as failure:
        Settings.load()
    assert [line.split(";")[0] for line in failure.value.problems] == [
        f"PORT: given 'many' in {path}",
        "LOG_LEVEL: given 'QUIET' in .env",
        "METRICS: given 'perhaps'",
    ]


def test_file_that_was_left_out_is_told_of_when_the_settings_do_not_do(folder: Path) -> None:
    (folder / ".env").write_text("OPENAI_API_KEY=k\n")
    with pytest.raises(ConfigurationError) as failure:
        Settings.load(any_env=False)
    missing, left_out = failure.value.problems
    assert missing.startswith("OPENAI_API_KEY: not set")
    assert left_out.startswith(".env of this folder was not read: ")
    assert "--env-file .env" in left_out
    assert str(users_file()) in left_out


@pytest.mark.parametrize(("text", "told"), [(FOREIGN, 0), ("BIG_MODEL=qwen3\n", 1)])
def test_file_that_is_likely_meant_is_told_of(folder: Path, text: str, told: int) -> None:
    (folder / ".env").write_text(text)
    assert len(unread_files(settings_files(any_env=False), likely=True)) == told


def test_file_that_can_not_be_read_is_named(folder: Path) -> None:
    path = write_users_file("")
    Path(path).write_bytes(b"OPENAI_API_KEY=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match="can't be read") as failure:
        Settings.load()
    assert str(failure.value).startswith(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# ours\nOPENAI_API_KEY: sk-planted\n", 2),
        ("\n\n  \nOPENAI_API_KEY = 'sk-planted\nPORT=1\n", 4),
        ("PORT=1\nOPENAI_API_KEY='sk-planted' and more\n", 2),
        ("PORT=1\n=sk-planted\n", 2),
        ("\ufeffPORT 1\n", 1),
    ],
)
def test_line_that_can_not_be_parsed_ends_the_start(folder: Path, text: str, line: int) -> None:
    (folder / ".env").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as failure:
        Settings.load()
    assert str(failure.value).startswith(f".env, line {line}: can't be parsed; accepted: NAME=value")
    assert "planted" not in str(failure.value)


def test_each_line_that_can_not_be_parsed_is_named(folder: Path) -> None:
    (folder / ".env").write_text("A B\nPORT=1\nC D\n")
    with pytest.raises(ConfigurationError) as failure:
        Settings.load()
    assert [problem.partition(":")[0] for problem in failure.value.problems] == [".env, line 1", ".env, line 3"]


def test_byte_order_mark_is_no_part_of_the_first_variable(folder: Path) -> None:
    (folder / ".env").write_text("\ufeffOPENAI_API_KEY=k\nPORT=9001\n", encoding="utf-8")
    settings = Settings.load()
    assert (settings.openai_api_key.get_secret_value(), settings.port) == ("k", 9001)


def test_unknown_setting_in_the_users_file_is_warned_of() -> None:
    path = write_users_file("OPENAI_API_KEY=k\nBIG_MODLE=qwen3\nCUSTOM_HEADER_X=v\nCOLOUR=red\n")
    assert Settings.load().lookalikes == (
        f"BIG_MODLE in {path} is set, but is not a setting. Did you mean BIG_MODEL?",
        f"COLOUR in {path} is set, but is not a setting. cc-boost --help lists them.",
    )
