"""The fuzzer's corpus, run without the fuzzer: streams that once broke a rule, and those that reach the most code."""

from pathlib import Path

import pytest

from support.streams.stream_check import check_input

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus(path: Path) -> None:
    check_input(path.read_bytes())
