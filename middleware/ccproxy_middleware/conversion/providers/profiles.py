"""The profiles of providers by name, by base URL and by model."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from .profile_rows import ROWS
from .switches import EFFORTS, SWITCHES, Profile, check_switch

__all__ = ["EFFORTS", "PROFILES", "SWITCHES", "Profile", "detect_provider", "profile_for_model", "resolve_profile"]

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in ROWS}
"""Every profile by its name."""


def resolve_profile(provider: str, options: Mapping[str, Any]) -> Profile:
    """The profile of a provider with switches set by the user.

    Raises ValueError, in one line that lists what exists, for a profile, a switch or a value that doesn't.
    """
    profile = PROFILES.get(provider.lower())
    if profile is None:
        raise ValueError(f"unknown provider {provider!r}; there are {', '.join(PROFILES)}")
    if not options:
        return profile
    checked = {name: check_switch(name, value) for name, value in options.items()}
    return replace(profile, **checked, options=checked)


def detect_provider(base_url: str) -> str:
    """The profile that a base URL's host or port gives away, else ``generic``."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    for profile in PROFILES.values():
        for known in profile.hosts:
            if host == known or (known.startswith(".") and host.endswith(known)):
                return profile.name
    for profile in PROFILES.values():
        if profile.port is not None and profile.port == parts.port:
            return profile.name
    return "generic"


@lru_cache(maxsize=1024)
def profile_for_model(profile: Profile, model: str) -> Profile:
    """``profile.for_model(model)``, remembered."""
    return profile.for_model(model)
