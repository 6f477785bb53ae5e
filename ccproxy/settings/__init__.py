"""The settings: how their text is read, and what the operator should know about them."""

from .base_urls import without_endpoint, without_repeated_version
from .configuration import ConfigurationError
from .files import HEADER, file_to_write, place_of, replace_file, settings_files, unread_files, users_file
from .keys import FIELDS, KeyEntry, KeysFile, parse_keys
from .layer_names import import_layer
from .listing import given_variables, is_variable, model_to_try, named_models, shown_value, tier_models, variables
from .model_names import NamedModel, canonical, names_of, planner_candidates
from .settings import Settings
from .startup import startup_warnings
from .upstream import Upstream, variable_of

__all__ = [
    "FIELDS",
    "HEADER",
    "ConfigurationError",
    "KeyEntry",
    "KeysFile",
    "NamedModel",
    "Settings",
    "Upstream",
    "canonical",
    "file_to_write",
    "given_variables",
    "import_layer",
    "is_variable",
    "model_to_try",
    "named_models",
    "names_of",
    "parse_keys",
    "place_of",
    "planner_candidates",
    "replace_file",
    "settings_files",
    "shown_value",
    "startup_warnings",
    "tier_models",
    "unread_files",
    "users_file",
    "variable_of",
    "variables",
    "without_endpoint",
    "without_repeated_version",
]
