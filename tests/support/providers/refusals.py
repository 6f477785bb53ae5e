"""Refusals in providers' words, and what is learned from them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ccproxy_middleware.conversion.chat.request import convert_request
from ccproxy_middleware.conversion.providers.corrections import Correction, find_correction
from ccproxy_middleware.conversion.providers.profiles import Profile, resolve_profile

from .openai_rules import error_body

MODEL = "some-model"
BASE: dict[str, Any] = {"model": MODEL, "max_tokens": 64_000, "messages": [{"role": "user", "content": "hi"}]}


@dataclass(frozen=True)
class Case:
    """A refusal, and the switches that it should change.

    ``source`` is the GitHub thread that quotes it; "as" one that quotes the same words about another parameter.
    ``request`` is added to a plain request, converted with ``provider`` and ``options``. ``body`` is the answer, or
    the message in OpenAI's usual object.
    """

    name: str
    source: str
    body: Any
    patch: Mapping[str, Any]
    request: Mapping[str, Any] = field(default_factory=dict)
    provider: str = "generic"
    options: Mapping[str, Any] = field(default_factory=dict)
    status: int = 400

    @property
    def profile(self) -> Profile:
        return resolve_profile(self.provider, self.options)

    @property
    def raw(self) -> bytes:
        return json.dumps(error_body(self.body) if isinstance(self.body, str) else self.body).encode()


def convert(case: Case, profile: Profile) -> dict[str, Any]:
    return convert_request({**BASE, **case.request}, profile).body


def find(case: Case, status: int | None = None) -> dict[str, Any] | None:
    return find_correction(status or case.status, case.raw, convert(case, case.profile), case.profile)


def find_whole(case: Case) -> Correction:
    """The same, which must be there."""
    correction = find_correction(case.status, case.raw, convert(case, case.profile), case.profile)
    assert correction is not None
    return correction
