"""Every setting, how its text is read, and what the operator should know of it."""

from .base_urls import without_endpoint, without_repeated_version
from .configuration import ConfigurationError
from .layer_names import import_layer
from .settings import Settings, variables
from .startup import startup_warnings

__all__ = [
    "ConfigurationError",
    "Settings",
    "import_layer",
    "startup_warnings",
    "variables",
    "without_endpoint",
    "without_repeated_version",
]
