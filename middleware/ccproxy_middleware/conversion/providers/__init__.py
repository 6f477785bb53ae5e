"""How providers differ: profiles, corrections learned from refusals, errors, limits."""

from .corrections import find_correction
from .effort import Reasoning, effort_word, read_reasoning, reasoning_params
from .errors import PromptRefused, error_from_payload, error_from_response, error_words, redact
from .learned import LearnedProfiles
from .profiles import PROFILES, Profile, detect_provider, profile_for_model, resolve_profile
from .rate_limits import response_headers
from .rules import (
    Correction,
    Patch,
    Rule,
    Sent,
    Words,
    first_correction,
    forced_choice,
    top,
    unsupported,
    what_helped,
)
from .switches import EFFORTS

__all__ = [
    "EFFORTS",
    "PROFILES",
    "Correction",
    "LearnedProfiles",
    "Patch",
    "Profile",
    "PromptRefused",
    "Reasoning",
    "Rule",
    "Sent",
    "Words",
    "detect_provider",
    "effort_word",
    "error_from_payload",
    "error_from_response",
    "error_words",
    "find_correction",
    "first_correction",
    "forced_choice",
    "profile_for_model",
    "read_reasoning",
    "reasoning_params",
    "redact",
    "resolve_profile",
    "response_headers",
    "top",
    "unsupported",
    "what_helped",
]
