"""Claude's model names and a header of your own for a reverse proxy that knows of neither: here asgi-proxy-lib.

TARGET=https://gateway.example TEAM=blue python examples/before_reverse_proxy.py
"""

import os

import uvicorn
from asgi_proxy import asgi_proxy

from ccproxy_middleware import CustomHeadersMiddleware, ModelMappingMiddleware

reverse_proxy = asgi_proxy(os.environ["TARGET"])
mapped = ModelMappingMiddleware(reverse_proxy, big="gpt-4o", small="gpt-4o-mini")
app = CustomHeadersMiddleware(mapped, headers={"X-Team": os.environ["TEAM"]})

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8082")), lifespan="off")
