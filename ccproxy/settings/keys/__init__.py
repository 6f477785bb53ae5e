"""``KEYS_FILE``: the clients' keys with their names and limits."""

from .checks import check_keys
from .entries import FIELDS, KeyEntry, parse_keys
from .keys_file import KeysFile

__all__ = ["FIELDS", "KeyEntry", "KeysFile", "check_keys", "parse_keys"]
