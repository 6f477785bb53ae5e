"""What the integration tests share."""

import os
from pathlib import Path

import pytest

from support.clients import claude_code


@pytest.fixture(scope="session")
def claude_program() -> Path:
    """Claude Code's program, which the Agent SDKs run. Without it the test is skipped, or fails."""
    try:
        return claude_code.install()
    except claude_code.Unavailable as exc:
        if os.environ.get("CC_BOOST_REQUIRE_INTEGRATION") == "1":
            pytest.fail(str(exc))
        pytest.skip(str(exc))
