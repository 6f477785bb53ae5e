"""User content: blocks become the parts of a chat message, tool results become text with attachments.

Chat completions does not allow images in tool messages. An attachment is therefore named in the result, ``[image 1]``,
and follows in the user message under the same name. Nothing is downloaded: image URLs are passed on unchanged.
"""

from typing import Any

from ...toolkit.errors import ApiError, invalid_request
from ...toolkit.field_checks import expect, optional, required
from ...toolkit.json import dumps
from ..anthropic import Block, is_blank, read_blocks
from ..counting import Unreadable, pdf_text
from ..providers import Profile

Part = dict[str, Any]

_OMITTED = "[image omitted: this model does not accept {}]"
NO_VISION = _OMITTED.format("images")
NO_OUTPUT = "(no output)"
OMITTED = "[image omitted]"
_MAX_TYPE = 40  # characters of a media type in a note


class Attachments:
    """The images and documents of one turn's tool results, numbered across the turn."""

    __slots__ = ("_count", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._count = {"image": 0, "document": 0}

    def add(self, kind: str, part: Part) -> str:
        """Add a part and return the label that represents it in the result."""
        self._count[kind] += 1
        label = f"[{kind} {self._count[kind]}]"
        self.parts += [text_part(label), part]
        return label


def text_part(text: str) -> Part:
    return {"type": "text", "text": text}


def is_plain(part: Part) -> bool:
    """Whether a part is only text and has no other fields, such as a cache mark."""
    return len(part) == 2 and part["type"] == "text"


def user_parts(block: Block, profile: Profile) -> list[Part]:
    """One block of a user turn, other than a tool result, as parts."""
    match block.type:
        case "text":
            return [text_part(block.data["text"])]
        case "image":
            return [_image(block, profile)]
        case "document":
            return _document(block, profile)
        case "search_result":
            return [text_part(_search_result(block))]
        case "container_upload":
            raise unsupported(block, "container_upload")
        case "tool_use" | "thinking" | "redacted_thinking":
            raise invalid_request(f"{block}: `{block.type}` blocks can only be in `assistant` messages")
        case _:
            raise invalid_request(f"{block}: unsupported block type '{block.type}'")


def result_text(block: Block, profile: Profile, attachments: Attachments) -> str:
    """A tool result as the text of its tool message; anything that is not text goes to the attachments."""
    content = block.data.get("content")
    if isinstance(content, str):  # almost all results
        text = NO_OUTPUT if is_blank(content) else content
    else:
        text = _joined([] if content is None else read_blocks(content, f"{block}.content"), profile, attachments)
    return marked_error(text) if block.data.get("is_error") is True else text


def marked_error(text: str) -> str:
    """The text of a failed result, marked as an error."""
    return text if text[:5].lower().startswith("error") else f"Error: {text}"


def result_parts(piece: Block, profile: Profile) -> list[Part]:
    """One block of a tool result as parts."""
    match piece.type:
        case "tool_reference":
            return [text_part(f"[tool available: {required(piece.data, 'tool_name', str, piece)}]")]
        case "browser_state":
            return [text_part(dumps({k: v for k, v in piece.data.items() if k != "cache_control"}).decode())]
        case _:
            return user_parts(piece, profile)


def _joined(blocks: list[Block], profile: Profile, attachments: Attachments) -> str:
    """The blocks of a tool result as one text."""
    pieces = [_with_labels(result_parts(piece, profile), profile, attachments) for piece in blocks]
    return "\n\n".join(pieces) or NO_OUTPUT


def as_content(parts: list[Part], profile: Profile) -> str | list[Part]:
    """Parts as a message's ``content``: a string if all are text, or if the provider accepts nothing else.

    Many servers' templates accept only strings. If cache marks are passed on, the content stays a list of parts: a mark
    moves from turn to turn, and what was already sent must not change.
    """
    if not profile.content_parts:
        return "\n\n".join(part.get("text", NO_VISION) for part in parts)
    as_string = len(parts) == 1 or profile.text_parts == "string"
    if as_string and profile.cache_control == "drop" and all(map(is_plain, parts)):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def keep_newest_images(messages: list[dict[str, Any]], profile: Profile) -> None:
    """Replace all images but the newest ``images_max`` by notes; the messages' own lists are not modified."""
    left = profile.images_max or 0
    note = _OMITTED.format(f"more than {left} images")
    for message in reversed(messages):
        content = message.get("content")
        if not isinstance(content, list) or not any(part["type"] == "image_url" for part in content):
            continue
        parts = list(content)
        for n in range(len(parts) - 1, -1, -1):
            if parts[n]["type"] != "image_url":
                continue
            if left > 0:
                left -= 1
            else:
                parts[n] = text_part(note)
        message["content"] = as_content(parts, profile)


def mark_cached(part: Part, data: dict[str, Any], profile: Profile) -> Part:
    """The part with the block's cache mark, if the profile passes marks on; only text can carry one."""
    mark = data.get("cache_control")
    if mark is None or profile.cache_control == "drop" or part["type"] != "text":
        return part
    if profile.cache_control == "pass":
        return {**part, "cache_control": mark}
    return {**part, "prompt_cache_breakpoint": {"mode": "explicit"}}


def unsupported(path: object, what: str) -> ApiError:
    return invalid_request(f"{path}: {what} is not supported by this endpoint")


def _with_labels(parts: list[Part], profile: Profile, attachments: Attachments) -> str:
    pieces: list[str] = []
    for part in parts:
        if part["type"] == "text":
            pieces.append(part["text"])
        elif part["type"] == "image_url" and profile.tool_images == "drop":
            pieces.append(OMITTED)
        else:
            pieces.append(attachments.add("image" if part["type"] == "image_url" else "document", part))
    return "\n".join(pieces)


def _image(block: Block, profile: Profile) -> Part:
    source = required(block.data, "source", dict, block)
    kind = required(source, "type", str, f"{block}.source")
    if kind == "file":
        raise unsupported(block, "an image with a file source")
    media_type = ""
    if kind == "base64":
        media_type = required(source, "media_type", str, f"{block}.source")
        data = required(source, "data", str, f"{block}.source")
        url = f"data:{media_type};base64,{''.join(data.split())}"
    elif kind == "url":
        url = required(source, "url", str, f"{block}.source")
    else:
        raise unsupported(block, f"an image with a source of type '{kind}'")
    if not profile.vision or not profile.content_parts:
        return text_part(NO_VISION)
    if kind == "url" and profile.image_urls != "pass":
        if profile.image_urls == "refuse":
            raise unsupported(block, "an image by URL")
        return text_part(_OMITTED.format("images by URL"))
    if kind == "base64" and profile.image_formats and not _is_one_of(media_type, profile.image_formats):
        return text_part(_OMITTED.format(f"images of type {media_type[:_MAX_TYPE]}"))
    return {"type": "image_url", "image_url": {"url": url}}


def _is_one_of(media_type: str, formats: tuple[str, ...]) -> bool:
    return media_type.lower().removeprefix("image/").replace("jpg", "jpeg") in formats


def _document(block: Block, profile: Profile) -> list[Part]:
    source = required(block.data, "source", dict, block)
    kind = required(source, "type", str, f"{block}.source")
    if kind == "text":
        return _wrapped(block, [text_part(required(source, "data", str, f"{block}.source"))])
    if kind == "content":
        content = source.get("content")
        parts: list[Part] = []
        for inner in read_blocks(content, f"{block}.source.content"):
            if inner.type not in ("text", "image"):
                raise invalid_request(f"{inner}: unsupported block type '{inner.type}'")
            parts += user_parts(inner, profile)
        return _wrapped(block, parts)
    if kind == "base64":
        return _pdf(block, source, profile)
    if kind == "url" and profile.api == "responses" and profile.pdf == "file":  # not in chat completions
        return [{"type": "file", "file": {"file_url": required(source, "url", str, f"{block}.source")}}]
    raise unsupported(block, f"a document with a source of type '{kind}'")


def _pdf(block: Block, source: dict[str, Any], profile: Profile) -> list[Part]:
    media_type = required(source, "media_type", str, f"{block}.source")
    if media_type != "application/pdf":
        raise unsupported(block, f"a base64 document of type '{media_type}'")
    data = "".join(required(source, "data", str, f"{block}.source").split())
    if profile.pdf == "refuse":
        raise unsupported(block, "a PDF document")
    if profile.pdf == "file" and profile.content_parts:
        title = (optional(block.data, "title", str, block) or "document").removesuffix(".pdf")
        file = {"filename": f"{title}.pdf", "file_data": f"data:application/pdf;base64,{data}"}
        return [{"type": "file", "file": file}]
    text = pdf_text(data)
    if isinstance(text, Unreadable):
        return [text_part(f"[document omitted: {text.value}]")]
    return _wrapped(block, [text_part(text)])


def _wrapped(block: Block, parts: list[Part]) -> list[Part]:
    """Parts enclosed in ``<document>`` tags, which are in the first and the last text."""
    title = optional(block.data, "title", str, block)
    context = optional(block.data, "context", str, block)
    head = "<document>" if not title else f'<document title="{_attribute(title)}">'
    if context:
        head += f"\n<context>{context}</context>"
    wrapped: list[Part] = []
    texts = [head]
    for part in parts:
        if part["type"] == "text":
            texts.append(part["text"])
            continue
        if texts:
            wrapped.append(text_part("\n".join(texts)))
        wrapped.append(part)
        texts = []
    return [*wrapped, text_part("\n".join([*texts, "</document>"]))]


def _search_result(block: Block) -> str:
    title = _attribute(required(block.data, "title", str, block))
    source = _attribute(required(block.data, "source", str, block))
    content = expect(block.data.get("content"), list, f"{block}.content")
    texts = [inner.data.get("text", "") for inner in read_blocks(content, f"{block}.content")]
    body = "\n\n".join(texts)
    return f'<search_result title="{title}" source="{source}">\n{body}\n</search_result>'


def _attribute(value: str) -> str:
    return value.replace('"', "&quot;")
