"""The client for the server of STATE_URL."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from limits.aio.storage import Storage

_PATIENCE = 4.0  # seconds for a connection, and for an answer
_CONNECTIONS = 8


def make_client(url: str) -> Any:
    """A client that gives up at the first failure. Raises ValueError for a URL that can't be used."""
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
    """Where ``limits`` counts: by the same client."""
    from limits.aio.storage import RedisStorage

    return RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=prefix,
        connection_pool=client.connection_pool,
    )


def database(client: Any) -> str:
    """The number of the database: channels of a server are for all of its databases."""
    return str(client.connection_pool.connection_kwargs.get("db") or 0)


def shown(url: str) -> str:
    """A URL as it may be told: without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
