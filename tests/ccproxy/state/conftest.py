"""A real server to share a state by."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.serving.state_server import StateServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StateServer]:
    server = StateServer(tmp_path)
    server.start()
    yield server
    server.kill()
