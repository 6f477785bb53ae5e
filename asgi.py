"""The proxy as an ASGI app, for ``uvicorn asgi:app`` and ``gunicorn -c gunicorn.conf.py asgi:app``.

``python asgi.py`` serves it.
"""

from ccproxy import create_app, running

settings = running.load_settings_or_exit()
running.configure_logging(settings.log_level)
app = create_app(settings)

if __name__ == "__main__":
    running.serve(app, settings)
else:
    running.warn_under_server_command(settings)
