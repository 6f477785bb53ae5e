"""A browser for the tests of the page."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Chromium. Without it the test is skipped, or fails where CC_BOOST_REQUIRE_BROWSER=1."""
    if find_spec("playwright") is None:
        _missing("the package playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        _missing("there is no chromium; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CC_BOOST_REQUIRE_BROWSER") == "1":
        pytest.fail(f"CC_BOOST_REQUIRE_BROWSER is set, but {reason}")
    pytest.skip(reason)
