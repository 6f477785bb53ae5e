"""Shortening of long texts, with a mark in place of the removed part."""


def cut_middle(text: str, limit: int) -> str:
    """The text, or its beginning and end with a mark between if it is over ``limit`` characters."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - limit} characters left out ...]\n{text[-tail:]}"
