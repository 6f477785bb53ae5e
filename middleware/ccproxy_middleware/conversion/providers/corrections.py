"""What a provider's refusal teaches: the profile switches with which the request is taken.

Providers differ from their profile: a new model drops ``max_tokens``, a gateway knows no ``stream_options``, a model
has no eyes. The wordings are in :mod:`.refusals`. One that isn't known teaches nothing.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from .context_length import overflow_message
from .errors import read_refusal
from .profiles import Profile
from .refusals import IMAGES, RULES, Patch, Rule


class Correction(dict[str, Any]):
    """Profile switches and their new values, for one refusal.

    lasting: whether the model doesn't take the parameter as such, so that other requests need the correction too. What
        one request's content has caused, such as an odd schema, is corrected for that request alone.
    refusal: the provider's words, without keys and without what differs from one answer to the next.
    reasoning: returned reasoning, by its fingerprints, to leave out besides.
    otherwise: what to try if this is answered by a refusal of its own.
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


def find_correction(
    status: int, body: bytes, sent: Mapping[str, Any], profile: Profile, without: Container[str] = ()
) -> Correction | None:
    """The switches to change so that the provider takes what it has refused, or None if that can't be known.

    ``status`` and ``body`` are its answer, ``sent`` the chat body that it got, ``profile`` the profile that made it,
    ``without`` switches that mean nothing here. Its words count and not its status: templates fail with a 500, and
    relays put a refusal into a 429 or a 402. An image may also be what a server above has failed with.
    """
    return first_correction(RULES if status <= 500 else IMAGES, status, body, sent, profile, without)


def first_correction(
    rules: Iterable[Rule],
    status: int,
    body: bytes,
    sent: Mapping[str, Any],
    profile: Profile,
    without: Container[str] = (),
) -> Correction | None:
    """What the first of ``rules`` that knows the refusal teaches. ``without``: switches that mean nothing here."""
    if status < 400:
        return None
    message = read_refusal(body)
    if message is None or overflow_message(message, status=status) is not None:
        return None
    for rule in rules:
        if rule.concerns(sent) and (match := rule.words.search(message)):
            patch = rule.patch(match, sent, profile) if callable(rule.patch) else rule.patch
            changes = {name: value for name, value in patch.items() if name not in without}
            changes = {name: value for name, value in changes.items() if getattr(profile, name) != value}
            if changes:
                return Correction(changes, lasting=rule.lasting, refusal=_IDS.sub("", message))
    return None


# Of a request or an answer, by their names or by their form: hexadecimal, with a digit.
_IDS = re.compile(
    r"\b(?:ref|trace_?id|request[ _-]?id|log_?id|req)\W{0,4}[\w-]{1,64}|\b(?=[a-f-]{0,40}\d)[\da-f-]{8,64}\b",
    re.IGNORECASE,
)
