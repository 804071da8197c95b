"""A file that was fetched, and one that was listed."""

from dataclasses import dataclass

from pgembedd.fetch.errors import FetchError


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of a file, and by what its server tells whether it has changed; None where it gave nothing."""

    file: bytes
    validator: str | None


PAGE = 1000
"""Files of a page of a listing."""
LONGEST_KEY = 2_600
"""Characters of a URI that the index of a primary key takes, beside the number of a page."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file below a URI. `modified` is in ISO 8601; the ETag changes with the file, None where it has none."""

    uri: str
    size: int
    etag: str | None
    modified: str


def too_large(size: int, most_bytes: int) -> FetchError:
    """Returns what is said of a file of so many bytes, or of at least as many."""
    return FetchError(f"The file has {size / 1e6:,.1f} MB, more than PGEMBEDD_FILE_MAX_MB ({most_bytes // 1_000_000}).")
