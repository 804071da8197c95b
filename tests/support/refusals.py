"""Checks refusals and their messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgembedd.errors import PgembeddError

MORE = ("PL/pgSQL assignment", "PL/pgSQL expression", "SQL expression")  # the third in older versions


def check_context(error: psycopg.Error) -> None:
    """What psql prints below a refusal is no longer than the refusal: at most three lines.

    After a first error within the same transaction there is a line for each assignment, too.
    """
    context = [line for line in (error.diag.context or "").splitlines() if not line.startswith(MORE)]
    assert len(context) <= 3, context
    assert len("\n".join(context)) <= 320, context


@contextmanager
def refused(message: str, hint: str | None = None) -> Iterator[None]:
    """The statement inside is refused with exactly this sentence, and a remedy."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.diag.message_primary == message
    check_context(caught.value)
    if hint is not None:
        assert hint in (caught.value.diag.message_hint or "")


@contextmanager
def sentence(kind: type[PgembeddError], part: str) -> Iterator[None]:
    """The call inside raises that error, whose one-line message contains `part`."""
    with pytest.raises(kind) as caught:
        yield
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
