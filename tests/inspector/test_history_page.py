"""The page with a history and what was used over days, in a real browser."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ccproxy_middleware import FormatConversionMiddleware, InspectorMiddleware
from support.asgi import Inner
from support.serving.browsed import opened, wait_until
from support.serving.inspected import Inspected, client
from support.serving.kept import Group, MemoryHistory
from support.serving.servers import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

OPENAI = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'


class Used:
    """Three days, two models."""

    async def groups(self, by: str, since: datetime | None = None) -> Sequence[Group]:
        if by != "day":
            return [Group(f"<b>{by}</b> one", cost=Decimal("3.5")), Group(None, cost=Decimal(0), unpriced=1)]
        today = datetime.now().astimezone().date()
        return [Group((today - timedelta(days=n)).isoformat(), cost=Decimal(n) / 3) for n in (6, 2, 0)]


async def budgets() -> list[dict[str, Any]]:
    reset = (datetime.now(UTC) + timedelta(hours=3)).timestamp()
    return [
        {"key": "ana", "period": "daily", "spent": 1.7, "cap": 2.0, "reset": reset},
        {"key": "ben", "period": "monthly", "spent": 61.0, "cap": 60.0, "reset": reset},
    ]


@pytest.fixture(scope="module")
def proxy() -> Iterator[Inspected]:
    """An inspector that remembers two exchanges and keeps all; no key is needed."""
    model = InspectorMiddleware(Inner(OPENAI), provider="provider")
    app = InspectorMiddleware(
        FormatConversionMiddleware(model), max_exchanges=2, history=MemoryHistory(), usage=Used(), budgets=budgets
    )
    with serve(app) as server, client(server.url, None) as inspector:
        for n in range(4):
            message = {"role": "user", "content": f"words number n{n}"}
            inspector.ask({"model": "m", "max_tokens": 9, "messages": [message]})
        yield inspector


@pytest.fixture
def page(browser: "Browser", proxy: Inspected) -> "Iterator[Page]":
    with opened(browser, proxy.url) as page:
        page.wait_for_selector("tbody tr")
        yield page


def rows(page: "Page") -> list[str]:
    return [row.inner_text() for row in page.query_selector_all("tbody tr:visible .said")]


def test_earlier_exchanges_are_shown_and_opened(page: "Page") -> None:
    assert rows(page) == ["words number n3", "words number n2"]
    page.click("#earlier-button")
    page.wait_for_selector("tbody tr >> text=words number n0")
    assert rows(page) == [f"words number n{n}" for n in (3, 2, 1, 0)]
    assert page.inner_text("#earlier-told") == "That is all that is kept."
    page.click("tbody tr >> text=words number n0")
    page.wait_for_selector(".turn.user >> text=words number n0")
    assert page.inner_text(".answer > .words") == "Hi"
    page.click(".menu >> text=Save")
    assert page.query_selector(".menu >> text=Request case") is None  # of the history none can be made
    page.keyboard.press("k")
    page.wait_for_selector(".turn.user >> text=words number n1")


def test_history_is_searched_by_the_words_of_the_filter(page: "Page") -> None:
    page.fill("#filter", "n1")
    wait_until(page, "document.querySelector('#earlier-button').textContent.includes('“n1”')")
    page.click("#earlier-button")
    page.wait_for_selector("tbody tr:visible >> text=words number n1")
    assert rows(page) == ["words number n1"]
    page.fill("#filter", "number")
    wait_until(page, "document.querySelectorAll('tbody tr').length === 2")  # what other words have found is gone


def test_link_opens_what_is_kept(browser: "Browser", proxy: Inspected) -> None:
    oldest = proxy.http.get("/ui/api/history").json()["exchanges"][-1]["id"]
    with opened(browser, proxy.url, path=f"/ui/#{oldest}") as page:
        page.wait_for_selector(".turn.user >> text=words number n0")


def test_days_are_shown(page: "Page") -> None:
    page.click("#days > summary")
    page.wait_for_selector("#usage .columns")
    page.select_option("#usage select", "7")
    wait_until(page, "document.querySelectorAll('#usage figure:first-child .column').length === 7")
    assert page.inner_text("#usage figure:first-child figcaption") == "Cost US dollars per day\n$2.67 in all"
    heights = page.evaluate("""[...document.querySelectorAll("#usage figure:first-child .of")]
      .map((part) => part.style.height)""")
    assert heights == ["100%", "0%", "0%", "0%", f"{100 / 3:.4f}%", "0%", "0%"]
    assert "<b>model</b> one" in page.inner_text("[aria-label='By model']")
    assert page.inner_text("[aria-label='By agent'] tbody tr:last-child").split("\t")[-1] == "–"
    meters = page.query_selector_all(".budget")
    assert [meter.get_attribute("aria-valuetext") for meter in meters] == ["$1.70 of $2.00", "$61.00 of $60.00"]
    assert page.evaluate("[...document.querySelectorAll('.budget > div')].map((part) => part.style.width)") == [
        "85%",
        "100%",
    ]
    for width in (1280, 375):
        page.set_viewport_size({"width": width, "height": 800})
        wait_until(page, "document.documentElement.scrollWidth <= innerWidth")
