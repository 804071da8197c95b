"""Files into pages: pages a second on one core beside PDFium alone, and the memory of a process by pages.

The text is Python's own documentation, as a PDF of full pages with headings, and as DOCX and HTML. `PDFium alone` takes
the text of each page and nothing else, in this process; `reader` also finds headings, paragraphs and running titles, in
this process; `process` does so in a parser's own, which the file is sent to and the pages come back from.
"""

import resource
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from html import escape
from itertools import islice

import pypdfium2

from bench.report import Result, compare, interleave, main, timed
from pgembedd.cli.demo_documents import standard_library
from pgembedd.documents.parsers import Limits, Parsers
from pgembedd.documents.read import read
from tests.documents.files import Lines, docx, paragraph, pdf

PAGES = 400
MANY = 10_000
LINES = 55
WIDTH = 90
MOST_BYTES = 64_000_000


def lines() -> Iterator[tuple[float, str]]:
    """The lines of the documentation by size: a heading before each of its texts."""
    for document in standard_library():
        yield 14, document.name
        for line in document.text.splitlines():
            text = line.encode("ascii", "replace").decode().translate({40: "[", 41: "]", 92: "/"})
            yield 10, text[:WIDTH]


def pages() -> list[Lines]:
    """The lines, page by page, as many pages as there are."""
    of = lines()
    return list(iter(lambda: list(islice(of, LINES)), []))


def filled(made: list[Lines], count: int) -> bytes:
    """A PDF of so many pages, the first ones again where there are fewer."""
    return pdf([made[number % len(made)] for number in range(count)])


def bare(file: bytes) -> None:
    """The text of each page by PDFium."""
    document = pypdfium2.PdfDocument(file)
    for page in document:
        page.get_textpage().get_text_range()
    document.close()


def speed(made: list[Lines], rounds: int) -> list[Result]:
    """Pages a second of the PDF in three ways, in turn; of the others as many as have the same lines."""
    file = filled(made, PAGES)
    texts = [line for page in made[:PAGES] for line in page]
    word = docx("".join(paragraph(text, "Heading1" if size > 10 else "") for size, text in texts))
    html = "".join(f"<h1>{escape(text)}</h1>" if size > 10 else f"<p>{escape(text)}</p>" for size, text in texts)
    with closing(Parsers(processes=1, limits=Limits())) as parsers:
        cases: dict[str, Callable[[], object]] = {
            "pdf, PDFium alone": lambda: bare(file),
            "pdf, reader": lambda: read(file, MOST_BYTES),
            "pdf, process": lambda: parsers.submit(file).result(),
            "docx, process": lambda: parsers.submit(word).result(),
            "html, process": lambda: parsers.submit(f"<html><body>{html}</body></html>".encode()).result(),
        }
        timing = {name: (lambda case=case: PAGES / timed(case)) for name, case in cases.items()}
        return compare("documents", "pages/s", interleave(timing, rounds, warm_up=True), "pdf, PDFium alone")


def memory(made: list[Lines]) -> list[Result]:
    """The most memory of a process that has read a PDF of one page, and of many, and what a page adds."""
    peaks = []
    for count in (1, MANY):
        with closing(Parsers(processes=1, limits=Limits(memory_mb=2_000))) as parsers:
            parsers.submit(filled(made, count)).result()
        peaks.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1_000)
    least, most = peaks
    found = {"memory, 1 page": (least, "MB"), f"memory, {MANY:,} pages": (most, "MB")}
    found["memory, a page"] = ((most - least) * 1_000 / MANY, "kB")
    return [Result("documents", case, value, unit, (value, value)) for case, (value, unit) in found.items()]


def measure(options: Namespace) -> list[Result]:
    """Memory first: what is measured is the largest process so far."""
    made = pages()
    return memory(made) + speed(made, options.rounds)


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "pypdfium2", "python-calamine")
