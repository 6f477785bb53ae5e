"""What holds in every test of reliability."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which a server or the proxy has logged a traceback: what others do wrong is no bug of ours."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.exc_info] == []
