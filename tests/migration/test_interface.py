"""The interface that was released: calls, views and alembic revisions that were written for it run for good."""

from __future__ import annotations

import psycopg

from tests.migration.interface import RELEASED, interface


def test_parameters_and_columns_are_only_added_and_at_the_end(connection: psycopg.Connection) -> None:
    """A new line belongs into the file with the version that releases it; none of it is changed later."""
    now = [line.split(")") for line in interface(connection)]
    for released in RELEASED.read_text(encoding="utf-8").splitlines():
        begun = released.split(")")
        assert [one for one in now if all(map(str.startswith, one, begun)) and len(one) == len(begun)], released
