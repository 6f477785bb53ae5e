"""PRICES_FILE: what is wrong with it is told with the file, the entry and the field."""

from decimal import Decimal
from pathlib import Path

import pytest

from ccproxy import Settings
from ccproxy.prices import BadPrices, parse_prices
from ccproxy.settings import ConfigurationError

GOOD = '[[price]]\nprovider = "vllm"\nmodel = "m"\ninput = 1\noutput = 2.50\n'


def test_prices_are_exact() -> None:
    rates = parse_prices('[[price]]\nprovider="p"\nmodel="m"\ninput=0.1\noutput=1e-3\ncached=0\n', "f").rates
    assert rates["p", "m"].input == Decimal("0.1")
    assert (rates["p", "m"].cached, rates["p", "m"].cache_write) == (Decimal(0), None)


def test_empty_file_has_no_prices() -> None:
    assert parse_prices("", "f").rates == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("price = 1", "p.toml: price: an entry begins with [[price]]"),
        ("[[price", "p.toml: it is no TOML: "),
        (GOOD + "[[prices]]\n", "p.toml: prices: there is no such field. Do you mean price?"),
        (GOOD + "outptu = 3", "p.toml, entry 1 (m): outptu: there is no such field. Do you mean output?"),
        (GOOD + "zzz = 3", "p.toml, entry 1 (m): zzz: there is no such field; there are provider, model, input, "),
        (GOOD.replace("input = 1\n", ""), "p.toml, entry 1 (m): input: it is missing; accepted: US dollars"),
        (GOOD.replace("= 1\n", '= "1"\n'), "p.toml, entry 1 (m): input: it is no number"),
        (GOOD.replace("= 1\n", "= true\n"), "p.toml, entry 1 (m): input: it is no number"),
        (
            GOOD.replace("= 1\n", "= -1\n"),
            "p.toml, entry 1 (m): input: accepted: US dollars for a million tokens, from",
        ),
        (GOOD.replace("= 1\n", "= nan\n"), "p.toml, entry 1 (m): input: accepted: US dollars"),
        (GOOD.replace("= 1\n", "= inf\n"), "p.toml, entry 1 (m): input: accepted: US dollars"),
        (GOOD.replace('model = "m"', "model = 4"), "p.toml, entry 1: model: it needs the name of a model, as a text"),
        (GOOD + GOOD, "p.toml, entry 2 (m): model: there is a price for it already"),
    ],
)
def test_mistake_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(BadPrices) as caught:
        parse_prices(text, "p.toml")
    assert caught.value.problems[0].startswith(problem)
    assert len(caught.value.problems) == 1


def test_each_mistake_is_told() -> None:
    with pytest.raises(BadPrices) as caught:
        parse_prices("[[price]]\n[[price]]\nfoo = 1\n", "p.toml")
    assert len(caught.value.problems) == 9


def test_setting_reads_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(GOOD)
    settings = Settings.explicit(openai_api_key="k", prices_file="mine.toml")
    assert settings.prices is not None
    (tmp_path / "mine.toml").write_text("[[price]]\n")
    with pytest.raises(ConfigurationError, match=r"mine.toml, entry 1: provider: it needs the name of a provider"):
        Settings.explicit(openai_api_key="k", prices_file="mine.toml")


def test_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"PRICES_FILE: 'no.toml' can't be read: No such file"):
        Settings.explicit(openai_api_key="k", prices_file="no.toml")
