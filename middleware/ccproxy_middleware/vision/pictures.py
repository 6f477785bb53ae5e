"""The pictures of a request in each API's format, and the texts that replace them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

Api = Literal["anthropic", "chat", "responses"]

Change = Callable[[Any], Any]
"""From a part of a request to what stands in its place; the same object for one that stays."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image. ``source`` is that of Anthropic's block: base64 or a URL. ``digest``: the same for equal images."""

    digest: str
    source: Mapping[str, Any]


def api_of(path: str) -> Api | None:
    """The API of a request, by its path; None for a path whose requests have no pictures."""
    if path in ("/v1/messages", "/v1/messages/count_tokens"):
        return "anthropic"
    if path.endswith("/chat/completions"):
        return "chat"
    return "responses" if path.endswith(("/responses", "/responses/input_tokens")) else None


def find_pictures(data: Any, api: Api) -> list[Picture]:
    """All pictures in order, with repetitions."""
    found: list[Picture] = []

    def keep(part: Any) -> Any:
        if (picture := read_picture(part, api)) is not None:
            found.append(picture)
        return part

    changed(data, api, keep)
    return found


def read_picture(part: Any, api: Api) -> Picture | None:
    """The picture in a part, if it can be shown to a model."""
    if not isinstance(part, dict):
        return None
    if api == "anthropic":
        source = part.get("source") if part.get("type") == "image" else None
    else:
        url = part.get("image_url") if part.get("type") in ("image_url", "input_image") else None
        source = _source(url.get("url") if isinstance(url, dict) else url)
    if not isinstance(source, dict):
        return None
    content = source.get("url") if source.get("type") == "url" else source.get("data")
    if source.get("type") not in ("url", "base64") or not isinstance(content, str):
        return None
    return Picture(sha256("".join(content.split()).encode("utf-8", "replace")).hexdigest(), source)


def find_pdfs(data: Any) -> list[str]:
    """The PDFs of an Anthropic request in base64, each once, in order."""
    found: dict[str, None] = {}

    def keep(part: Any) -> Any:
        if (pdf := pdf_of(part)) is not None:
            found[pdf] = None
        return part

    changed(data, "anthropic", keep)
    return list(found)


def pdf_of(part: Any) -> str | None:
    """The base64 of a document that is a PDF."""
    source = part.get("source") if isinstance(part, dict) and part.get("type") == "document" else None
    if not isinstance(source, dict) or source.get("media_type") != "application/pdf":
        return None
    data = source.get("data")
    return data if source.get("type") == "base64" and isinstance(data, str) else None


def text_in_place(part: Mapping[str, Any], text: str, api: Api) -> dict[str, Any]:
    """The text part that replaces a picture, with its cache mark."""
    mark = {"cache_control": part["cache_control"]} if "cache_control" in part else {}
    return {"type": "input_text" if api == "responses" else "text", "text": text, **mark}


def changed(data: Any, api: Api, change: Change) -> Any:
    """The request with each part replaced that may be a picture or a document. Nothing is modified in place."""
    if api == "responses":
        return _member(data, "input", lambda items: _each(items, lambda item: _item(item, change)))
    block = (lambda part: _block(part, change)) if api == "anthropic" else change

    def message(value: Any) -> Any:
        return _member(value, "content", lambda content: _each(content, block))

    return _member(data, "messages", lambda messages: _each(messages, message))


def _block(block: Any, change: Change) -> Any:
    """An Anthropic block; tool results and documents may contain images too."""
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "tool_result":
        return _member(block, "content", lambda content: _each(content, lambda inner: _block(inner, change)))
    if kind == "document":
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "content":
            return _member(block, "source", lambda held: _member(held, "content", lambda c: _each(c, change)))
    return change(block) if kind in ("image", "document") else block


def _item(item: Any, change: Change) -> Any:
    """An input item of Responses: a message, or the output of a tool."""
    name = "output" if isinstance(item, dict) and item.get("type") == "function_call_output" else "content"
    return _member(item, name, lambda content: _each(content, change))


def _member(holder: Any, name: str, change: Change) -> Any:
    if not isinstance(holder, dict) or name not in holder:
        return holder
    old = holder[name]
    new = change(old)
    return holder if new is old else {**holder, name: new}


def _each(values: Any, change: Change) -> Any:
    if not isinstance(values, list):
        return values
    new = [change(value) for value in values]
    return values if all(a is b for a, b in zip(values, new, strict=True)) else new


def _source(url: Any) -> dict[str, Any] | None:
    if not isinstance(url, str):
        return None
    if url[:5].lower() != "data:":
        return {"type": "url", "url": url}
    head, comma, content = url.partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    return {"type": "base64", "media_type": head[5:].partition(";")[0], "data": content}
