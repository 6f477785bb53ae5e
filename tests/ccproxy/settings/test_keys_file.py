"""The file of keys: what is read, that each mistake names its place, and that changes hold."""

import logging
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest

from ccproxy.settings import ConfigurationError, KeysFile, Settings, parse_keys, startup_warnings
from ccproxy.settings.keys import keys_file
from ccproxy_middleware import KeyLimits

DIGEST = sha256(b"key-of-bob").hexdigest()
GOOD = f"""\
# The team
[[key]]
name = "ann@example.com"
key = "key-of-ann"

[[key]]
name = "bob"
sha256 = "{DIGEST.upper()}"
expires = 2027-01-31
tiers = ["small", "middle"]
models = "qwen*"
requests_per_minute = 60
tokens_per_minute = 100_000
usd_per_day = 2.5
usd_per_month = 40

[[key]]
name = "ci"
key = "key-of-ci"
expires = 2027-01-31T12:00:00+02:00
revoked = true
"""
KEY = '[[key]]\nname = "ann"\nkey = "k"\n'


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        parse_keys(text, "keys.toml")
    return list(raised.value.problems)


def test_entries_are_read_in_order() -> None:
    ann, bob, ci = parse_keys(GOOD, "keys.toml")
    assert (ann.key.name, ann.key.text, ann.key.digest) == (
        "ann@example.com",
        "key-of-ann",
        sha256(b"key-of-ann").digest(),
    )
    assert ann.limits == KeyLimits()
    assert (bob.key.text, bob.key.digest.hex(), bob.key.revoked) == (None, DIGEST, False)
    assert bob.key.expires == datetime(2027, 1, 31, tzinfo=UTC)
    assert bob.limits == KeyLimits(("small", "middle"), ("qwen*",), 60, 100_000, Decimal("2.5"), Decimal(40))
    assert ci.key.revoked
    assert ci.key.expires == datetime(2027, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))


def test_empty_file_has_no_keys() -> None:
    assert parse_keys("# none yet\n", "keys.toml") == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "[[key]\n",
            ["keys.toml: it is no TOML: Expected ']]' at the end of an array declaration (at line 1, column 6)"],
        ),
        ("[key]\nname='a'\n", ["keys.toml, key: an entry begins with [[key]]"]),
        ("[[keys]]\n", ["keys.toml, keys: there is no such field. Do you mean key?"]),
        (KEY + "tier = ['big']\n", ["keys.toml, entry 1 (ann), tier: there is no such field. Do you mean tiers?"]),
        (KEY + KEY.replace('"k"', '"l"'), ["keys.toml, entry 2 (ann), name: entry 1 has the same"]),
        (KEY + KEY.replace("ann", "bob"), ["keys.toml, entry 2 (bob), key: entry 1 has the same key"]),
        (
            KEY + f'[[key]]\nname = "bob"\nsha256 = "{sha256(b"k").hexdigest()}"\n',
            ["keys.toml, entry 2 (bob), sha256: entry 1 has the same key"],
        ),
        (KEY + f'sha256 = "{DIGEST}"\n', ["keys.toml, entry 1 (ann), sha256: an entry has key or sha256, not both"]),
        ('[[key]]\nname = "ann"\n', ["keys.toml, entry 1 (ann), key: an entry needs key, or the sha256 of one"]),
        ('[[key]]\nkey = "planted"\n', ["keys.toml, entry 1, name: an entry needs one"]),
        (
            '[[key]]\nname = "key 1"\nkey = "planted"\n',
            [
                "keys.toml, entry 1, name: accepted: up to 64 letters, digits and the characters . _ @ + -, a letter "
                "or digit first"
            ],
        ),
        (
            '[[key]]\nname = "ann"\nkey = 7\n',
            ["keys.toml, entry 1 (ann), key: accepted: a key of printable ASCII characters without spaces"],
        ),
        (
            '[[key]]\nname = "ann"\nsha256 = "abc"\n',
            ["keys.toml, entry 1 (ann), sha256: accepted: the SHA-256 of a key, as 64 hexadecimal digits"],
        ),
        (
            KEY + 'expires = "2027-01-31"\n',
            [
                "keys.toml, entry 1 (ann), expires: accepted: a date or a time of TOML, without quotes, such as "
                "2027-01-31"
            ],
        ),
        (KEY + "revoked = 1\n", ["keys.toml, entry 1 (ann), revoked: accepted: true or false"]),
        (
            KEY + 'tiers = ["big", "huge"]\n',
            ["keys.toml, entry 1 (ann), tiers: given 'huge'; accepted: one or several of big, middle, small"],
        ),
        (KEY + "models = []\n", ["keys.toml, entry 1 (ann), models: accepted: a text or a list of texts"]),
        (
            KEY + 'requests_per_minute = 0\ntokens_per_minute = 1.5\nusd_per_day = "2"\nusd_per_month = nan\n',
            [
                "keys.toml, entry 1 (ann), requests_per_minute: accepted: a whole number of at least 1",
                "keys.toml, entry 1 (ann), tokens_per_minute: accepted: a whole number of at least 1",
                "keys.toml, entry 1 (ann), usd_per_day: accepted: a number of US dollars above 0",
                "keys.toml, entry 1 (ann), usd_per_month: accepted: a number of US dollars above 0",
            ],
        ),
    ],
)
def test_mistake_names_file_entry_and_field(text: str, found: list[str]) -> None:
    assert problems(text) == found
    assert "planted" not in str(found)


