"""Checks of the settings for keys that involve several settings."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from ..configuration import MASK, ConfigurationError, problem
from ..setting_values import split
from .keys_file import KeysFile


def check_keys(values: Mapping[str, Any]) -> None:
    """Read KEYS_FILE, if it is set. ``values``: the settings that are valid by themselves.

    Raises ConfigurationError for problems in the file, and for a key that appears in two settings.
    """
    clients, admins = _keys(values, "anthropic_api_key"), _keys(values, "admin_api_key")
    if set(clients) & set(admins):
        reason = "ANTHROPIC_API_KEY has the same key, and each client could see the others' conversations"
        raise ConfigurationError([problem("ADMIN_API_KEY", f"given {MASK}", reason, "keys that no client has")])
    if isinstance(keys_file := values.get("keys_file"), KeysFile):
        taken = [sha256(key.encode()).digest() for key in (*clients, *admins)]
        keys_file.read(taken=taken, money=bool(values.get("ledger")))


def _keys(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = values.get(name)
    return split(value.get_secret_value()) if isinstance(value, SecretStr) else ()
