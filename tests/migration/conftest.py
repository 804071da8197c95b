"""The fixtures of the SQL tests serve here, too."""

from __future__ import annotations

from tests.sql.conftest import connection, other, roles

__all__ = ["connection", "other", "roles"]
