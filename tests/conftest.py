"""Fixtures for every test. Async tests run on asyncio, which the servers use too."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
