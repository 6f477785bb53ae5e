"""Checks of answers without tools: parameters, streams, usage, stop sequences, reasoning, images, long prompts."""

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from ccproxy_middleware.conversion.counting import estimate_request
from ccproxy_middleware.conversion.providers import Profile, Reasoning, reasoning_params

from .connection import is_near
from .examination import BUSY, Examination, Result, ok, problem, say, skipped, warning
from .probe import Answer

_BURST_SECONDS = 0.005  # a stream whose whole text arrives within this time after a longer wait was buffered
_LONG_PROMPT = 24_000  # tokens: about the size of Claude Code's first prompt
_LONG_PROMPT_SECONDS = 60.0
_ALL_OF_IT = 0.6  # of our estimate, which may be off by a third
_EFFORTS = ["low", "medium", "high"]
_FIELDS = ("max_tokens", "max_completion_tokens")


async def max_tokens(exam: Examination) -> Result:
    field = exam.profile.max_tokens_field
    if exam.plain.ok:
        return ok(f"accepts {field}")
    other = _FIELDS[1 - _FIELDS.index(field)]
    if exam.plain.status in (400, 422) and any(name in exam.plain.error for name in _FIELDS):
        before = dict(exam.found)
        exam.learn(max_tokens_field=other)
        answer = await exam.ask(lambda profile: say("Reply with the word OK."), enough=lambda a: a.text)
        if answer.ok:
            exam.plain = answer
            return ok(f"accepts {other}")
        exam.found = before
    return skipped("no request is accepted")


async def plain_answer(exam: Examination) -> Result:
    answer = exam.plain
    if answer.ok and answer.text:
        return ok(f"{_quoted(answer.text)} in {answer.seconds:.1f} s")
    if answer.ok:
        why = "its finish_reason is length: it thinks too long" if answer.finish_reason == "length" else "no text in it"
        return problem(f"an empty answer; {why}", "Try another model; a server that has just started may be broken.")
    if answer.meaning == 429 or answer.meaning >= 500:
        return problem(answer.error, remedy_of(answer))
    return problem(f"HTTP {answer.status}: {answer.error}", "Check PROVIDER, PROVIDER_OPTIONS and the model.")


async def streaming(exam: Examination) -> Result:
    answer = exam.streamed = await _count_aloud(exam)
    if not answer.ok:
        return problem(answer.error, 'Claude Code always streams: the provider must accept "stream": true.')
    if not answer.is_stream:
        return problem("it answers a stream with a whole document", "Claude Code always streams: use another server.")
    if not answer.text_times:
        return problem("a stream without text", "Try another model.")
    if _is_burst(answer) and _is_burst(await _count_aloud(exam)):  # a single one may be chance on a busy machine
        remedy = "Answers arrive late: does a gateway in between buffer them?"
        return warning(f"the answer comes in one piece after {answer.text_times[-1]:.1f} s", remedy)
    first, pieces = answer.text_times[0], len(answer.text_times)
    return ok(f"first piece after {first * 1000:,.0f} ms, {pieces} pieces in {answer.seconds:.1f} s")


async def usage(exam: Examination) -> Result:
    whole, streamed = (bool(a.usage.get("prompt_tokens")) for a in (exam.plain, exam.streamed))
    if whole and streamed:
        how = "" if exam.profile.stream_usage else ", without stream_options"
        return ok(f"reported, in streams too{how}")
    where = "nowhere" if not whole and not streamed else "in streams only" if streamed else "not in streams"
    if streamed:
        return ok(f"reported {where}")
    remedy = "Claude Code can't see how full the conversation is: set CLAUDE_CODE_AUTO_COMPACT_WINDOW below its size."
    return warning(f"reported {where}", remedy)


async def stop_sequences(exam: Examination) -> Result:
    def build(profile: Profile) -> dict[str, Any]:
        question = say("Count from 1 to 9 in digits, with a blank between, nothing else.")
        return question if profile.stop_limit == 0 else {**question, "stop": ["7"]}

    if exam.profile.stop_limit == 0:
        return skipped("the proxy looks for them itself")
    answer = await exam.ask(build, enough=lambda a: a.text)
    if exam.profile.stop_limit == 0:
        return ok("refused: the proxy looks for them itself")
    if not answer.ok:
        return warning(answer.error, "")
    if "7" in answer.text:
        exam.learn(stop_limit=0)
        return ok("ignored: the proxy looks for them itself")
    return ok("taken")


async def reasoning(exam: Examination) -> Result:
    def build(profile: Profile) -> dict[str, Any]:
        body = say("What is 17 * 3? The number only.")
        return body | reasoning_params(
            Reasoning(True, "low"), True, {**body, "model": exam.settings.big_model}, profile
        )

    answer = await exam.ask(build, enough=lambda a: a.text)
    if not answer.ok:
        return warning(answer.error, 'Try PROVIDER_OPTIONS={"efforts": []}, or another reasoning_style.')
    asked = build(exam.profile).keys() - say("").keys()
    if not asked and not _thinks(answer) and exam.profile.reasoning_style == "openai" and not exam.profile.models:
        with_effort = await exam.ask(
            lambda profile: {**say("What is 17 * 3? The number only."), "reasoning_effort": "low"},
            enough=lambda a: a.text,
        )
        if with_effort.ok and _thinks(with_effort):
            exam.learn(efforts=tuple(_EFFORTS))
            return ok("seen when reasoning_effort asks for it")
    if answer.thinks_in_text:
        exam.learn(think_tags="auto")
        return ok("seen, as <think> in the text")
    how = f"{', '.join(sorted(asked))} taken; " if asked else ""
    return ok(how + ("seen" if _thinks(answer) else "none seen"))


