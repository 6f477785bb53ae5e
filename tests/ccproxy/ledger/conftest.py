"""Databases for rows: a file, and a real Postgres."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.serving.postgres import Postgres


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """One for all tests of a process. Not below pytest's own folders, which its user may not enter."""
    directory = Path(tempfile.mkdtemp(prefix="cc-boost-postgres-"))
    directory.chmod(0o755)
    postgres = None
    try:
        postgres = Postgres(directory)
        yield postgres
    finally:
        if postgres is not None:
            postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/below/ledger.db"
    return _emptied(request.getfixturevalue("server"))


@pytest.fixture
def postgres_url(server: Postgres) -> str:
    return _emptied(server)


def _emptied(server: Postgres) -> str:
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS cc_boost_exchanges, cc_boost_history, cc_boost_schema")
    return server.url
