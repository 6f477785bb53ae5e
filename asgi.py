"""The proxy as an ASGI app, for ``uvicorn asgi:app`` and ``gunicorn -c gunicorn.conf.py asgi:app``.

``python asgi.py`` serves it.
"""

from functools import partial

from ccproxy import Settings, create_app
from ccproxy.logs import configure_logging
from ccproxy.serving import (
    RenewableApp,
    Shutdown,
    arbiters_settings,
    load_settings_or_exit,
    serve,
    tune_memory,
    warn_under_server_command,
)
from ccproxy.standard_streams import open_standard_streams

open_standard_streams()

settings = arbiters_settings() or load_settings_or_exit()
configure_logging(settings.log_level, settings.log_format)
shutdown = Shutdown(settings.shutdown_timeout)
app = create_app(settings, shutdown=shutdown)

if __name__ == "__main__":
    make = partial(create_app, shutdown=shutdown)
    serve(RenewableApp(app, settings, load=Settings.load, make=make, shutdown=shutdown), settings)
else:
    warn_under_server_command(settings)
    tune_memory()
