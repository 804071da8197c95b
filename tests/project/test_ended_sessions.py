"""A test that ends a session goes on when it is gone: pg_terminate_backend() alone returns before that."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
MAY = {"support/sql.py", "support/databases.py", "project/test_ended_sessions.py"}
"""`end_sessions` itself, and what looks until none is left."""


def test_sessions_are_ended_by_the_function_that_waits() -> None:
    named = re.compile(r"pg_terminate_backend\(")
    files = {path.relative_to(TESTS).as_posix(): path for path in TESTS.rglob("*.py")}
    found = {name for name, path in files.items() if named.search(path.read_text(encoding="utf-8"))}
    # What makes faults ends sessions in the midst of all, and waits for none.
    assert {name for name in found if not name.startswith("faults/")} == MAY
