"""The built-in provider's Responses API: a response, complete and as stream events, and its input."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Item = dict[str, Any]
Event = dict[str, Any]


def message_item(id_: str, text: str, phase: str | None = None) -> Item:
    """A message from the assistant."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    item = {"type": "message", "id": id_, "role": "assistant", "status": "completed", "content": content}
    return {**item, "phase": phase} if phase else item


def call_item(id_: str, call_id: str, name: str, arguments: str) -> Item:
    """A call of a function."""
    call = {"type": "function_call", "id": id_, "call_id": call_id, "name": name, "arguments": arguments}
    return {**call, "status": "completed"}


def reasoning_item(id_: str, summary: Sequence[str], encrypted: str) -> Item:
    """The model's reasoning: a readable summary, and an encrypted rest."""
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"type": "reasoning", "id": id_, "summary": parts, "encrypted_content": encrypted}


def response(
    head: Mapping[str, Any], output: Sequence[Item], usage: Mapping[str, Any] | None, incomplete: str | None = None
) -> dict[str, Any]:
    """The complete response. ``head`` holds its id, time and model; ``incomplete`` is the reason if it was cut off."""
    return {
        "object": "response",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "instructions": None,
        "metadata": {},
        "store": False,
        "temperature": None,
        "top_p": None,
        **head,
        "status": "incomplete" if incomplete else "completed",
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "output": list(output),
        "usage": usage,
    }


def response_events(whole: Mapping[str, Any], cut: Callable[[str], Sequence[str]]) -> Iterator[Event]:
    """The stream events of a response. ``cut`` splits a text into its deltas."""
    for number, (kind, fields) in enumerate(_events(whole, cut)):
        yield {"type": kind, "sequence_number": number, **fields}


def _events(whole: Mapping[str, Any], cut: Callable[[str], Sequence[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(whole["output"]):
        yield "response.output_item.added", {"output_index": index, "item": _begun(item)}
        where = {"output_index": index, "item_id": item["id"]}
        match item["type"]:
            case "reasoning":
                yield from _reasoning(item, where, cut)
            case "message":
                yield from _message(item, where, cut)
            case "function_call":
                for delta in cut(item["arguments"]):
                    yield "response.function_call_arguments.delta", {**where, "delta": delta}
                done = {"name": item["name"], "arguments": item["arguments"]}
                yield "response.function_call_arguments.done", {**where, **done}
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield f"response.{whole['status']}", {"response": dict(whole)}


def _begun(item: Item) -> Item:
    """An item as the stream first announces it."""
    match item["type"]:
        case "reasoning":
            return {**item, "summary": [], "encrypted_content": item["encrypted_content"][:4]}
        case "message":
            return {**item, "status": "in_progress", "content": []}
        case _:
            return {**item, "status": "in_progress", "arguments": ""}


def _reasoning(
    item: Item, where: dict[str, Any], cut: Callable[[str], Sequence[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, part in enumerate(item["summary"]):
        place = {**where, "summary_index": number}
        yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
        for delta in cut(part["text"]):
            yield "response.reasoning_summary_text.delta", {**place, "delta": delta}
        yield "response.reasoning_summary_text.done", {**place, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**place, "part": part}


def _message(
    item: Item, where: dict[str, Any], cut: Callable[[str], Sequence[str]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, part in enumerate(item["content"]):
        place = {**where, "content_index": number}
        yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
        for delta in cut(part["text"]):
            yield "response.output_text.delta", {**place, "delta": delta, "logprobs": []}
        yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**place, "part": part}


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A Responses request converted to the equivalent chat completions request."""
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    for item in body["input"]:
        match item["type"]:
            case "message":
                messages.append({"role": item["role"], "content": _texts(item["content"])})
            case "function_call":
                function = {"name": item["name"], "arguments": item["arguments"]}
                call = {"id": item["call_id"], "type": "function", "function": function}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                content = _texts(item["output"])
                messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
    chat: dict[str, Any] = {"model": body["model"], "messages": messages}
    if "tools" in body:
        chat["tools"] = [{"type": "function", "function": tool} for tool in body["tools"]]
    choice = body.get("tool_choice")
    if choice is not None:
        chat["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": form}
    return chat


def _texts(content: str | Sequence[Mapping[str, Any]]) -> Any:
    """The text, or chat's parts if there is an image."""
    if not isinstance(content, str) and any(part["type"] == "input_image" for part in content):
        return [
            {"type": "image_url", "image_url": {"url": part["image_url"]}}
            if part["type"] == "input_image"
            else {"type": "text", "text": part["text"]}
            for part in content
        ]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content if "text" in part)
