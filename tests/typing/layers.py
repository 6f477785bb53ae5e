"""Read by mypy and pyright, never run: ``Middleware`` checks the arguments of our layers, and ``Forward`` is an app.

An ``ignore`` that nothing needs is an error to both, so each one here proves that a mistake is found.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=error, reportUnusedExpression=false

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from ccproxy import Forward, Settings, create_app
from ccproxy_middleware import (
    AuthMiddleware,
    BoostMiddleware,
    CustomHeadersMiddleware,
    FormatConversionMiddleware,
    InspectorMiddleware,
    ModelMappingMiddleware,
    PromptedToolsMiddleware,
    SafeguardsMiddleware,
)

forward: ASGIApp = Forward("http://localhost/v1", api_key="k", timeout=5)
app: Starlette = create_app(Settings.explicit(openai_api_key="k"), endpoint=forward)

Middleware(AuthMiddleware, api_keys=["k"])
Middleware(CustomHeadersMiddleware, headers={"x-a": "b"})
Middleware(ModelMappingMiddleware, big="b", small="s")
Middleware(FormatConversionMiddleware, provider="ollama", options={"vision": False})
Middleware(BoostMiddleware, planner=forward, model="m", tiers=["BIG_MODEL"])
Middleware(PromptedToolsMiddleware, provider="ollama", options={"tools": "prompted"}, boosted=["BIG_MODEL"])
Middleware(SafeguardsMiddleware, model="m", timeout=5)
Middleware(InspectorMiddleware, api_keys=["k"], max_exchanges=50, provider=None)
stack: ASGIApp = AuthMiddleware(FormatConversionMiddleware(forward), api_keys=("k",))

Middleware(AuthMiddleware, keys=["k"])  # type: ignore
Middleware(AuthMiddleware, api_keys=5)  # type: ignore
Middleware(CustomHeadersMiddleware)  # type: ignore
Middleware(ModelMappingMiddleware, big="b")  # type: ignore
Middleware(FormatConversionMiddleware, options=["vision"])  # type: ignore
Middleware(BoostMiddleware, model="m")  # type: ignore
Middleware(PromptedToolsMiddleware, tools="prompted")  # type: ignore
Middleware(SafeguardsMiddleware)  # type: ignore
Middleware(InspectorMiddleware, max_exchanges="many")  # type: ignore
AuthMiddleware(forward, ["k"])  # type: ignore
