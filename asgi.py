"""The proxy as an ASGI app, for ``uvicorn asgi:app`` and ``gunicorn -c gunicorn.conf.py asgi:app``.

``python asgi.py`` serves it.
"""

from ccproxy import create_app, logs, reloading, running
from ccproxy.shutdown import Shutdown
from ccproxy.standard_streams import open_standard_streams

open_standard_streams()

settings = reloading.arbiters_settings() or running.load_settings_or_exit()
logs.configure_logging(settings.log_level, settings.log_format)
app = create_app(settings, shutdown=Shutdown(settings.shutdown_timeout))

if __name__ == "__main__":
    running.serve(app, settings)
else:
    running.warn_under_server_command(settings)
    running.tune_memory()
