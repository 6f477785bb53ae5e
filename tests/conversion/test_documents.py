import base64
import io
import sys
import zlib

import pypdf
import pytest

from ccproxy_middleware.conversion import documents
from ccproxy_middleware.conversion.documents import MAX_CHARACTERS, pdf_pages, pdf_text


def make_pdf(*pages: str, compress: bool = False) -> bytes:
    """A PDF with one line of text on each page."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        contents = 5 + 2 * number
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {contents} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        extra = b""
        if compress:
            stream, extra = zlib.compress(stream), b" /Filter /FlateDecode"
        objects.append(b"<< /Length %d%s >>\nstream\n" % (len(stream), extra) + stream + b"\nendstream")
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, xref)


def encrypted(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(make_pdf("secret")))
    writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_text_of_all_pages_is_read(compress: bool) -> None:
    pdf = make_pdf("one", "two", compress=compress)
    assert pdf_text(pdf) == "one\n\ntwo"
    assert pdf_text(base64.b64encode(pdf).decode()) == "one\n\ntwo"


def test_text_is_read_when_the_cross_references_are_missing() -> None:
    pdf = make_pdf("repaired")
    assert pdf_text(pdf[: pdf.index(b"xref")] + b"trailer<</Root 1 0 R>>\n%%EOF") == "repaired"


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
        "no base64",
        "é",
    ],
)
def test_there_is_no_text_when_none_can_be_read(data: bytes | str) -> None:
    assert pdf_text(data) is None


def test_text_is_cut_when_it_is_long() -> None:
    text = pdf_text(make_pdf(*["x" * 1500] * 200))
    assert text is not None
    assert text.endswith(" of 200]")
    assert MAX_CHARACTERS < len(text) < MAX_CHARACTERS + 100


def test_pages_are_cut_when_there_are_many_or_they_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_MAX_PAGES", 2)
    assert pdf_text(make_pdf("p", "q", "r")) == "p\n\nq\n\n[cut here: 2 of 3 pages were read]"
    monkeypatch.setattr(documents, "_MAX_SECONDS", -1.0)
    assert pdf_text(make_pdf("s", "t")) is None


def test_a_document_is_read_once_when_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pdf = make_pdf("again")
    assert pdf_text(pdf) == "again"
    monkeypatch.setitem(sys.modules, "pypdf", None)
    assert pdf_text(pdf) == "again"


def test_few_documents_are_remembered() -> None:
    for number in range(documents._REMEMBERED + 5):
        pdf_text(b"%d" % number)
    assert len(documents._texts) == documents._REMEMBERED


def test_there_is_no_text_when_pypdf_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    assert pdf_text(make_pdf("never read before")) is None


@pytest.mark.parametrize("pages", [1, 2, 7])
def test_pages_are_counted_by_their_objects(pages: int) -> None:
    encoded = base64.b64encode(make_pdf(*["x"] * pages)).decode()
    assert pdf_pages(encoded) == pages
    assert pdf_pages("data:application/pdf;base64," + encoded) == pages


@pytest.mark.parametrize("data", ["", "data:application/pdf;base64,", "no base64!", "é", "AAAA"])
def test_there_is_one_page_at_least(data: str) -> None:
    assert pdf_pages(data) == 1
