"""What is read of documents, and that no document can hold up or fill up the process that serves."""

import base64
import os
import sys
from pathlib import Path

import anyio
import pytest

from ccproxy_middleware import FormatConversionMiddleware
from ccproxy_middleware.conversion.counting import pdf_process, pdf_program
from ccproxy_middleware.conversion.counting.document_reader import DocumentReader
from ccproxy_middleware.conversion.counting.documents import (
    Documents,
    DocumentToRead,
    Reading,
    Readings,
    Unreadable,
    pdf_pages,
    pdf_text,
)
from ccproxy_middleware.conversion.counting.pdf_program import MAX_CHARACTERS
from ccproxy_middleware.toolkit.errors import ApiError
from support.asgi import Inner, call, http_scope
from support.pdfs import base64_of, children, encrypted, hostile, make_pdf, slow
from support.serving.servers import eventually

pytestmark = pytest.mark.anyio


async def read(pdf: bytes | str, reader: DocumentReader | None = None) -> Reading:
    data = pdf if isinstance(pdf, str) else base64_of(pdf)
    return await (reader or DocumentReader()).convert(lambda: pdf_text(data))


@pytest.mark.parametrize("compress", [False, True])
async def test_text_of_all_pages_is_read(compress: bool) -> None:
    assert await read(make_pdf("one", "two", compress=compress)) == "one\n\ntwo"


async def test_text_is_read_when_the_cross_references_are_missing() -> None:
    pdf = make_pdf("repaired")
    assert await read(pdf[: pdf.index(b"xref")] + b"trailer<</Root 1 0 R>>\n%%EOF") == "repaired"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no PDF",
        b"%PDF-1.4\n",
        b"%PDF-1.4\n" + b"\xff" * 1000,
        make_pdf("cut")[:300],
        make_pdf(" "),
        make_pdf(),
        encrypted("a password"),
        make_pdf("loop").replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]"),
        hostile(b"[", 100_000),
        "no base64",
        "é",
        base64_of(make_pdf("x" * 2000)) + "é",
        "=" * 3000,
        "A" * 1365 + "=" * 2000,
    ],
    ids=lambda data: repr(data[:12]),
)
async def test_there_is_no_text_when_none_can_be_read(data: bytes | str) -> None:
    assert await read(data) is Unreadable.NO_TEXT


async def test_text_is_cut_when_it_is_long() -> None:
    text = await read(make_pdf(*["x" * 1500] * 200))
    assert isinstance(text, str)
    assert text.endswith(" of 200]")
    assert MAX_CHARACTERS < len(text) < MAX_CHARACTERS + 100


def test_pages_are_cut_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_program, "MAX_PAGES", 2)
    assert pdf_program.read(make_pdf("p", "q", "r")) == "p\n\nq\n\n[cut here: 2 of 3 pages were read]"


def test_text_has_nothing_that_json_cannot_take() -> None:
    assert pdf_program.clean(" a\0\ud83d\ude00\ud83d\n") == "a\U0001f600\ufffd"


@pytest.mark.parametrize(
    ("pdf", "limits"),
    [
        (slow(), {"seconds": 1}),
        (slow(), {"patience": 0.5}),
        (hostile(b"(a)Tj ", 2_000_000), {"memory": 100 * 1024 * 1024}),
    ],
    ids=["time of the processor", "time", "memory"],
)
async def test_document_is_left_out_when_it_costs_too_much(pdf: bytes, limits: dict[str, float]) -> None:
    reader = DocumentReader()
    for name, value in limits.items():
        setattr(reader, name, value)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.01)
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(turn)
        assert await read(pdf, reader) is Unreadable.TOO_COSTLY
        group.cancel_scope.cancel()
    assert turns > 5  # the event loop has gone on
    reader.seconds, reader.patience = 0, 0.0
    assert await read(pdf, reader) is Unreadable.TOO_COSTLY  # it is remembered, and not tried again


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into Linux's /proc")
async def test_no_process_is_left_when_the_request_is_cancelled() -> None:
    before = children()
    reader = DocumentReader()
    async with anyio.create_task_group() as group:
        group.start_soon(read, slow(), reader)
        await eventually(lambda: len(children() - before) == 1, limit=30)
        group.cancel_scope.cancel()
    await eventually(lambda: not children() - before, limit=30)
    assert await read(make_pdf("next"), reader) == "next"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into Linux's /proc")
async def test_few_processes_read_at_once_and_all_requests_are_answered() -> None:
    before = children()
    reader = DocumentReader()
    reader.seconds = 1
    readings: list[Reading] = []
    most = 0

    async def one(salt: str) -> None:
        readings.append(await read(slow(salt), reader))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, str(number))
        while len(readings) < 4:
            most = max(most, len(children() - before))
            await anyio.sleep(0.01)
    assert readings == [Unreadable.TOO_COSTLY] * 4
    assert most == reader.at_once == 2


async def test_request_is_refused_when_its_documents_are_not_read_in_time_and_finds_them_read_later() -> None:
    reader = DocumentReader()
    reader.limit = 0.0
    with pytest.raises(ApiError, match=r"documents were not read within 0 s\. .*try again") as refused:
        await read(make_pdf("late"), reader)
    assert (refused.value.status, refused.value.type) == (529, "overloaded_error")
    reader.limit = 30.0
    assert await read(make_pdf("late"), reader) == "late"


