"""Claude Code's configuration: its variables, its settings files, and what is written there permanently."""

from .json_edits import set_in
from .settings_files import (
    BadSettings,
    administrators,
    claude_home,
    left_over,
    left_over_in,
    merged,
    own_settings,
    read_object,
)
from .settings_record import Record, digest, encoded, forget_record, load_record, save_record, taken_back
from .variables import (
    Models,
    child_environment,
    claude_variables,
    foreign_names,
    is_own,
    listed_models,
    no_proxy,
    set_models,
    uses_own_access,
    with_own_headers,
    with_project,
)

__all__ = [
    "BadSettings",
    "Models",
    "Record",
    "administrators",
    "child_environment",
    "claude_home",
    "claude_variables",
    "digest",
    "encoded",
    "foreign_names",
    "forget_record",
    "is_own",
    "left_over",
    "left_over_in",
    "listed_models",
    "load_record",
    "merged",
    "no_proxy",
    "own_settings",
    "read_object",
    "save_record",
    "set_in",
    "set_models",
    "taken_back",
    "uses_own_access",
    "with_own_headers",
    "with_project",
]
