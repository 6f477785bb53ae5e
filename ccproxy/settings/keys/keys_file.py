"""The keys file while the proxy serves: a change takes effect within a second."""

import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from ccproxy_middleware import ClientKey, KeyLimits

from ..configuration import ConfigurationError, problem, shown
from ..files import users_file
from .entries import KeyEntry, parse_keys

logger = logging.getLogger("ccproxy.keys")

_LOOK = 1.0  # seconds between two checks of the file


class KeysFile(str):
    """The name of the file, and the keys in it once they are read.

    ``named`` and ``limits`` check at most once a second whether the file has changed, and if so read it again. While
    the
    file is invalid, the last valid keys stay in use, and each problem is logged once.
    """

    _entries: tuple[KeyEntry, ...] = ()
    _keys: tuple[ClientKey, ...] = ()
    _limits: Mapping[str, KeyLimits] = {}
    _taken: frozenset[bytes] = frozenset()
    _money = True
    _seen: object = None
    _next = 0.0

    def read(self, *, taken: Collection[bytes] = (), money: bool = True) -> None:
        """Read the keys. ``taken``: the SHA-256 of keys from other settings; ``money``: whether costs can be counted.

        Raises ConfigurationError with a line for each problem, which names the file, the entry and the field.
        """
        self._taken = frozenset(taken)
        self._money = money
        self._seen = self._state()
        self._next = time.monotonic() + _LOOK
        self._take(self._parsed())

    @property
    def path(self) -> Path:
        """The file's path. A relative name is looked up in the working directory, then beside the user's configuration
        file.
        """
        path = Path(self).expanduser()
        if not path.is_absolute() and not path.exists() and (beside := users_file().parent / path).exists():
            return beside
        return path

    def named(self) -> tuple[ClientKey, ...]:
        """All keys, including revoked and expired ones."""
        self._look()
        return self._keys

    def limits(self, name: str) -> KeyLimits | None:
        """The limits of the key with this name; None if there is no such key."""
        self._look()
        return self._limits.get(name)

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """The entries as last read, in order."""
        return self._entries

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LOOK
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._take(self._parsed())
        except ConfigurationError as error:
            reasons = "; ".join(error.problems)
            logger.error("KEYS_FILE has changed and can't be used, the keys stay as they were: %s", reasons)
        else:
            logger.info("KEYS_FILE has changed: %d keys", len(self._keys))

    def _state(self) -> object:
        """A value that differs once the file has changed; None if the file is gone."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size

    def _parsed(self) -> tuple[KeyEntry, ...]:
        try:
            text = self.path.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is no UTF-8 text"
            accepted = "a TOML file; cc-boost keys add makes it"
            raise ConfigurationError(
                [problem("KEYS_FILE", f"given {shown(self)}", f"it can't be read: {reason}", accepted)]
            ) from None
        entries = parse_keys(text, str(self))
        problems = []
        for number, entry in enumerate(entries, 1):
            place = f"{self}, entry {number} ({entry.key.name})"
            if entry.key.digest in self._taken:
                problems.append(f"{place}, key: ANTHROPIC_API_KEY or ADMIN_API_KEY has the same key")
            if entry.limits.has_cap and not self._money:
                field = "usd_per_day" if entry.limits.usd_per_day is not None else "usd_per_month"
                problems.append(f"{place}, {field}: it needs LEDGER, which counts what is spent: set LEDGER=true")
        if problems:
            raise ConfigurationError(problems)
        return entries

    def _take(self, entries: tuple[KeyEntry, ...]) -> None:
        self._entries = entries
        self._keys = tuple(entry.key for entry in entries)
        self._limits = {entry.key.name: entry.limits for entry in entries}
