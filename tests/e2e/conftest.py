"""What the tests with real clients share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.clients import claude_code


@pytest.fixture(scope="session")
def claude_program() -> Path:
    """Claude Code's program. Without it the test is skipped, or fails where CC_BOOST_REQUIRE_CLAUDE=1."""
    try:
        return claude_code.install()
    except claude_code.Unavailable as exc:
        if os.environ.get("CC_BOOST_REQUIRE_CLAUDE") == "1":
            pytest.fail(f"CC_BOOST_REQUIRE_CLAUDE is set, but: {exc}")
        pytest.skip(str(exc))


@pytest.fixture
def start(claude_program: Path, tmp_path: Path) -> Callable[..., claude_code.ClaudeCode]:
    """Make a Claude Code for a proxy's URL."""

    def start(url: str, **variables: str) -> claude_code.ClaudeCode:
        return claude_code.ClaudeCode(claude_program, tmp_path, url, **variables)

    return start


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The directory in which it works."""
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.fixture(autouse=True)
def no_bugs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which the proxy has logged a traceback."""
    yield
    assert not [record.getMessage() for record in caplog.get_records("call") if record.exc_info]
