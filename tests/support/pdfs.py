"""PDFs for tests, good ones and hostile ones, and the processes that read them."""

import base64
import io
import zlib
from pathlib import Path

import pypdf


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


def hostile(content: bytes, times: int, salt: str = "") -> bytes:
    """A small PDF with one page whose contents are this, many times over."""
    pdf = make_pdf(f"{salt}%", compress=True)
    start, end = pdf.index(b"5 0 obj"), pdf.index(b"xref")
    stream = zlib.compress(b"BT /F1 12 Tf " + content * times + b"ET %" + salt.encode())
    page = b"5 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(stream) + stream
    return pdf[:start] + page + b"\nendstream\nendobj\n" + pdf[end:]


def slow(salt: str = "") -> bytes:
    """One whose only page takes a minute."""
    form = zlib.compress(b"BT /F1 12 Tf " + b"(a)Tj " * 20_000 + b"ET")
    pdf = hostile(b"/X Do ", 1_000, salt).replace(b"/F1 3 0 R >>", b"/F1 3 0 R >> /XObject << /X 9 0 R >>")
    extra = b"9 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /Font << /F1 3 0 R >> >> "
    extra += b"/Filter /FlateDecode /Length %d >>\nstream\n" % len(form) + form + b"\nendstream\nendobj\n"
    return pdf[: pdf.index(b"xref")] + extra + b"trailer\n<< /Root 1 0 R >>\n%%EOF"


def base64_of(pdf: bytes) -> str:
    return base64.b64encode(pdf).decode()


def children(pid: int | str = "self") -> set[str]:
    """The processes that a process has started and that still run. Linux only."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for number in _text(thread).split():
            status = _text(Path(f"/proc/{number}/stat"))
            if status and status.rpartition(")")[2].split()[0] != "Z":
                found.add(number)
    return found


def _text(file: Path) -> str:
    """Threads and processes may end while their files are read."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
