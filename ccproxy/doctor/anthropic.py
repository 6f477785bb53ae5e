"""Checks of an upstream that speaks Anthropic's own protocol, where nothing is converted."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ccproxy.settings import NamedModel, Upstream

from . import connection, tools
from .examination import BUSY, Check, Examination, Result, ok, problem, skipped, warning
from .probe import Answer

_FEW_TOKENS = 64


def checks(upstream: Upstream, named: Sequence[NamedModel]) -> list[Check]:
    """The checks in order. ``named``: the upstream's models that the settings name."""
    reached = [
        Check("reachable", "Reachable", connection.reachable),
        Check("tls", "TLS", connection.tls, ("reachable",)),
    ]
    if upstream.client_credential:
        return [*reached, Check("key", "Key", _of_clients, ("tls",))]
    if not named:
        return reached
    first = named[0].model
    return [
        *reached,
        Check("key", "Key", partial(key, model=first, count=len(upstream.api_keys)), ("tls",)),
        Check("models", "Models", partial(models, named=named), ("key",)),
        Check("stream", "Streaming", partial(streaming, model=first), ("models",)),
        Check("claude_code", "Claude Code's request", partial(claude_code, model=first), ("models",)),
    ]


async def key(exam: Examination, *, model: str, count: int) -> Result:
    """Send a request with each key of the pool."""
    for number in range(count):
        with exam.probe.with_key(number):
            answer = await _ask(exam, model)
        which = "" if count == 1 else f"key {number + 1} of {count}: "
        if answer.meaning in (401, 403):
            return problem(which + answer.error, "Check OPENAI_API_KEY: it is not accepted for this model.")
        if answer.meaning == 402:
            return problem(
                which + answer.error, "The provider refuses for lack of credit: check the account of OPENAI_API_KEY."
            )
    return ok("accepted" if count == 1 else f"all {count} are accepted")


async def models(exam: Examination, *, named: Sequence[NamedModel]) -> Result:
    """Send a request to each model."""
    missing: list[str] = []
    for model in named:
        answer = await _ask(exam, model.model)
        if answer.meaning in BUSY:
            return warning(f"{model.model}: {answer.error}")
        if not answer.ok:
            missing.append(f"{', '.join(model.places)} {model.model}: {answer.error}")
    if not missing:
        return ok(", ".join(model.model for model in named))
    return problem("; ".join(missing), "Set them to models that exist.")


async def streaming(exam: Examination, *, model: str) -> Result:
    """Request a stream."""
    answer = await _ask(exam, model, stream=True)
    if not answer.ok or not answer.is_stream:
        return problem(answer.error or "it answers a stream with a whole document", "Claude Code always streams.")
    types = [event.get("type") for _, event in answer.events]
    if "message_stop" not in types:
        return problem("the stream has no end", "Look at the provider's own log.")
    return ok(f"{len(types)} events in {answer.seconds:.1f} s")


async def claude_code(exam: Examination, *, model: str) -> Result:
    """Send a request like Claude Code's, with tools."""
    return tools.verdict_of(await exam.probe.message({**tools.request(), "model": model}))


async def _of_clients(exam: Examination) -> Result:
    return skipped("each client sends its own credential, so the doctor can't ask for the models")


async def _ask(exam: Examination, model: str, **more: Any) -> Answer:
    message: Mapping[str, Any] = {"role": "user", "content": "Reply with the word OK."}
    return await exam.probe.message({"model": model, "max_tokens": _FEW_TOKENS, "messages": [message], **more})
