"""Errors of the database about a body, as responses."""

from __future__ import annotations

import psycopg
import pytest

from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.routes.bodies import translate_errors

PASSING = ["lock_not_available", "query_canceled", "serialization_failure", "deadlock_detected"]
PASSING += ["out_of_memory", "disk_full"]


@pytest.mark.parametrize("condition", PASSING)
def test_what_passes_is_to_be_sent_again(connection: psycopg.Connection, condition: str) -> None:
    with pytest.raises(Refusal) as refused, translate_errors():
        connection.execute(f"do $$ begin raise exception using errcode = '{condition}'; end $$")
    assert (refused.value.status, refused.value.code) == (503, "busy")
