"""Files are parsed in other processes, which may end at any time."""

import pytest

from pgembedd.documents.document import Page
from pgembedd.documents.parsers import Parsers, UnreadableFile


def test_a_text_is_parsed_into_pages(parsers: Parsers) -> None:
    document = parsers.submit(b"# Birds\n\nThe swift sleeps in flight.\n").result()
    assert document.pages == (Page(1, (), "# Birds\n\nThe swift sleeps in flight."),)


def test_a_file_that_is_too_large_is_not_sent(parsers: Parsers) -> None:
    with pytest.raises(UnreadableFile, match=r"has 9\.0 MB, more than PGEMBEDD_FILE_MAX_MB \(8\)"):
        parsers.submit(b"a" * 9_000_000).result()


def test_the_fingerprint_names_the_libraries(parsers: Parsers) -> None:
    assert parsers.fingerprint.startswith("rendering-")
    assert "pypdfium2-" in parsers.fingerprint
