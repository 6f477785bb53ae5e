"""What the provider's refusals have taught, for each of its models."""

import logging
from dataclasses import replace
from typing import Any

from ...toolkit.json import dumps
from .errors import redact
from .profiles import Profile
from .refusals import Patch

logger = logging.getLogger("ccproxy.conversion")

_MAX_MODELS = 256
_LIMITS = ("max_output", "min_output")
_UNSET: Any = object()


class LearnedProfiles:
    """The profile for each upstream model, with what its provider's refusals have taught.

    It lives as long as its middleware, or until it is forgotten. The oldest of too many models goes first.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._learned: dict[str, Profile] = {}

    def get(self, model: Any, patch: Patch) -> Profile:
        """The profile to convert a request for ``model`` with; ``patch`` is what it is to try out besides."""
        profile = self._learned.get(model, self._profile) if isinstance(model, str) else self._profile
        return _corrected(profile, patch) if patch else profile

    def learned(self) -> dict[str, dict[str, Any]]:
        """The switches that were learned, by model."""
        own = self._profile.options
        return {
            model: {name: value for name, value in profile.options.items() if own.get(name, _UNSET) != value}
            for model, profile in self._learned.items()
        }

    def forget(self) -> None:
        """Go back to the profile as it was set."""
        self._learned.clear()

    def remember(self, model: str, patch: Patch) -> None:
        """Keep what has helped, and say once how to make it permanent."""
        known = self._learned.get(model, self._profile)
        if all(name in known.options and known.options[name] == value for name, value in patch.items()):
            return  # by another request at the same time
        if model not in self._learned and len(self._learned) >= _MAX_MODELS:
            del self._learned[next(iter(self._learned))]
        self._learned[model] = learned = _corrected(known, patch)
        # The limits come from settings of their own in the proxy: written down here too they would outlive a change.
        permanent = {name: v for name, v in learned.options.items() if name in patch or name not in _LIMITS}
        overruled = [name for name in patch if name in self._profile.options]
        logger.warning(
            "the provider refused a request for model %r and took it with %s, which is remembered until this process "
            "ends%s (DELETE /test-connection forgets it); to make it permanent: PROVIDER_OPTIONS=%s",
            model,
            _json(patch),
            f", against the option {', '.join(overruled)} set here" if overruled else "",
            redact(_json(permanent)),
        )


class JoinedCorrections:
    """What several layers have learned, as if it were one."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    @classmethod
    def of(cls, outer: Any, own: LearnedProfiles) -> Any:
        """A layer's own, with that of a layer outside of it if there is one."""
        return own if outer is None else cls(outer, own)

    def learned(self) -> dict[str, dict[str, Any]]:
        """The switches that were learned, by model."""
        joined: dict[str, dict[str, Any]] = {}
        for part in self._parts:
            for model, switches in part.learned().items():
                joined[model] = {**joined.get(model, {}), **switches}
        return joined

    def forget(self) -> None:
        """Go back to the profiles as they were set."""
        for part in self._parts:
            part.forget()


def _corrected(profile: Profile, patch: Patch) -> Profile:
    """The profile with other switches, which beat those of its models."""
    return replace(profile, **patch, options={**profile.options, **patch})


def _json(options: Patch) -> str:
    return dumps({name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}).decode()
