"""Loads the named statements of queries.sql: `-- name: x` starts one.

`{interface}` is this program's, and `{worker_functions}` are those that its workers call: sql/ has both.
"""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

from pgembedd.database.own_version import INTERFACE, WORKER_FUNCTIONS

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def _all() -> dict[str, LiteralString]:
    parts = _NAME.split(files("pgembedd.database").joinpath("queries.sql").read_text(encoding="utf-8"))
    # Of our own files: as literal as the rest.
    return {
        name: body.strip().replace("{interface}", f"n{INTERFACE}").replace("{worker_functions}", WORKER_FUNCTIONS)
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def query(name: str) -> LiteralString:
    """Returns the statement of that name. KeyError for an unknown name."""
    return _all()[name]
