"""The proxy beside a Django app, below /claude.

OPENAI_API_KEY=... python examples/in_django.py
ANTHROPIC_BASE_URL=http://localhost:8082/claude claude
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from starlette.applications import Starlette
from starlette.routing import Mount

from ccproxy import Settings, create_app

settings = Settings.load()
proxy = create_app(settings)

django_settings.configure(
    SECRET_KEY="of this example",  # noqa: S106
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware"],  # for Django's own pages only
    ROOT_URLCONF=__name__,
)


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the host's own page")


urlpatterns = [path("", home)]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Django has no lifespan. Without ours connections are opened at the first request."""
    async with proxy.router.lifespan_context(proxy):
        yield


app = Starlette(routes=[Mount("/claude", proxy), Mount("/", get_asgi_application())], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=settings.port)
