"""What a check works with: the examination so far, its own result, and the requests it sends."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ccproxy.layers import conversion_options
from ccproxy.settings import NamedModel, Settings, without_endpoint
from ccproxy_middleware.conversion.providers import Profile, find_correction, profile_for_model, resolve_profile

from .probe import Answer, Probe, converse

Outcome: TypeAlias = Literal["ok", "warning", "problem", "skipped"]
Build: TypeAlias = Callable[[Profile], dict[str, Any]]
"""Makes a chat body according to a profile's switches; model and stream are added."""

FEW_TOKENS = 128
"""The token limit in every request; hardly any answer needs all of it."""

_MORE_TOKENS = 2048  # for a model that thinks first and was cut off
_MAX_CORRECTIONS = 5
_LIMITS = ("max_output", "min_output")  # the proxy's own settings handle these
BUSY = (429, 503, 504, 529)
"""Statuses that say nothing about the request itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check. ``remedy`` says what to change, if anything."""

    outcome: Outcome
    detail: str
    remedy: str = ""


def ok(detail: str) -> Result:
    """Everything works."""
    return Result("ok", detail)


def warning(detail: str, remedy: str = "") -> Result:
    """It works, but not as well as it could."""
    return Result("warning", detail, remedy)


def problem(detail: str, remedy: str) -> Result:
    """Claude Code will not work with this provider."""
    return Result("problem", detail, remedy)


def skipped(reason: str) -> Result:
    """No request was sent."""
    return Result("skipped", reason)


class Examination:
    """A provider under examination.

    base_url: its address; a check may find a better one. provider: the name of its profile.
    found: the other switches that it needs, each learned by a check. listed: its entries of ``GET /models`` by id, None
    if
    it lists none. results: those of the checks so far, by id. named: its models, with the settings that name each.
    """

    def __init__(self, settings: Settings, probe: Probe, named: Iterable[NamedModel] = ()) -> None:
        self.settings = settings
        self.probe = probe
        self.named: Mapping[str, tuple[str, ...]] = {model.model: model.places for model in named}
        self.base_url = without_endpoint(settings.openai_base_url)
        self.provider = settings.provider
        self.found: dict[str, Any] = {}
        self.listed: Mapping[str, Mapping[str, Any]] | None = None
        self.results: dict[str, Result] = {}
        self.plain = Answer()  # the first answer and the first stream, which several checks read
        self.streamed = Answer()

    @property
    def options(self) -> dict[str, Any]:
        """The switches to use: those in the settings, overridden by those found."""
        return {**self.settings.provider_options, **self.found}

    @property
    def profile(self) -> Profile:
        """The profile for BIG_MODEL with these switches."""
        return profile_for_model(resolve_profile(self.provider, self.options), self.settings.big_model, "chat")

    def learn(self, **switches: Any) -> None:
        """Note the switches that the provider needs, except those that are set."""
        profile = self.profile
        self.found.update({name: value for name, value in switches.items() if getattr(profile, name) != value})

    async def ask(
        self, build: Build, *, model: str | None = None, enough: Callable[[Answer], Any] = lambda answer: True
    ) -> Answer:
        """Ask as the proxy does: a refusal that names a parameter teaches a switch, and the request is tried again.

        ``build`` names the limit ``max_tokens``, whatever the provider calls it. A learned switch is kept if the
        provider then
        accepts the request. If the limit cuts an answer off before it was ``enough``, the request is repeated once with
        a
        higher limit.
        """
        answer = await self._ask(build, model)
        if answer.finish_reason == "length" and not enough(answer):
            return await self._ask(lambda profile: {**build(profile), "max_tokens": _MORE_TOKENS}, model)
        return answer

    async def converse(self, request: Mapping[str, Any]) -> Answer:
        """Send a request of an Anthropic client, converted and corrected as the proxy does it.

        The switches that its corrections have learned are noted.
        """
        options = {**conversion_options(self.settings), **self.found}
        request = {"model": self.settings.big_model, "max_tokens": FEW_TOKENS, **request}
        answer, learned = await converse(self.probe.app, self.provider, options, request)
        self.found |= {name: value for name, value in learned.items() if name not in _LIMITS}
        return answer

    async def with_one_of(
        self, candidates: Sequence[Mapping[str, Any]], ask: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, Mapping[str, Any]]:
        """Ask. After a refusal, try each of these switches until one works. Returns the answer and the needed switches.

        They are noted. If the provider is too busy, the request is not repeated.
        """
        known = dict(self.found)
        first = await ask()
        if first.ok or first.meaning in BUSY:
            return first, _changes(known, self.found)
        for switches in candidates:
            before = dict(self.found)
            self.learn(**switches)
            if self.found != before:
                answer = await ask()
                if answer.ok:
                    return answer, _changes(known, self.found)
            self.found = before
        return first, {}

    async def _ask(self, build: Build, model: str | None) -> Answer:
        learned: dict[str, Any] = {}
        asked: list[dict[str, Any]] = []
        answer = Answer()
        while True:
            profile = self._with(learned)
            body = {"model": model or self.settings.big_model, **build(profile)}
            if profile.max_tokens_field != "max_tokens":
                body[profile.max_tokens_field] = body.pop("max_tokens")
            if body in asked or len(asked) > _MAX_CORRECTIONS:
                return answer
            asked.append(body)
            answer = await self.probe.complete(body)
            if answer.ok:
                self.found |= learned
                return answer
            correction = find_correction(answer.status, answer.body, body, profile)
            if correction is None:
                return answer
            learned |= correction

    def _with(self, learned: Mapping[str, Any]) -> Profile:
        profile = resolve_profile(self.provider, {**self.options, **learned})
        return profile_for_model(profile, self.settings.big_model, "chat")


Run: TypeAlias = Callable[[Examination], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``needs``: the ids of the checks without which this one makes no sense; if one found a problem, it is
    skipped.
    """

    id: str
    title: str
    run: Run
    needs: tuple[str, ...] = ()


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


def with_switches(switches: Mapping[str, Any], otherwise: str) -> str:
    """A text saying that something is accepted, with the switches needed for it, if any."""
    if not switches:
        return otherwise
    return "refused as it is, taken with " + json.dumps(switches)


def say(text: str, **more: Any) -> dict[str, Any]:
    """A chat body with one question and a small limit for the answer."""
    return {"messages": [{"role": "user", "content": text}], "max_tokens": FEW_TOKENS, **more}


def counted(number: int, noun: str) -> str:
    """``1 model``, ``2 models``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
