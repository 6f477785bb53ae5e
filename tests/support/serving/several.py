"""The whole proxy on a real socket, in front of several scripted providers."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from starlette.types import ASGIApp

from ccproxy import Settings, create_app

from .proxied import PROVIDER_KEY
from .servers import serve


@contextmanager
def several(
    default: ASGIApp | None, /, others: Mapping[str, ASGIApp], *, fields: Any = None, **settings: Any
) -> Iterator[str]:
    """Serve them all and yield the proxy's URL.

    ``others`` become upstreams by name, each with the key ``NAME-key``; ``fields`` has more of their fields by name.
    Without a default there is no key for it. ``settings`` are further arguments of Settings.
    """
    with ExitStack() as stack:
        if default is not None:
            server = stack.enter_context(serve(default, lifespan="off"))
            settings = {"openai_api_key": PROVIDER_KEY, "openai_base_url": f"{server.url}/v1", **settings}
        upstreams = {}
        for name, app in others.items():
            url = stack.enter_context(serve(app, lifespan="off")).url
            upstreams[name] = {"base_url": f"{url}/v1", "api_key": f"{name}-key", **(fields or {}).get(name, {})}
        proxy = stack.enter_context(serve(create_app(Settings.explicit(upstreams=upstreams, **settings))))
        yield proxy.url
