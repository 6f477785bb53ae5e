"""Convert a whole Responses answer to an Anthropic Message."""

from collections.abc import Mapping
from typing import Any

from ...toolkit.errors import ApiError
from ...toolkit.json import dumps
from ..anthropic import (
    StopMatcher,
    ToolIds,
    client_tool_name,
    is_whole,
    nameless,
    new_message,
    parse_arguments,
    repaired,
    stop_outcome,
)
from ..chat import service_tier
from ..context import Context
from ..counting import estimate_tokens
from ..hosted_search import HostedSearch, read_call, response_sources, with_searches
from ..text_calls import Call, as_functions, text_calls
from .ends import answer_usage, error_of_response, limit_or_refusal
from .output_items import CALLS, function_name, message_parts, upstream_id
from .state import Following, encode_state, part_texts, summary_text

Block = dict[str, Any]


def convert_response(data: Any, context: Context) -> dict[str, Any]:
    """Convert one response to one Anthropic Message.

    Raises ApiError for a body that is not a response or is not complete (502), and for a failed response.
    """
    if not isinstance(data, dict):
        raise _not_a_response("it is no object")
    if data.get("status") == "failed" or (data.get("error") and "output" not in data):
        raise error_of_response(data.get("error"), context)
    output = data.get("output")
    if not isinstance(output, list) or data.get("status", "completed") not in ("completed", "incomplete"):
        raise _not_a_response("it is not complete" if isinstance(output, list) else "it has no output")
    reason = limit_or_refusal(data)
    answer = _Answer(context, cut_off=reason == "max_tokens")
    items = [item for item in output if isinstance(item, dict) and item.get("type") in _KINDS]
    for n, item in enumerate(items, 1):
        if answer.matched is None:
            answer.add(item, last=n == len(items))
    blocks = answer.blocks()
    outcome = stop_outcome(
        reason,
        matched=answer.matched,
        refusal="".join(answer.refusals) or None,
        has_tool_use=answer.has_tool_use,
        has_whole_calls=answer.has_tool_use and answer.whole,
    )
    usage = answer_usage(data, context, lambda: _estimate_output(blocks))
    if context.hosted_search is not None:
        usage = with_searches(usage, answer.searches)
    return {
        **new_message(context.model, {**usage, **service_tier(data, context)}),
        "content": blocks,
        **outcome,
    }


_KINDS = frozenset({"reasoning", "message", "web_search_call", *CALLS})


