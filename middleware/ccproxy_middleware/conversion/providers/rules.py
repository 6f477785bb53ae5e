"""What a refusal teaches: the form of the rules, and how they are looked through."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .context_length import overflow_message
from .errors import PromptRefused, error_from_response
from .profiles import Profile

Patch: TypeAlias = Mapping[str, Any]
"""Profile switches and their new values."""

Sent: TypeAlias = Mapping[str, Any]  # the refused chat body
Computed: TypeAlias = Callable[[re.Match[str], Sent, Profile], Patch]


@dataclass(frozen=True, slots=True)
class Rule:
    """One lesson: ``patch`` for a refusal in these words, if what it is about was in the request."""

    words: "Words"
    concerns: Callable[[Sent], bool]
    patch: Patch | Computed
    lasting: bool = True


class Correction(dict[str, Any]):
    """Profile switches and their new values, for one refusal.

    lasting: whether the model doesn't take the parameter as such, so that other requests need the correction too. What
        one request's content has caused, such as an odd schema, is corrected for that request alone.
    refusal: the provider's words, without keys.
    reasoning: digests of the reasoning items that the provider has refused.
    otherwise: what to try where the other API that is asked for does not answer.
    """

    def __init__(
        self,
        switches: Patch,
        *,
        lasting: bool,
        refusal: str,
        reasoning: frozenset[str] = frozenset(),
        otherwise: "Correction | None" = None,
    ) -> None:
        super().__init__(switches)
        self.lasting = lasting
        self.refusal = refusal
        self.reasoning = reasoning
        self.otherwise = otherwise


def what_helped(applied: Sequence[Correction]) -> dict[str, Any]:
    """Of the corrections of a request that was taken in the end, the switches to remember.

    A correction that was answered by the same refusal has not helped.
    """
    helped: dict[str, Any] = {}
    for n, correction in enumerate(applied):
        answered = applied[n + 1].refusal if n + 1 < len(applied) else None
        if correction.lasting and answered != correction.refusal:
            helped |= correction
    return helped


def first_correction(
    rules: Iterable[Rule], status: int, body: bytes, sent: Sent, profile: Profile
) -> Correction | None:
    """The switches of the first rule that fits, or None.

    ``status`` and ``body`` are the provider's answer, ``sent`` the body that it got, ``profile`` the profile that made
    it. Only a 400 or 422 about the form of the request can teach something.
    """
    if status not in (400, 422):
        return None
    error = error_from_response(status, (), body, profile)
    if error.type != "invalid_request_error" or isinstance(error, PromptRefused):
        return None  # its code tells of the model, the account or the filter
    if overflow_message(error.message) is not None:
        return None
    for rule in rules:
        match = rule.words.search(error.message)
        if match and rule.concerns(sent):
            patch = rule.patch(match, sent, profile) if callable(rule.patch) else rule.patch
            changes = {name: value for name, value in patch.items() if getattr(profile, name) != value}
            if changes:
                return Correction(changes, lasting=rule.lasting, refusal=error.message)
    return None


def top(*names: str) -> Callable[[Sent], bool]:
    """The refusal is about a field of the body."""
    return lambda sent: any(name in sent for name in names)


def forced_choice(sent: Sent) -> bool:
    """The refusal is about a choice of tools that forces one."""
    return sent.get("tool_choice") not in (None, "auto", "none")


# What it says. "@" stands for any quote, or none.


class Words:
    """A pattern that is compiled when the first refusal is looked at: all of them take a noticeable part of a start."""

    def __init__(self, *alternatives: str) -> None:
        self.pattern = "|".join(f"(?:{words})" for words in alternatives).replace("@", r"[\"'`\\]{0,4}")

    def search(self, message: str) -> re.Match[str] | None:
        return re.search(self.pattern, message, re.IGNORECASE | re.DOTALL)


UNSUPPORTED = (
    # OpenAI, Azure, GitHub Copilot, ChatGPT's backend
    r"(?:unsupported|unknown|unrecognized) (?:request )?(?:parameter|argument)s?(?: supplied)?: @(?:[\w.]+, )*<name>",
    r"unsupported value: @<name>@ does not support",
    # Mistral and others built on pydantic, Fireworks
    r"(?<!\.)(?:body\.)?<name>: extra inputs are not permitted",
    r"@<name>@[\])],? @msg@: @extra inputs are not permitted",
    r"extra inputs are not permitted, field: @<name>",
    # Groq, Cerebras
    r"property @<name>@ is unsupported",
    r"@<name>@ is (?:not supported|unsupported|deprecated) (?:with|by|for|on|in) (?:this|the) ",
    # xAI, LiteLLM
    r"does not support parameters?:? [^.\n]{0,120}?<name>",
    r"argument not supported on this model: <name>",
    # Gemini
    r"unknown name @<name>@: cannot find field",
    # Servers in Rust, as Bedrock's and DeepSeek's
    r"unknown field @<name>@",
)


def unsupported(*names: str) -> Words:
    """The wordings for a parameter that the model doesn't take; xAI writes its name in camelCase."""
    name = "|".join(re.escape(name).replace("_", "_?") for name in names)
    return Words(*(words.replace("<name>", rf"(?<!\w)(?:{name})(?!\w)") for words in UNSUPPORTED))
