"""What the provider's refusals have taught, for each of its models."""

import logging
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ...toolkit.json import dumps, loads
from ...toolkit.store import Store
from .errors import redact
from .profiles import Profile, resolve_profile
from .refusals import Patch

logger = logging.getLogger("ccproxy.conversion")

_MAX_MODELS = 256
_KEPT = 24 * 3600.0  # seconds, in a store
_LIMITS = ("max_output", "min_output")
_UNSET: Any = object()


class LearnedProfiles:
    """The profile for each upstream model, with what its provider's refusals have taught.

    It lives as long as its middleware, or until it is reset. If there are too many models, the oldest is dropped.

    With a ``store`` the corrections are kept there instead, for a day. They are shared by all layers that have the same
    provider, the same options and the same ``name``. ``setting`` is the setting that contains the options, for log
    messages.
    """

    def __init__(
        self, profile: Profile, *, store: Store | None = None, name: str = "", setting: str = "PROVIDER_OPTIONS"
    ) -> None:
        self._profile = profile
        self._setting = setting
        self._learned: dict[str, Profile] = {}
        self._store = store
        self._read: dict[str, bytes] = {}  # the value that self._learned was made from
        identity = f"{name}\0{profile.name}\0{_json(profile.options)}"
        self._prefix = f"learned:{sha256(identity.encode()).hexdigest()[:16]}:"

    def get(self, model: Any, patch: Patch) -> Profile:
        """The profile for converting a request for ``model``; ``patch`` is what it tries in addition."""
        profile = self._known(model) if isinstance(model, str) else self._profile
        return _corrected(profile, patch) if patch else profile

    def learned(self) -> dict[str, dict[str, Any]]:
        """The learned switches, by model."""
        if self._store is not None:
            models = [key.removeprefix(self._prefix) for key, _ in self._store.items(self._prefix)]
            profiles = {model: self._known(model) for model in models}
        else:
            profiles = self._learned
        found = {model: self._learned_of(profile) for model, profile in profiles.items()}
        return {model: switches for model, switches in found.items() if switches or self._store is None}

    def forget(self) -> None:
        """Restore the profile as it was configured."""
        if self._store is not None:
            for key, _ in self._store.items(self._prefix):
                self._store.delete(key)
        self._learned.clear()
        self._read.clear()

    def remember(self, model: str, patch: Patch) -> None:
        """Store what has helped, and log once how to make it permanent."""
        known = self._known(model)
        if all(name in known.options and known.options[name] == value for name, value in patch.items()):
            return  # by a concurrent request
        self._keep(model, learned := _corrected(known, patch))
        if self._store is not None:
            value = _json(self._learned_of(learned)).encode()
            self._store.put(self._prefix + model, value, _KEPT)
            self._read[model] = value
        # In the proxy the limits have settings of their own: stored here too, they would outlive a change.
        permanent = {name: v for name, v in learned.options.items() if name in patch or name not in _LIMITS}
        overruled = [name for name in patch if name in self._profile.options]
        logger.warning(
            "the provider refused a request for model %r and took it with %s, which is remembered %s%s "
            "(DELETE /test-connection forgets it); to make it permanent: %s=%s",
            model,
            _json(patch),
            "until this process ends" if self._store is None else "for a day",
            f", against the option {', '.join(overruled)} set here" if overruled else "",
            self._setting,
            redact(_json(permanent)),
        )

    def _known(self, model: str) -> Profile:
        if self._store is not None:
            value = self._store.get(self._prefix + model)
            if value is None:
                return self._profile
            if self._read.get(model) != value:
                self._keep(model, _read(self._profile, value))
                self._read[model] = value
        return self._learned.get(model, self._profile)

    def _keep(self, model: str, profile: Profile) -> None:
        if model not in self._learned and len(self._learned) >= _MAX_MODELS:
            oldest = next(iter(self._learned))
            del self._learned[oldest]
            self._read.pop(oldest, None)
        self._learned[model] = profile

    def _learned_of(self, profile: Profile) -> dict[str, Any]:
        own = self._profile.options
        return {name: value for name, value in profile.options.items() if own.get(name, _UNSET) != value}


def _read(profile: Profile, value: bytes) -> Profile:
    """The profile with switches from a store; those of another version of this program are left out."""
    try:
        return _corrected(profile, resolve_profile(profile.name, loads(value)).options)
    except (ValueError, AttributeError):
        return profile


class JoinedCorrections:
    """Presents what several layers have learned as one."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    @classmethod
    def of(cls, outer: Any, own: LearnedProfiles) -> Any:
        """A layer's own corrections, joined with those of an outer layer if there is one."""
        return own if outer is None else cls(outer, own)

    def learned(self) -> dict[str, dict[str, Any]]:
        """The learned switches, by model."""
        joined: dict[str, dict[str, Any]] = {}
        for part in self._parts:
            for model, switches in part.learned().items():
                joined[model] = {**joined.get(model, {}), **switches}
        return joined

    def forget(self) -> None:
        """Restore the profiles as they were configured."""
        for part in self._parts:
            part.forget()


def _corrected(profile: Profile, patch: Patch) -> Profile:
    """The profile with other switches, which take precedence over those of its models."""
    return replace(profile, **patch, options={**profile.options, **patch})


def _json(options: Patch) -> str:
    return dumps({name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}).decode()
