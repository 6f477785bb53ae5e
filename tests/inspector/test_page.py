"""The page in a real browser, in front of a real proxy."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ccproxy_middleware.inspector.pages import Pages
from support.providers.scripted import Answer, Failure, Reply, ScriptedProvider, ToolCall, error_body
from support.serving.boosted import boosted, question
from support.serving.browsed import opened, wait_until
from support.serving.inspected import KEY, MESSAGE, STREAM, Inspected, client, inspected

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
NAME = "<b>claude</b>-opus\"'"


def script(body: dict[str, Any]) -> Answer:
    text = body["messages"][-1]["content"]
    match text:
        case "fail":
            return Failure(429, error_body("Slow down", code="rate_limit_exceeded"))
        case "hostile":
            return Reply(HOSTILE, [ToolCall("Read", {"path": HOSTILE})])
        case "slow":
            return Reply(["a", "b", "c", "d"], delay=0.3)
    return Reply(["Hello ", "there"], delay=0.01)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {**STREAM, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Inspected]:
    """A proxy with a few exchanges in it."""
    with inspected(ScriptedProvider(script), small_model="tiny") as inspector:
        inspector.ask(said("hello", metadata={"user_id": "planted-user"}, top_k=7))
        inspector.ask(said("hello", model="claude-haiku-4-5"))
        inspector.ask(said("fail", model="claude-sonnet-4-6"))
        inspector.ask(MESSAGE)
        inspector.listed()
        yield inspector


@pytest.fixture
def page(browser: "Browser", proxy: Inspected) -> "Iterator[Page]":
    """The page of a viewer who has given the key."""
    with opened(browser, proxy.url, key=KEY) as page:
        page.wait_for_selector("tbody tr")
        yield page


def rows(page: "Page") -> list[str]:
    return [row.inner_text() for row in page.query_selector_all("tbody tr:visible")]


def test_key_is_asked_for_and_a_wrong_one_refused(browser: "Browser", proxy: Inspected) -> None:
    with opened(browser, proxy.url) as page:
        page.wait_for_selector("#key-input:focus")
        assert page.query_selector("#overview:visible") is None
        page.fill("#key-input", "wrong")
        page.click("text=Show the exchanges")
        page.wait_for_selector("text=This key was not accepted.")
        page.fill("#key-input", KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("tbody tr")
        assert page.input_value("#key-input") == ""
        page.reload()
        page.wait_for_selector("tbody tr")  # this tab knows it


def test_admin_key_opens_the_page_and_a_clients_key_does_not(browser: "Browser") -> None:
    settings = {"anthropic_api_key": f"{KEY},other", "admin_api_key": "admin-key"}
    with inspected(ScriptedProvider(script), **settings) as proxy, opened(browser, proxy.url) as page:
        with client(proxy.url) as ann:
            assert ann.ask(said("hello")).status_code == 200
        page.wait_for_selector("#key-input:focus")
        assert "ADMIN_API_KEY" in page.inner_text("#key")
        page.fill("#key-input", KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=This key was not accepted.")
        page.fill("#key-input", "admin-key")
        page.keyboard.press("Enter")
        page.wait_for_selector("tbody tr")
        page.fill("#filter", "key 1")
        page.wait_for_selector("tbody tr:visible")
        page.fill("#filter", "nobody")
        page.wait_for_selector("tbody tr", state="hidden")


def test_page_says_what_to_set_where_there_are_several_keys(browser: "Browser") -> None:
    context = browser.new_context()
    with inspected(ScriptedProvider(script), anthropic_api_key=f"{KEY},other") as proxy:
        page = context.new_page()
        answer = page.goto(f"{proxy.url}/ui/")
        assert answer is not None
        assert answer.status == 403
        assert "set ADMIN_API_KEY and restart" in page.inner_text("body")
    context.close()


def test_list_shows_what_is_there_and_what_comes(page: "Page", proxy: Inspected) -> None:
    page.wait_for_selector("#connection[data-state=live]")
    assert page.query_selector_all("#charts canvas")
    before = rows(page)
    assert "claude-opus-4-8" in before[-1]
    assert "→ gpt-4o" in before[-1]
    assert "429 failed" in "".join(before)
    asking = threading.Thread(target=lambda: proxy.ask(said("slow")))
    asking.start()
    page.wait_for_selector("tbody tr.running:first-child")
    page.wait_for_selector("tbody tr.ok:first-child")
    asking.join()
    assert len(rows(page)) == len(before) + 1


def told(**more: str) -> dict[str, str]:
    return {f"x-claude-code-{name.replace('_', '-')}": value for name, value in more.items()}


def test_tree_shows_each_agent_below_the_one_that_called_it(browser: "Browser") -> None:
    with inspected(ScriptedProvider(script)) as proxy:
        here = {"session_id": "session-1", "prompt_id": "prompt-1"}
        proxy.ask(said("hello"), **told(**here, request_class="main"))
        child = {**here, "request_class": "subagent", "agent_type": "Explore", "agent_id": "agent-1"}
        proxy.ask(said("hello"), **told(**child))
        proxy.ask(said("hello"), **told(**{**child, "agent_id": "agent-2"}, parent_agent_id="agent-1"))
        circle = {**child, "prompt_id": HOSTILE}
        proxy.ask(said("hello"), **told(**{**circle, "agent_id": "x"}, parent_agent_id="y"))
        proxy.ask(said("hello"), **told(**{**circle, "agent_id": "y"}, parent_agent_id="x"))
        proxy.listed()
        with opened(browser, proxy.url, key=KEY) as page:
            page.wait_for_selector("tbody tr")
            page.select_option("#order", "tree")
            page.wait_for_selector("#tree:visible")
            assert page.query_selector("#list:visible") is None
            names = [element.inner_text() for element in page.query_selector_all("#tree summary")]
            assert [re.split(r"\s", name)[0] for name in names] == [
                *("Session", "hello", "Explore", "Explore", "Prompt", "Explore", "Explore"),
            ]
            nested = page.query_selector_all("#tree summary:has-text('agent-1') ~ ul summary")
            assert ["agent-2" in element.inner_text() for element in nested] == [True]
            assert len(page.query_selector_all("#tree button[data-key]")) == 5  # those of the circle are there too
            page.fill("#filter", "agent-2")
            assert len(page.query_selector_all("#tree button[data-key]")) == 1
            page.click("#tree button[data-key]")
            page.wait_for_selector("#detail .facts dd:text-is('subagent, Explore agent-2')")


def test_filter_leaves_what_fits(page: "Page") -> None:
    everything = len(rows(page))
    page.keyboard.press("/")
    page.keyboard.type("haiku tiny")
    assert len(rows(page)) == 1
    assert page.inner_text("#count") == f"1 of {everything}"
    page.keyboard.type(" nothing")
    page.click("text=Clear the filter")
    assert len(rows(page)) == everything
    page.select_option("#status", "failed")
    assert all("429" in row for row in rows(page))
    page.select_option("#status", "")
    page.select_option("#tier", "MIDDLE_MODEL")
    assert all("claude-sonnet" in row for row in rows(page))


def test_keys_lead_everywhere(page: "Page", proxy: Inspected) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    ids = [exchange["id"] for exchange in reversed(proxy.listed())]
    focused = "document.activeElement.dataset.id"
    page.keyboard.press("j")
    assert page.evaluate(focused) == ids[0]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate(focused) == ids[1]
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail:visible")
    assert page.url.endswith(f"#{ids[1]}")
    page.keyboard.press("j")
    page.click("text=Ids and more")
    page.wait_for_selector(f"#detail .facts dd:text-is('{ids[2]}')")
    assert page.url.endswith(f"#{ids[2]}")
    page.keyboard.press("Escape")
    page.wait_for_selector("#overview:visible")
    assert page.evaluate(focused) == ids[2]
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"


def test_both_sides_stand_side_by_side(page: "Page") -> None:
    page.click("tbody tr:last-child")
    page.click("[role=tab] >> text=Request")
    left, right = page.query_selector_all('[aria-label="Request"] .sides > div')
    assert "POST /v1/messages" in left.inner_text()
    assert "planted-user" in left.inner_text()
    assert "POST /v1/chat/completions" in right.inner_text()
    assert "include_usage" in right.inner_text()
    marked = [element.inner_text() for element in page.query_selector_all(".only")]
    assert any("planted-user" in text for text in marked)
    assert any("include_usage" in text for text in marked)
    assert not any("hello" in text for text in marked)
    page.click("text=Next difference")
    assert page.evaluate("document.activeElement.matches('.only')")
    assert "top_k" in page.inner_text("text=What the conversion decided >> xpath=ancestor::details")
    page.keyboard.press("3")
    pairs = [row.inner_text() for row in page.query_selector_all(".timeline > li")]
    assert any("Hello" in pair and "content_block_delta" in pair and "delta" in pair for pair in pairs)
    page.click(".timeline summary:has-text('message_delta')")
    page.wait_for_selector(".timeline .json >> text=stop_reason")


def test_hostile_output_is_only_text(page: "Page", proxy: Inspected) -> None:
    proxy.ask(said("hostile", model=NAME))
    page.wait_for_selector("tbody tr:first-child >> text=<b>claude</b>")
    assert page.query_selector("tbody b") is None
    page.click("tbody tr:first-child")
    page.wait_for_selector("#detail:visible .call")
    assert HOSTILE in page.inner_text(".answer")
    page.keyboard.press("3")
    page.wait_for_selector("#detail:visible .timeline")
    page.evaluate("document.querySelectorAll('.timeline summary').forEach((summary) => summary.click())")
    page.wait_for_selector(".timeline .json")
    assert "onerror" in page.inner_text("#detail")
    assert page.query_selector("#detail img, #detail script") is None
    assert page.title() == "cc-boost inspector"
    refused = "try { document.body.innerHTML = 'x'; false } catch (error) { error instanceof TypeError }"
    assert page.evaluate(refused)


def test_replay_opens_the_new_exchange(page: "Page", proxy: Inspected) -> None:
    before = len(proxy.listed())
    page.click("tbody tr:last-child")
    original = proxy.listed()[0]["id"]
    page.click("button:text-is('Replay')")
    page.wait_for_selector(f"dt:text-is('Replay of') + dd >> text={original}")
    assert len(proxy.listed()) == before + 1
    assert proxy.listed()[-1]["replay_of"] == original


def test_exchange_is_saved_and_copied(page: "Page", proxy: Inspected, tmp_path: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("tbody tr:last-child")
    page.wait_for_selector("#detail:visible")
    for of, kind in (("Request", "request"), ("Answer", "stream")):
        with page.expect_download() as download:
            page.click(".menu >> text=Save")
            page.click(f"text={of} case")
        download.value.save_as(tmp_path / "case.json")
        assert json.loads((tmp_path / "case.json").read_text())["kind"] == kind
    page.click("text=Copy as curl")
    page.wait_for_selector("#message >> text=Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl {proxy.url}/v1/messages \\\n")
    assert '"x-api-key: $ANTHROPIC_API_KEY"' in copied


def test_row_tells_itself_apart_and_is_found_by_its_words(page: "Page", proxy: Inspected) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "Grep", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "nothing"}
    told_of = told(session_id="session-of-mine", agent_id="agent-9", agent_type="Explore", request_class="subagent")
    words = [
        {"type": "text", "text": "<system-reminder>\nmind this\n</system-reminder>"},
        {"type": "text", "text": "Look for dates"},
    ]
    messages = [
        {"role": "user", "content": words},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    proxy.ask(said("", messages=messages), **told_of)
    page.fill("#filter", "look dates")
    row = page.wait_for_selector("tbody tr:visible >> text=Look for dates >> xpath=ancestor::tr")
    assert row is not None
    for part in ("Look for dates", "after Grep", "Explore agent-9", "session session-…", "key 1"):
        assert part in row.inner_text()
    for found in ("session-of-mine", "agent-9", "grep"):
        page.fill("#filter", found)
        assert len(rows(page)) == 1


def test_list_holds_still_while_it_is_paused(page: "Page", proxy: Inspected, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(rows(page))
    page.keyboard.press("p")
    page.wait_for_selector("#pause[aria-pressed=true] >> text=Paused")
    proxy.ask(said("while it is paused"))
    page.wait_for_selector("#pause >> text=Paused, 1 new")
    assert len(rows(page)) == before
    monkeypatch.setattr(Pages, "events_limit", 0.05)  # the page connects again, and gets the whole list
    monkeypatch.setattr(Pages, "heartbeat", 0.05)
    page.route("**/api/events*", lambda route: route.abort())
    page.wait_for_timeout(100)
    page.unroute("**/api/events*")
    proxy.ask(said("and once more"))
    page.wait_for_selector("#pause >> text=Paused, 2 new")
    page.click("#pause")
    page.wait_for_selector("tbody tr:first-child >> text=and once more")
    page.wait_for_selector("tbody tr:nth-child(2) >> text=while it is paused")
    assert page.inner_text("#pause") == "Pause"


def test_session_is_saved_as_one_file(page: "Page", proxy: Inspected, tmp_path: Path) -> None:
    here = told(session_id="one session/of two")
    for words in ("first", "second"):
        proxy.ask(said(words), **here)
    page.click("tbody tr >> text=second")
    with page.expect_download() as download:
        page.click(".menu >> text=Save")
        page.click("text=Whole session")
    assert download.value.suggested_filename == "session-one-session-of-two.json"
    download.value.save_as(tmp_path / "session.json")
    saved = json.loads((tmp_path / "session.json").read_text())
    assert (saved["format"], saved["version"], saved["session_id"]) == ("cc-boost session", 1, "one session/of two")
    assert [exchange["said"] for exchange in saved["exchanges"]] == ["first", "second"]
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.select_option("#order", "tree")
    with page.expect_download() as download:
        page.click("#tree summary:has-text('one sess') >> text=Export")
    download.value.save_as(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text())["exchanges"] == saved["exchanges"]


def test_keys_are_shown(page: "Page") -> None:
    page.keyboard.press("?")
    page.wait_for_selector("#keys-dialog:visible >> text=hold the list still")
    page.keyboard.press("p")
    assert page.inner_text("#keys-dialog button") == "Close"
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys-dialog", state="hidden")
    assert page.get_attribute("#pause", "aria-pressed") == "false"  # keys mean nothing behind the dialog


def test_head_stays_in_sight(page: "Page", proxy: Inspected) -> None:
    page.set_viewport_size({"width": 1280, "height": 300})
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    wait_until(page, "scrollY > 100")
    tops = "['.bar', 'thead th'].map((of) => Math.round(document.querySelector(of).getBoundingClientRect().top))"
    assert page.evaluate(tops) == [0, 48]
    page.click("tbody tr:last-child")
    page.wait_for_selector("#detail .answer")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    assert page.evaluate("Math.round(document.querySelector('.top').getBoundingClientRect().top)") == 48


def test_charts_have_legends_and_whole_labels(page: "Page") -> None:
    legends = [element.inner_text() for element in page.query_selector_all(".legend")]
    assert legends == ["all\nfailed", "mean of the minute", "19 of 20 within\nmedian"]
    assert [element.inner_text() for element in page.query_selector_all("figcaption > span:first-child")] == [
        "Requests per minute",
        "Output tokens per second",
        "Time to first byte",
    ]
    # Nothing is drawn at the very edge of a chart, as it is where a label is cut.
    edges = """[...document.querySelectorAll("#charts canvas")].map((canvas) => {
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(canvas, 0, 0);
      const { data: left } = copy.getImageData(0, 0, 1, canvas.height);
      const { data: right } = copy.getImageData(canvas.width - 1, 0, 1, canvas.height);
      return [...left, ...right].some((value) => value > 0);
    })"""
    assert page.evaluate(edges) == [False] * 3


def test_no_case_is_told_in_words(page: "Page", proxy: Inspected) -> None:
    proxy.ask({"model": "claude-opus-4-8"})
    page.wait_for_selector("tbody tr:first-child >> text=400 failed")
    page.click("tbody tr:first-child")
    page.keyboard.press("2")
    page.wait_for_selector("text=No request was sent to a provider.")
    page.click(".menu >> text=Save")
    page.click("text=Request case")
    page.wait_for_selector("#message.problem >> text=nothing was asked of the provider")


def test_boosted_exchange_has_a_tab_for_each_request(browser: "Browser") -> None:
    planner = ScriptedProvider([Reply("ANALYSIS: a\nGUIDANCE: call Read")])
    executor = ScriptedProvider([Reply("", [ToolCall("Read", {"path": "a.txt"})])])
    with (
        boosted(planner, executor, inspector=True) as boost,
        client(boost.url, None) as inspector,
        opened(browser, boost.url) as page,
    ):
        page.wait_for_selector("text=No exchange yet")
        assert f"ANTHROPIC_BASE_URL={boost.url} claude" in page.inner_text(".empty")
        inspector.ask(question(stream=True))
        page.click("tbody tr >> text=guidance")
        page.click("[role=tab] >> text=Request")
        page.click("[role=tab] >> text=planner")
        assert "Request to the planner" in page.inner_text("#detail")
        page.keyboard.press("ArrowRight")
        assert "Request to the executor" in page.inner_text("#detail")
        assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
        assert page.evaluate("document.activeElement.closest('.calls') !== null")


def test_lost_connection_is_seen_and_mended(page: "Page", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pages, "events_limit", 0.05)  # so that the page connects again and again
    monkeypatch.setattr(Pages, "heartbeat", 0.05)
    page.route("**/api/events*", lambda route: route.abort())
    page.reload()
    page.wait_for_selector("#connection >> text=Connection lost, trying again")
    page.unroute("**/api/events*")
    page.wait_for_selector("#connection[data-state=live]")
    page.wait_for_selector("tbody tr")


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const bad = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const chain = [];
    for (let up = element; up; up = up.parentElement) chain.unshift(getComputedStyle(up).backgroundColor);
    const back = chain.reduce((under, colour) => `rgb(${rgb(colour, under)})`, "white");
    const [a, b] = [light(rgb(getComputedStyle(element).color, back)), light(rgb(back, "white"))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${element.className || element.tagName} ${(a + 0.05) / (b + 0.05)}`);
  }
  return [...new Set(bad)];
}"""
UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea, a[href], [role]:not([role=status])")]
  .filter((e) => e.checkVisibility() && !(e.ariaLabel || e.labels?.length || e.innerText.trim()))
  .map((e) => e.outerHTML.slice(0, 99))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable(page: "Page", scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(247, 246, 243)", "dark": "rgb(22, 21, 19)"}[scheme]
    for view in ("#overview", "#detail .answer", "#detail [aria-label=Request]", "#detail [aria-label=Answer]"):
        page.wait_for_selector(f"{view}:visible")
        for width in (1280, 800, 375):
            page.set_viewport_size({"width": width, "height": 800})
            wait_until(page, "document.documentElement.scrollWidth <= innerWidth")  # charts follow a moment later
            assert page.evaluate(CONTRAST) == []
            assert page.evaluate(UNNAMED) == []
        if view == "#overview":
            page.keyboard.press("j")
            page.keyboard.press("Enter")
        else:
            page.keyboard.press("2" if view.endswith("answer") else "3")
