"""Every setting, how its text is read, and what the operator should know of it."""

from .base_urls import without_endpoint, without_repeated_version
from .configuration import ConfigurationError
from .files import HEADER, file_to_write, place_of, settings_files, unread_files, users_file
from .layer_names import import_layer
from .listing import given_variables, shown_value, variables
from .settings import Settings
from .startup import startup_warnings
from .writing import replace_file

__all__ = [
    "HEADER",
    "ConfigurationError",
    "Settings",
    "file_to_write",
    "given_variables",
    "import_layer",
    "place_of",
    "replace_file",
    "settings_files",
    "shown_value",
    "startup_warnings",
    "unread_files",
    "users_file",
    "variables",
    "without_endpoint",
    "without_repeated_version",
]
