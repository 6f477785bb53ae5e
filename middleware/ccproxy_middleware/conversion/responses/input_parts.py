"""The content of messages and of tool results as input parts."""

from typing import Any

from ..anthropic import Block, read_blocks
from ..chat import (
    EARLIER_RESULT,
    OMITTED,
    Attachments,
    Part,
    mark_cached,
    marked_error,
    result_parts,
    result_text,
    text_part,
)
from ..providers import Profile

_BREAKPOINT = "prompt_cache_breakpoint"


def input_parts(parts: list[Part]) -> list[dict[str, Any]]:
    """The parts of a chat message as the parts of an input message."""
    return [_input_part(part) for part in parts]


def tool_output(block: Block, profile: Profile, attachments: Attachments) -> str | list[dict[str, Any]]:
    """A tool result: one text, or the list of its parts if it contains an image or a file.

    If the host accepts only text, images and files are moved to the attachments and replaced by a label.
    """
    content = block.data.get("content")
    if not profile.tool_output_parts or not profile.content_parts:
        return result_text(block, profile, attachments)
    simple = not isinstance(content, list) or all(isinstance(p, dict) and p.get("type") == "text" for p in content)
    parts = [] if simple else _result(block, profile)
    if all(part["type"] == "text" for part in parts):
        text = result_text(block, profile, attachments)
        if profile.cache_control != "breakpoints":
            return text
        return input_parts([mark_cached(text_part(text), block.data, profile)])  # always parts, as cache marks move on
    if block.data.get("is_error") is True:
        first = next((n for n, part in enumerate(parts) if part["type"] == "text"), None)
        if first is None:
            parts.insert(0, text_part("Error:"))
        else:
            parts[first] = text_part(marked_error(parts[first]["text"]))
    return input_parts(parts)


def earlier_result(block: Block, profile: Profile) -> list[Part]:
    """A result whose call is no longer there, as user content: its texts, then its images and files."""
    content = block.data.get("content")
    if not isinstance(content, list):
        return [text_part(EARLIER_RESULT + result_text(block, profile, Attachments()))]
    parts = _result(block, profile)
    attached = [part for part in parts if part["type"] != "text"]
    if not attached:
        return [text_part(EARLIER_RESULT + result_text(block, profile, Attachments()))]
    text = "\n\n".join(part["text"] for part in parts if part["type"] == "text")
    if block.data.get("is_error") is True:
        text = marked_error(text) if text else "Error:"
    return [text_part((EARLIER_RESULT + text).rstrip("\n")), *attached]


def keep_newest_images(items: list[dict[str, Any]], profile: Profile) -> None:
    """Replace all images but the newest ``images_max`` by notes."""
    left = profile.images_max or 0
    note = {"type": "input_text", "text": f"[image omitted: this model does not accept more than {left} images]"}
    for item in reversed(items):
        for parts in (item.get("content"), item.get("output")):
            if not isinstance(parts, list):
                continue
            for n in reversed(range(len(parts))):
                if parts[n]["type"] != "input_image":
                    continue
                if left > 0:
                    left -= 1
                else:
                    parts[n] = note


def _result(block: Block, profile: Profile) -> list[Part]:
    pieces = read_blocks(block.data["content"], f"{block}.content")
    parts = [part for piece in pieces for part in result_parts(piece, profile)]
    if profile.tool_images == "drop":
        parts = [text_part(OMITTED) if part["type"] == "image_url" else part for part in parts]
    return parts


def _input_part(part: Part) -> dict[str, Any]:
    match part["type"]:
        case "text":
            text = {"type": "input_text", "text": part["text"]}
            return {**text, _BREAKPOINT: part[_BREAKPOINT]} if _BREAKPOINT in part else text
        case "image_url":
            return {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}
        case _:
            return {"type": "input_file", **part["file"]}
