"""The client for the server at STATE_URL."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from limits.aio.storage import Storage

_PATIENCE = 4.0  # seconds for connecting, and for an answer
_CONNECTIONS = 8


def make_client(url: str) -> Any:
    """A client that gives up at the first failure. Raises ValueError for an invalid URL."""
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    pool = BlockingConnectionPool.from_url(
        url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
        max_connections=_CONNECTIONS,
        timeout=_PATIENCE,
        socket_timeout=_PATIENCE,
        socket_connect_timeout=_PATIENCE,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return Redis(connection_pool=pool)


def make_storage(client: Any, prefix: str) -> "Storage":
    """The storage in which ``limits`` counts, through the same client."""
    from limits.aio.storage import RedisStorage

    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=prefix,
        connection_pool=client.connection_pool,
    )


def database(client: Any) -> str:
    """The number of the database. It is needed because a server's channels are common to all its databases."""
    return str(client.connection_pool.connection_kwargs.get("db") or 0)


def shown(url: str) -> str:
    """A URL that may be shown: without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
