"""The whole proxy on a real socket, in front of a scripted provider on another one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ccproxy import Settings, create_app
from ccproxy.serving.limits import Limits
from ccproxy.serving.protocol import limited_protocol

from ..providers.scripted import ScriptedProvider
from .servers import serve

PROVIDER_KEY = "provider-key"
DEFAULT = Limits()


@contextmanager
def proxied(upstream: ScriptedProvider, /, *, limits: Limits = DEFAULT, **settings: Any) -> Iterator[str]:
    """Serve both and yield the proxy's URL. ``settings`` are further arguments of Settings."""
    with serve(upstream, lifespan="off") as server, proxy(server.url, limits=limits, **settings) as url:
        yield url


@contextmanager
def proxy(upstream: str, /, *, limits: Limits = DEFAULT, **settings: Any) -> Iterator[str]:
    """Serve the proxy in front of the provider at this URL, and yield its own."""
    app = create_app(
        Settings.explicit(**{"openai_api_key": PROVIDER_KEY, "openai_base_url": f"{upstream}/v1", **settings})
    )
    with serve(app, http=limited_protocol(limits)) as server:
        yield server.url
