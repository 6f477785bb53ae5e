"""Read a PDF. This is a program, not a module, since only a process that reads PDFs can be stopped and limited.

Usage: ``python -I -S pdf_program.py MODE SECONDS BYTES PATH...``: what to extract, the limits of CPU time and memory,
and where pypdf and pypdfium2 may be found. The PDF is read in base64 from standard input. Standard output: in mode
``text`` the text in UTF-8; in mode ``pages`` a JSON list with ``{"text": ...}`` for each page, or ``{"png": base64}``
for one without text, and an empty list if every page has text. Exit code 0, or one of those below. It imports nothing
from this package, so that it starts in a tenth of a second.
"""

import base64
import binascii
import io
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Any

NO_TEXT = 3
OUT_OF_MEMORY = 4

MAX_CHARACTERS = 200_000
MAX_PAGES = 1000
MAX_DRAWN = 20
LONG_SIDE = 1568  # maximum pixels of a rendered page: the resolution that models use


def main(mode: str, seconds: int, memory: int, path: list[str]) -> int:
    """Read standard input, write standard output, and return the exit code."""
    limit(seconds, memory)
    sys.path += path  # after Python's own modules
    out, sys.stdout = sys.stdout, sys.stderr  # anything printed meanwhile is not part of the document's text
    logging.disable()  # pypdf warns of every flaw of a file, which is of no interest here
    try:
        pdf = base64.b64decode(sys.stdin.buffer.read())
        text = json.dumps(pages(pdf)) if mode == "pages" else read(pdf)
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception:  # hostile files may raise anything
        return NO_TEXT
    out.buffer.write(text.encode())
    out.flush()
    return 0 if text.strip() else NO_TEXT


def limit(seconds: int, memory: int) -> None:
    """Limit the resources, be the first to be killed if memory is short, and give way to the serving process."""
    # These signals go to the whole group or container. The serving process stops this one if nobody waits for it.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if sys.platform == "win32":  # it has no such limits: there the caller's timeout is the only one
        return
    import resource

    with suppress(OSError):
        os.nice(10)
    limits = ((resource.RLIMIT_CORE, 0, 0), (resource.RLIMIT_CPU, seconds, seconds + 1))
    for kind, soft, hard in (*limits, (resource.RLIMIT_AS, memory, memory)):
        with suppress(ValueError, OSError):  # a lower limit is already in force, or the system has no such limit
            resource.setrlimit(kind, (soft, hard))


def read(pdf: bytes) -> str:
    """The text of all pages, up to one of the limits, where a line says so."""
    import pypdf

    if b"%PDF-" not in pdf[:1024]:
        raise binascii.Error
    if b"startxref" not in pdf[-2048:]:  # if it points nowhere, pypdf searches for the objects itself
        pdf += b"\nstartxref\n0\n%%EOF\n"
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    pages = len(reader.pages)
    texts: list[str] = []
    size = 0
    for number in range(pages):
        if number >= MAX_PAGES:
            return "\n\n".join(texts) + f"\n\n[cut here: {number} of {pages} pages were read]" if size else ""
        text = clean(reader.pages[number].extract_text())
        if text:
            texts.append(text)
            size += len(text) + 2
        if size > MAX_CHARACTERS:
            return "\n\n".join(texts)[:MAX_CHARACTERS] + f"\n\n[cut here, on page {number + 1} of {pages}]"
    return "\n\n".join(texts)


def pages(pdf: bytes) -> list[dict[str, str]]:
    """Each page's text, or its image if it has none; an empty list if every page has text."""
    import pypdfium2  # type: ignore[import-untyped]

    document = pypdfium2.PdfDocument(pdf)
    found: list[dict[str, str]] = []
    size = drawn = 0
    for number in range(len(document)):
        page = document[number]
        text = clean(page.get_textpage().get_text_bounded())
        size += len(text)
        if number >= MAX_PAGES or size > MAX_CHARACTERS:
            found.append({"text": f"[cut here: {number} of {len(document)} pages were read]"})
            break
        if text:
            found.append({"text": text})
        elif drawn < MAX_DRAWN:
            drawn += 1
            found.append({"png": picture(page)})
        else:
            found.append({"text": f"[page {number + 1} has no text]"})
    return found if drawn else []


def picture(page: Any) -> str:
    """A page as PNG, in base64."""
    scale = min(2.0, LONG_SIDE / max(1.0, *page.get_size()))
    out = io.BytesIO()
    page.render(scale=scale).to_pil().save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")


def clean(text: str) -> str:
    """The text without characters that JSON or a provider can't accept."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
