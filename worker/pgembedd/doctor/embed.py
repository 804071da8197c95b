"""pgembedd.embed(): whether it reaches its own database, and whether a worker answers."""

from collections.abc import Iterator

import psycopg

from pgembedd.doctor.finding import Finding, rows
from pgembedd.text.quantities import counted


def check_embed(connection: psycopg.Connection) -> Iterator[Finding]:
    """Tests that pgembedd.embed() reaches its own database; only the owner may."""
    ((may_look,),) = rows(connection, "doctor_may_embed")
    if not may_look:
        return
    ((set_up, missing_role, remedy, hearers),) = rows(connection, "doctor_embed")
    if not set_up:
        yield Finding("note", "embed()", "not set up: no vectors of questions inside SQL", remedy)
        return
    if missing_role:
        yield Finding("bad", "embed()", f"the role {missing_role}, as which it connects, is not on this server", remedy)
        return
    ((problem,),) = rows(connection, "doctor_embed_problem")
    if problem:
        yield Finding(
            "bad", "embed()", problem, "Say where and as whom it connects: select pgembedd.embed_through(...);"
        )
    elif not hearers:
        yield Finding("note", "embed()", "set up, but no worker would answer", "pgembedd run")
    else:
        yield Finding("ok", "embed()", f"set up, {counted(hearers, 'worker answers', 'workers answer')}")
