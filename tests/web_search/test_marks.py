"""Marks become citations, however the text is cut."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.web_search.marks import MarkReader, Piece
from support.providers.messages_app import MessagesApp, call, text
from web_search.searching import ask, message, request

pytestmark = pytest.mark.anyio


def read(words: str, *cuts: int) -> list[tuple[str, Any]]:
    """The pieces, texts joined."""
    reader = MarkReader(range(1, 6))
    pieces: list[Piece] = []
    at = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(words)), len(words)]:
        pieces += reader.feed(words[at:cut])
        at = cut
    pieces += reader.finish()
    told: list[tuple[str, Any]] = []
    for piece in pieces:
        if piece.kind == "text" and told and told[-1][0] == "text":
            told[-1] = ("text", told[-1][1] + piece.text)
        elif piece.kind != "line" or not (told and told[-1][0] == "line"):
            told.append((piece.kind, piece.text if piece.kind == "text" else piece.numbers))
    return told


TEXTS = [
    ("Lit in 1698 [1].", [("text", "Lit in 1698"), ("cite", (1,)), ("text", ".")]),
    ("Lit[1, 2][3]", [("text", "Lit"), ("cite", (1, 2)), ("cite", (3,))]),
    ("Lit  [1]", [("text", "Lit"), ("cite", (1,))]),
    ("a [9] b", [("text", "a [9] b")]),
    ("a [9, 1] b", [("text", "a"), ("cite", (1,)), ("text", " b")]),
    ("a [1](https://x) b [1]: c", [("text", "a [1](https://x) b [1]: c")]),
    ("`args[1]` and args `[1]", [("text", "`args[1]` and args `[1]")]),
    ("`x` is it [1]", [("text", "`x` is it"), ("cite", (1,))]),
    ("```\na[1]\n```\nb [1]", [("text", "```\n"), ("line", ()), ("text", "a[1]\n"), ("line", ()), ("text", "```\n"),
                               ("line", ()), ("text", "b"), ("cite", (1,))]),
    ("a `b\nc [1]", [("text", "a `b\n"), ("line", ()), ("text", "c"), ("cite", (1,))]),
    ("[1] Source", [("text", "[1] Source")]),
    ("a\n  [1] Source", [("text", "a\n"), ("line", ()), ("text", "  [1] Source")]),
    ("a [", [("text", "a [")]),
    ("a [1", [("text", "a [1")]),
    ("[[1]]", [("text", "["), ("cite", (1,)), ("text", "]")]),
    ("x [0] [00001] [-1] [1.5]", [("text", "x [0] [00001] [-1] [1.5]")]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "pieces"), TEXTS, ids=[words for words, _ in TEXTS])
def test_marks(words: str, pieces: Any) -> None:
    assert read(words) == pieces
    assert read(words, *range(len(words))) == pieces
    for cut in range(len(words)):
        assert read(words, cut) == pieces, cut


@given(st.text("a [1],2(:`\n", max_size=40), st.lists(st.integers(0, 40)))
def test_cuts_change_nothing_and_no_text_is_lost(words: str, cuts: list[int]) -> None:
    pieces = read(words, *cuts)
    assert pieces == read(words)
    kept = "".join(value for kind, value in pieces if kind == "text")
    left = [value for kind, value in pieces if kind == "cite"]
    assert len(kept) + sum(2 + len(value) for value in left) <= len(words)
    assert left or kept == words


def test_work_is_linear() -> None:
    import time

    for piece in (" ", "[1", "[1] ", "`", "\n", "[1,", "[" * 7):
        reader = MarkReader(range(1, 6))
        started = time.process_time()
        for _ in range(20_000):
            reader.feed(piece)
        reader.finish()
        assert time.process_time() - started < 5, piece


async def blocks(words: str, size: int) -> list[dict[str, Any]]:
    app = MessagesApp([call("web_search", query="q")], [text(words)], size=size)
    content: list[dict[str, Any]] = message(await ask(app, request(stream=True)))["content"]
    return [{**b, "citations": [c["title"] for c in b.get("citations", ())]} for b in content if b["type"] == "text"]


async def test_block_is_what_a_citation_stands_for() -> None:
    words = "Two facts:\n\n- One [1]\n- Two [2][1].\n\nThe rest\n"
    expected = [
        ("Two facts:\n\n", []), ("- One", ["Eddystone"]), ("\n- Two", ["The sea", "Eddystone"]), (".\n\n", []),
        ("The rest\n", []),
    ]  # fmt: skip
    for size in (1, 9, 1 << 20):
        assert [(b["text"], b["citations"]) for b in await blocks(words, size)] == expected


async def test_blank_behind_the_last_citation_is_no_block() -> None:
    assert [b["text"] for b in await blocks("One [1]\n", 1 << 20)] == ["One"]


async def test_random_texts_are_the_same_whole_and_streamed() -> None:
    chance = random.Random(1)  # noqa: S311
    for _ in range(30):
        words = "x" + "".join(chance.choice(["a", " ", "[1]", "[2, 1]", "\n", "`", ". ", "[7]"]) for _ in range(30))
        app = MessagesApp([call("web_search", query="q")], [text(words)])
        whole = [b for b in message(await ask(app, request()))["content"] if b["type"] == "text"]
        told = [{**b, "citations": [c["title"] for c in b.get("citations", ())]} for b in whole]
        assert told == await blocks(words, 11)
