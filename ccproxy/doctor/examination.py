"""What a check has to do with: the examination so far, its own result, and the question it asks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ccproxy.settings import Settings
from ccproxy_middleware.conversion.providers import Profile, find_correction, profile_for_model, resolve_profile

from .probe import Answer, Probe

Outcome: TypeAlias = Literal["ok", "warning", "problem", "skipped"]
Build: TypeAlias = Callable[[Profile], dict[str, Any]]
"""Makes a chat body by the switches of a profile; model and stream are added."""

FEW_TOKENS = 128
"""What an answer may have: it stands in every question, and hardly any answer needs it."""

_MORE_TOKENS = 2048  # for a model that thinks first, and had not come to an end
_MAX_CORRECTIONS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a check has found. ``remedy`` says what to change, where there is something to change."""

    outcome: Outcome
    detail: str
    remedy: str = ""


def ok(detail: str) -> Result:
    """All is well."""
    return Result("ok", detail)


def warning(detail: str, remedy: str = "") -> Result:
    """It works, but not as well as it could."""
    return Result("warning", detail, remedy)


def problem(detail: str, remedy: str) -> Result:
    """Claude Code will not work with it."""
    return Result("problem", detail, remedy)


def skipped(reason: str) -> Result:
    """Nothing was asked."""
    return Result("skipped", reason)


class Examination:
    """A provider under examination.

    provider: the name of its profile. found: the switches that it needs besides, each learned by a check.
    listed: its own entries of ``GET /models`` by id, None where it lists none. results: of the checks so far, by id.
    """

    def __init__(self, settings: Settings, probe: Probe) -> None:
        self.settings = settings
        self.probe = probe
        self.provider = settings.provider
        self.found: dict[str, Any] = {}
        self.listed: Mapping[str, Mapping[str, Any]] | None = None
        self.results: dict[str, Result] = {}
        self.plain = Answer()  # what was answered first, and to the first stream: several checks read them
        self.streamed = Answer()

    @property
    def options(self) -> dict[str, Any]:
        """The switches to use: those of the settings, and over them what was found."""
        return {**self.settings.provider_options, **self.found}

    @property
    def profile(self) -> Profile:
        """The profile for BIG_MODEL with these switches."""
        return profile_for_model(resolve_profile(self.provider, self.options), self.settings.big_model, "chat")

    def learn(self, **switches: Any) -> None:
        """Note the switches that the provider needs, as far as they are not set."""
        profile = self.profile
        self.found.update({name: value for name, value in switches.items() if getattr(profile, name) != value})

    async def ask(
        self, build: Build, *, model: str | None = None, enough: Callable[[Answer], Any] = lambda answer: True
    ) -> Answer:
        """Ask as the proxy does: a refusal that names a parameter teaches a switch, and is followed by another try.

        ``build`` names the limit ``max_tokens``, whatever the provider calls it. What has learned a switch keeps it
        if the provider takes the request with it. An answer that its limit has cut off before it was ``enough`` is
        asked for once more with a higher one.
        """
        answer = await self._ask(build, model)
        if answer.finish_reason == "length" and not enough(answer):
            return await self._ask(lambda profile: {**build(profile), "max_tokens": _MORE_TOKENS}, model)
        return answer

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
    """One check. ``needs``: the ids of those without which it makes no sense, which skip it if they found a problem."""

    id: str
    title: str
    run: Run
    needs: tuple[str, ...] = ()


def say(text: str, **more: Any) -> dict[str, Any]:
    """A chat body with one question, and few tokens of answer."""
    return {"messages": [{"role": "user", "content": text}], "max_tokens": FEW_TOKENS, **more}


def counted(number: int, noun: str) -> str:
    """``1 model``, ``2 models``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
