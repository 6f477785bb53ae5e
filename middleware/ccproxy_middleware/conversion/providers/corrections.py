"""What a provider's refusal teaches: the profile switches with which it accepts the request.

Providers differ from their profile: a new model drops ``max_tokens``, a gateway doesn't know ``stream_options``, a
model can't read images. The wordings are in :mod:`.refusals`. An unknown wording teaches nothing.
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

    lasting: whether the model never accepts the parameter, so that other requests need the correction too. What the
        content of one request caused, such as an unusual schema, is corrected for that request alone.
    refusal: the provider's message, without keys and without what differs from one answer to the next.
    reasoning: returned reasoning that is left out as well, by its fingerprints.
    otherwise: what to try if the corrected request is refused as well.
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
    """The switches to remember, of the corrections of a request that was accepted in the end.

    A correction that led to the same refusal has not helped.
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
    """The switches to change so that the provider accepts what it refused, or None if they can't be determined.

    ``status`` and ``body`` are its answer, ``sent`` is the chat body that it received, ``profile`` is the profile that
    made it, and ``without`` are switches that have no meaning here. The message decides, not the status: templates fail
    with a 500, and relays put a refusal into a 429 or a 402. An image may even be the cause of a status
    above 500.
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
    """What the first of ``rules`` that matches the refusal teaches. ``without``: switches that have no meaning here."""
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


# The ids of a request or an answer, by their names or by their format: hexadecimal, with a digit.
_IDS = re.compile(
    r"\b(?:ref|trace_?id|request[ _-]?id|log_?id|req)\W{0,4}[\w-]{1,64}|\b(?=[a-f-]{0,40}\d)[\da-f-]{8,64}\b",
    re.IGNORECASE,
)