def settings(path: Path, **more: object) -> Settings:
    return Settings.explicit(openai_api_key="k", keys_file=str(path), **more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.toml"
    file.write_text(KEY)
    return file


def test_settings_read_it(file: Path) -> None:
    known = settings(file)
    assert isinstance(known.keys_file, KeysFile)
    assert [key.name for key in known.keys_file.named()] == ["ann"]
    assert known.needs_client_key
    assert "k" in known.secrets()
    assert not [line for line in startup_warnings(known, "192.0.2.1") if "everybody" in line]


@pytest.mark.parametrize(
    ("more", "text", "problem"),
    [
        ({}, "[[key]]\n", "{file}, entry 1, name: an entry needs one"),
        ({}, KEY + "usd_per_month = 1\n",
         "{file}, entry 1 (ann), usd_per_month: it needs LEDGER, which counts what is spent: set LEDGER=true"),
        ({"anthropic_api_key": "x,k"}, KEY, "{file}, entry 1 (ann), key: ANTHROPIC_API_KEY or ADMIN_API_KEY has the "
                                            "same key"),
        ({"admin_api_key": "k"}, KEY, "{file}, entry 1 (ann), key: ANTHROPIC_API_KEY or ADMIN_API_KEY has the "
                                      "same key"),
        ({"admin_api_key": "a,b", "anthropic_api_key": "b"}, KEY,
         "ADMIN_API_KEY: given ****; ANTHROPIC_API_KEY has the same key, and each client could see the others' "
         "conversations; accepted: keys that no client has"),
    ],
)  # fmt: skip
def test_settings_that_can_not_be(file: Path, more: dict[str, str], text: str, problem: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        settings(file, **more)
    assert raised.value.problems[0] == problem.format(file=file)


def test_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        settings(Path("none.toml"))
    problem = "KEYS_FILE: given 'none.toml'; it can't be read: No such file or directory; accepted: a TOML file; "
    assert raised.value.problems == (f"{problem}cc-boost keys add makes it",)


def test_change_holds_and_a_broken_one_is_told_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys_file, "_LOOK", 0.0)
    keys = KeysFile(file)
    keys.read(money=False)
    file.write_text(KEY + "requests_per_minute = 5\n[[key]]\nname = 'bob'\nkey = 'planted'\n")
    assert [key.name for key in keys.named()] == ["ann", "bob"]
    assert keys.limits("ann") == KeyLimits(requests_per_minute=5)
    assert keys.limits("carol") is None
    for broken in ("[[key]]\n", KEY + "usd_per_day = 1\n", None):
        caplog.clear()
        if broken is None:
            file.unlink()
        else:
            file.write_text(broken)
        with caplog.at_level(logging.ERROR, "ccproxy.keys"):
            for _ in range(3):
                assert [key.name for key in keys.named()] == ["ann", "bob"]
        [line] = [record.getMessage() for record in caplog.records]
        assert line.startswith("KEYS_FILE has changed and can't be used, the keys stay as they were: ")
        assert str(file)[:40] in line  # a long path is cut
        assert "planted" not in line
    file.write_text(KEY)
    assert [key.name for key in keys.named()] == ["ann"]


def test_file_is_looked_at_once_a_second_at_most(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("ccproxy.settings.keys.keys_file.time.monotonic", lambda: clock[0])
    keys = KeysFile(file)
    keys.read()
    file.write_text(KEY.replace("ann", "bob"))
    clock[0] += 0.9
    assert [key.name for key in keys.named()] == ["ann"]
    clock[0] += 0.2
    assert [key.name for key in keys.named()] == ["bob"]


def test_relative_name_is_looked_for_here_and_then_beside_the_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keys_file, "users_file", lambda: tmp_path / "config/.env")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/keys.toml").write_text(KEY)
    assert KeysFile("keys.toml").path == tmp_path / "config/keys.toml"
    (tmp_path / "keys.toml").write_text(KEY)
    assert KeysFile("keys.toml").path == Path("keys.toml")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"ccproxy_layers": "auth,model_mapping,format_conversion"},
            "KEYS_FILE is set, but CCPROXY_LAYERS has no budgets",
        ),
        ({"ccproxy_layers": "budgets,model_mapping"}, "KEYS_FILE is set, but CCPROXY_LAYERS has no auth"),
        ({"ccproxy_layers": "auth,budgets,model_mapping"}, "CCPROXY_LAYERS has budgets outside model_mapping"),
        ({"inspector": True, "anthropic_api_key": "one"}, "INSPECTOR is set with more than one client key"),
    ],
)
def test_what_may_be_a_mistake_is_warned_of(file: Path, more: dict[str, object], words: str) -> None:
    assert [line for line in startup_warnings(settings(file, **more)) if words in line]
