"""Checks refusals and their messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgembedd.errors import PgembeddError


@contextmanager
def refused(message: str, hint: str | None = None) -> Iterator[None]:
    """The statement inside is refused with exactly this sentence, and a remedy."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.diag.message_primary == message
    if hint is not None:
        assert hint in (caught.value.diag.message_hint or "")


@contextmanager
def sentence(kind: type[PgembeddError], part: str) -> Iterator[None]:
    """The call inside raises that error, whose one-line message contains `part`."""
    with pytest.raises(kind) as caught:
        yield
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
