# syntax=docker/dockerfile:1
# The digest is that of Python 3.13.15 on Debian trixie, for all architectures. A newer one is printed by
# docker buildx imagetools inspect python:3.13-slim
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS build
WORKDIR /app
COPY requirements-build.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-build.lock
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN uv venv
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY ccproxy ccproxy
COPY middleware middleware
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . && uv pip install --no-deps /dist/*.whl

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
RUN useradd --system --uid 10001 --create-home ccproxy
WORKDIR /app
COPY --from=build /app/.venv .venv
COPY asgi.py gunicorn.conf.py ./
ENV PATH="/app/.venv/bin:$PATH" PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8082

# Python, because the image has no curl; http.client, because it uses no proxy of the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; connection = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8082), timeout=4); connection.request('GET', '/health'); sys.exit(connection.getresponse().status != 200)"]

# The exec form: gunicorn is process 1 and gets the SIGTERM.
CMD ["gunicorn", "-c", "gunicorn.conf.py", "asgi:app"]