class _Answer:
    """Collects the blocks of an answer item by item."""

    def __init__(self, context: Context, *, cut_off: bool) -> None:
        self.matched: str | None = None  # the stop sequence that ended the answer
        self.refusals: list[str] = []
        self.has_tool_use = False
        self.whole = True
        self._context = context
        self._cut_off = cut_off
        self._ids = ToolIds(context)
        self._matcher = StopMatcher(context.local_stops)
        self._blocks: list[Block] = []
        self._blank: list[Block] = []  # whitespace, which counts if there is nothing else
        self._waiting: list[tuple[Block, Mapping[str, Any]]] = []  # thinking whose signature names what follows
        self._held: list[tuple[Mapping[str, Any], int]] = []  # hidden reasoning, and how many messages came before it
        self._phases: list[str | None] = []  # of the messages
        self._searches: list[tuple[int, HostedSearch]] = []  # with the number of blocks before each
        self._cited: dict[str, str] = {}

    def add(self, item: Mapping[str, Any], *, last: bool) -> None:
        match item.get("type"):
            case "reasoning":
                self._add_reasoning(item)
            case "message":
                self._add_message(item, last=last)
            case "web_search_call" if self._context.hosted_search is not None:
                if (search := read_call(item)) is not None:
                    self._sign(None)
                    self._searches.append((len(self._blocks), search))
            case kind if kind in CALLS:
                self._add_call(item, custom=kind == "custom_tool_call")

    def blocks(self) -> list[Block]:
        """All blocks, after everything was added."""
        self._sign(None)
        blocks = self._blocks or self._blank
        for place, search in reversed(self._searches):
            search.name(self._cited)
            blocks[place:place] = search.blocks()
        return blocks

    @property
    def searches(self) -> int:
        """The number of successful web searches."""
        return sum(not search.failed for _, search in self._searches)

    def _add_reasoning(self, item: Mapping[str, Any]) -> None:
        encrypted = bool(item.get("encrypted_content"))
        if self._context.thinking == "off":
            if encrypted:
                self._held.append((item, len(self._phases)))
            return
        words = summary_text(item) or part_texts(item.get("content"))
        if not words and not encrypted:
            return
        self._sign(Following("reasoning"))
        block = {"type": "thinking", "thinking": words if self._context.thinking == "show" else "", "signature": ""}
        self._blocks.append(block)
        self._waiting.append((block, item))

    def _add_message(self, item: Mapping[str, Any], *, last: bool) -> None:
        if self._searches:
            self._cited |= response_sources(item)
        matcher = self._matcher
        texts: list[str] = []
        for text, is_refusal in message_parts(item):
            if matcher.matched is None:
                texts.append(matcher.feed(text))
                self.refusals += [text] if is_refusal else []
        self.matched = matcher.matched
        text = "".join(texts) + matcher.finish()
        calls: list[Call] = []
        if last and not self.has_tool_use and self.matched is None and (splitter := text_calls(self._context)):
            text = splitter.feed(text)
            rest, calls = splitter.finish()
            text += rest
        self._add_text(text, item)
        for call in as_functions(calls):
            self._add_call(call["function"], custom=False)

    def _add_text(self, text: str, item: Mapping[str, Any]) -> None:
        if not text.strip():
            self._blank += [{"type": "text", "text": text}] if text else []
            return
        phase = item.get("phase")
        self._phases.append(phase if isinstance(phase, str) else None)
        self._sign(Following("message", self._phases[-1]))
        self._blocks.append({"type": "text", "text": text})

    def _add_call(self, item: Mapping[str, Any], *, custom: bool) -> None:
        name = function_name(item)
        if not name:
            if self._cut_off or not (upstream_id(item) or item.get("arguments")):
                return
            raise nameless()
        if custom:
            text = item.get("input")
            input_: dict[str, Any] = {"input": text if isinstance(text, str) else ""}
        else:
            self.whole = self.whole and is_whole(item.get("arguments"))
            input_ = parse_arguments(item.get("arguments"), cut_off=self._cut_off)
        id_ = self._ids.claim(upstream_id(item))
        name = client_tool_name(name, self._context)
        if name in self._context.tool_schemas and not custom:
            input_ = repaired(input_, self._context.tool_schemas[name], self._context.profile)
        self._sign(Following("call", id_))
        self._blocks += self._held_blocks(id_)
        self._blocks.append({"type": "tool_use", "id": id_, "name": name, "input": input_})
        self.has_tool_use = True

    def _sign(self, following: Following | None) -> None:
        for block, item in self._waiting:
            block["signature"] = self._signature(item, following)
        self._waiting.clear()

    def _held_blocks(self, id_: str) -> list[Block]:
        blocks = []
        for item, count in self._held:
            signature = held_signature(item, count, self._phases, id_, self._context)
            blocks.append({"type": "thinking", "thinking": "", "signature": signature})
        self._held.clear()
        return blocks

    def _signature(self, item: Mapping[str, Any], following: Following | None) -> str:
        return encode_state(self._context.profile.name, self._context.upstream_model, item, following)


def held_signature(item: Mapping[str, Any], count: int, phases: list[str | None], id_: str, context: Context) -> str:
    """The signature of hidden reasoning that came after ``count`` messages, when the call ``id_`` begins."""
    before = len(phases) - count
    following = Following("message", phases[count]) if before else Following("call", id_)
    return encode_state(context.profile.name, context.upstream_model, item, following, before=before)


def _estimate_output(blocks: list[Block]) -> int:
    blocks = [block for block in blocks if block["type"] in ("text", "thinking", "tool_use")]
    texts = [block.get("text") or block.get("thinking") or "" for block in blocks]
    calls = [block["name"] + dumps(block["input"]).decode() for block in blocks if block["type"] == "tool_use"]
    return estimate_tokens("".join(texts + calls))


def _not_a_response(why: str) -> ApiError:
    return ApiError(502, "api_error", f"the provider's answer is not a response: {why}")
