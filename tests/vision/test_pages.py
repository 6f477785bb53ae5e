"""PDFs as pages: limits of what is read, and what is remembered."""

import base64
import sys
import time

import pytest

from ccproxy_middleware.vision.pages import PageReader
from support.pdfs import base64_of, make_pdf, slow

pytestmark = pytest.mark.anyio


async def test_pages_without_text_are_drawn_and_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PageReader()
    data = base64_of(make_pdf("one", ""))
    first, second = await reader.pages(data)
    assert (first.text, first.picture) == ("one", None)
    assert second.picture is not None
    assert base64.b64decode(second.picture.source["data"]).startswith(b"\x89PNG")
    monkeypatch.setattr(sys, "executable", "")  # no other process can be started
    assert (await reader.pages(data))[1] is second


async def test_pdf_with_text_on_each_page_stays() -> None:
    assert await PageReader().pages(base64_of(make_pdf("one", "two"))) == ()


async def test_pages_over_the_limit_are_told_of() -> None:
    pages = await PageReader().pages(base64_of(make_pdf(*[""] * 22)))
    assert [page.picture is not None for page in pages] == [True] * 20 + [False] * 2
    assert pages[21].text == "[page 22 has no text]"


async def test_hostile_pdf_takes_no_longer_than_it_may() -> None:
    reader = PageReader()
    reader.seconds, reader.patience = 1, 2.0
    started = time.monotonic()
    assert await reader.scans([base64_of(slow("pages"))]) == {}
    assert time.monotonic() - started < 30