async def test_request_is_refused_when_no_process_can_be_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = DocumentReader()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(ApiError, match="no process can be started") as refused:
        await read(make_pdf("a"), reader)
    assert refused.value.status == 529
    assert "no process can be started to read a document: No such file" in caplog.text
    monkeypatch.undo()
    assert await read(make_pdf("a"), reader) == "a"


@pytest.mark.parametrize("what", ["no executable", "a frozen program", "another program"])
async def test_there_is_no_text_when_there_is_no_python_to_read_it(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    if what == "no executable":
        monkeypatch.setattr(sys, "executable", "")
    elif what == "a frozen program":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        broken = tmp_path / "program.py"
        broken.write_text("raise SystemExit(7)")
        monkeypatch.setattr(pdf_process, "_PROGRAM", str(broken))
    reader = DocumentReader()
    assert [await read(make_pdf(page), reader) for page in "ab"] == [Unreadable.NO_TEXT] * 2
    assert caplog.text.count("PDFs can't be read") == 1


async def test_there_is_no_text_when_pypdf_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    assert await read(make_pdf("never read")) is Unreadable.NO_TEXT


async def test_process_that_reads_knows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-provider-key")
    spy = tmp_path / "spy.py"
    spy.write_text("import os; print(dict(os.environ))")
    monkeypatch.setattr(pdf_process, "_PROGRAM", str(spy))
    told = await read(make_pdf("a"))
    assert isinstance(told, str)
    assert "PATH" in told
    assert "planted" not in told
    assert os.environ["OPENAI_API_KEY"] == "planted-provider-key"


async def test_documents_are_read_once_when_they_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = DocumentReader()
    conversions: list[list[Reading]] = []
    data = [base64_of(make_pdf(page)) for page in ("one", "two", "one")]

    def convert() -> str:
        conversions.append([pdf_text(pdf) for pdf in data])
        return "converted"

    assert await reader.convert(convert) == "converted"
    assert conversions == [[Unreadable.NO_TEXT] * 3, ["one", "two", "one"]]
    monkeypatch.setattr(sys, "executable", "")
    assert await reader.convert(convert) == "converted"
    assert conversions[2:] == [["one", "two", "one"]]


def test_what_is_remembered_is_bounded_in_bytes() -> None:
    readings = Readings(max_bytes=10_000)
    for number in range(100):
        readings.put(b"%d" % number, "x" * 2_000)
        readings.put(b"%d" % number, "y" * 1_000)
        readings.get(b"0")
    assert readings.size <= 10_000
    assert readings.get(b"0") == readings.get(b"99") == "y" * 1_000
    assert readings.get(b"50") is None
    for number in range(100):
        readings.put(b"none %d" % number, Unreadable.NO_TEXT)
    assert readings.size <= 10_000
    readings.put(b"large", "z" * 20_000)
    assert (readings.get(b"large"), readings.size) == (None, 0)


def test_text_is_known_for_the_whole_request_when_it_is_forgotten_meanwhile() -> None:
    data = base64_of(make_pdf("a"))
    documents = Documents(Readings(max_bytes=1))
    documents.during(lambda: pdf_text(data))
    (digest,) = documents.unread
    documents.tell(digest, "a")
    assert documents.during(lambda: pdf_text(data)) == "a"
    assert not documents.unread


def test_nobody_is_asked_for_a_text_outside_of_a_request() -> None:
    with pytest.raises(DocumentToRead):
        pdf_text(base64_of(make_pdf("a")))


async def test_layer_reads_documents_alone_and_says_the_same_in_every_turn() -> None:
    inner = Inner(b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}')
    app = FormatConversionMiddleware(inner, provider="ollama")
    app._documents.seconds = 1
    sources = [
        {"type": "base64", "media_type": "application/pdf", "data": base64_of(pdf)}
        for pdf in (make_pdf("a page"), slow(), make_pdf())
    ]
    content = [{"type": "document", "source": source} for source in sources]
    request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": content}]}
    for _ in range(2):
        assert (await call(app, http_scope("POST", "/v1/messages"), request)).status == 200
    assert inner.bodies[0] == inner.bodies[1]
    assert inner.json()["messages"][0]["content"].split("\n\n") == [
        "<document>\na page\n</document>",
        "[document omitted: to read it takes too much time or memory]",
        "[document omitted: no text could be read from it]",
    ]
    counted = {"model": "m", "messages": request["messages"]}
    assert (await call(app, http_scope("POST", "/v1/messages/count_tokens"), counted)).json()["input_tokens"] > 20


@pytest.mark.parametrize("pages", [1, 2, 7])
def test_pages_are_counted_by_their_objects(pages: int) -> None:
    encoded = base64.b64encode(make_pdf(*["x"] * pages)).decode()
    assert pdf_pages(encoded) == pages
    assert pdf_pages("data:application/pdf;base64," + encoded) == pages


@pytest.mark.parametrize("data", ["", "data:application/pdf;base64,", "no base64!", "é", "AAAA"])
def test_there_is_one_page_at_least(data: str) -> None:
    assert pdf_pages(data) == 1