async def images(exam: Examination) -> Result:
    if not exam.profile.vision:
        return skipped(f"the profile says that the model accepts none: {_described(exam)}")
    if not exam.profile.content_parts:
        return skipped("images are content parts, which are switched off")
    url = "data:image/png;base64," + base64.b64encode(red_square()).decode()
    text = {"type": "text", "text": "Which colour is this? One word."}
    content = [text, {"type": "image_url", "image_url": {"url": url}}]
    question = {**say(""), "messages": [{"role": "user", "content": content}]}
    answer = await exam.ask(lambda profile: question, enough=lambda a: a.text)
    if not answer.ok and answer.meaning not in BUSY:
        exam.learn(vision=False)
        if exam.settings.vision_model is not None:
            return ok(f"not taken: {_described(exam)}")
        return warning(
            "not accepted: Claude Code's screenshots are left out", "Set VISION_MODEL to a model that describes them."
        )
    if not answer.ok:
        return warning(answer.error, remedy_of(answer))
    if "red" in answer.text.lower():
        return ok("seen")
    options = json.dumps({**exam.options, "vision": False})
    remedy = f"If the model sees no images, set PROVIDER_OPTIONS={options}."
    return warning(f"accepted, but it calls a red square {_quoted(answer.text)}", remedy)


def _described(exam: Examination) -> str:
    """What happens to images then."""
    model = exam.settings.vision_model
    return "VISION_MODEL describes them, if it is set" if model is None else f"{model} describes them"


async def truncation(exam: Examination) -> Result:
    if exam.provider != "ollama" and not (exam.provider == "generic" and is_near(exam)):
        return skipped("this kind of provider refuses prompts that are too long")
    if exam.results["window"].outcome != "skipped":
        return skipped("it reports its context size")
    lines = "\n".join(f"Line {n}: the harbour light blinks twice." for n in range(_LONG_PROMPT // 13))
    body = {**say(f"{lines}\n\nReply with the word OK."), "max_tokens": 1}
    try:
        async with asyncio.timeout(_LONG_PROMPT_SECONDS):
            answer = await exam.ask(lambda profile: body)
    except TimeoutError:
        slow = f"a prompt of {_LONG_PROMPT:,} tokens takes over {_LONG_PROMPT_SECONDS:.0f} s"
        return warning(slow, "Every conversation begins with so many: use a smaller model, or a faster machine.")
    ours, theirs = estimate_request(body), answer.usage.get("prompt_tokens")
    if not answer.ok:
        return warning(
            f"a prompt of {ours:,} tokens is refused: {answer.error}", "Serve the model with a longer context."
        )
    if not isinstance(theirs, int):
        return skipped("it doesn't report usage")
    if theirs < ours * _ALL_OF_IT:
        remedy = "Serve it with a context of 65,536 or more"
        remedy += ": start Ollama with OLLAMA_CONTEXT_LENGTH=65536." if exam.provider == "ollama" else "."
        return problem(f"silently truncated: the model got {theirs:,} of {ours:,} tokens", remedy)
    return ok(f"a prompt of {theirs:,} tokens arrived whole")


def red_square(side: int = 64) -> bytes:
    """A red square as a PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * side) * side
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _streamed(profile: Profile) -> dict[str, Any]:
    return {"stream": True, **({"stream_options": {"include_usage": True}} if profile.stream_usage else {})}


async def _count_aloud(exam: Examination) -> Answer:
    return await exam.ask(
        lambda profile: {**say("Count from 1 to 20, in digits, nothing else."), **_streamed(profile)},
        enough=lambda answer: answer.content,
    )


def _is_burst(answer: Answer) -> bool:
    times = answer.text_times
    if not times:
        return False
    return len(times) == 1 or (times[-1] - times[0] < _BURST_SECONDS and answer.seconds > 10 * _BURST_SECONDS)


def _thinks(answer: Answer) -> bool:
    details: Mapping[str, Any] = answer.usage.get("completion_tokens_details") or {}
    return bool(answer.reasoning or answer.thinks_in_text or details.get("reasoning_tokens"))


def _quoted(text: str) -> str:
    short = " ".join(text.split())
    return f'"{short if len(short) <= 30 else short[:29] + "…"}"'


def remedy_of(answer: Answer) -> str:
    if answer.meaning in (429, 529):
        return "The provider is there but busy, or its limit is used up: try again later."
    if answer.meaning == 504:
        return "Is the model still loading? REQUEST_TIMEOUT sets the limit."
    return "The provider is there but fails: look at its own log or status page."
