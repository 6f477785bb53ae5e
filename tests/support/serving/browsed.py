"""The inspector's page in a browser, whose every problem is one of the test."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def opened(browser: "Browser", url: str, key: str | None = None, *, path: str = "/ui") -> "Iterator[Page]":
    """The page of a proxy. Nothing may go wrong in it, and nothing may be asked of another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    if key is not None:
        context.add_init_script(f"sessionStorage.setItem('cc-boost.key', {json.dumps(key)})")
    page = context.new_page()
    page.set_default_timeout(20_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: problems.append(request.url))
    page.goto(url + path)
    try:
        yield page
    finally:
        context.close()
    # What chromium says to a status of 401 or 409, and to the HTML that a test tries to set.
    expected = (url, "blob:", "Failed to load resource: ", "This document requires 'TrustedHTML'")
    assert [problem for problem in problems if not problem.startswith(expected)] == []


def wait_until(page: "Page", expression: str) -> None:
    """Ask until it is true. Playwright's own ``wait_for_function`` asks again by ``eval``, which the page forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)
