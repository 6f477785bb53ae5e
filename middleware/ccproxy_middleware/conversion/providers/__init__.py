"""How providers differ: profiles, corrections learned from refusals, errors, limits."""

from .corrections import Correction, find_correction, first_correction, what_helped
from .effort import Reasoning, effort_word, for_safety_check, read_reasoning, reasoning_params
from .error_fields import is_failure
from .error_words import says_no_model
from .errors import PromptRefused, error_from_payload, error_from_response, may_pass, redact, refusal_words
from .learned import JoinedCorrections, LearnedProfiles
from .profiles import PROFILES, Profile, detect_provider, profile_for_model, resolve_profile
from .rate_limits import response_headers
from .refusals import DEVELOPER, IN_RESULTS, NO_TOOLS, Rule, Sent, Words, top, unsupported
from .switch_values import EFFORTS

__all__ = [
    "DEVELOPER",
    "EFFORTS",
    "IN_RESULTS",
    "NO_TOOLS",
    "PROFILES",
    "Correction",
    "JoinedCorrections",
    "LearnedProfiles",
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
    "find_correction",
    "first_correction",
    "for_safety_check",
    "is_failure",
    "may_pass",
    "profile_for_model",
    "read_reasoning",
    "reasoning_params",
    "redact",
    "refusal_words",
    "resolve_profile",
    "response_headers",
    "says_no_model",
    "top",
    "unsupported",
    "what_helped",
]
