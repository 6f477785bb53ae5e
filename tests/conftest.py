"""Fixtures for every test. Async tests run on asyncio, which the servers use too."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("quick", max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=100, suppress_health_check=[HealthCheck.too_slow])  # CI's
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
