"""A stand-in for PostgREST, which cannot be had here: its `rpc`, as its documents describe it.

A call by POST is one statement with named arguments out of the body, in a transaction of the user's role, with the
claims of the token; for a function that is not volatile it is a transaction that only reads.
"""

from __future__ import annotations

import json

import psycopg
from psycopg import sql

from tests.support.servers.stand_in import Answer, Received, StandIn, json_answer

PARAMETERS = """
    select p.provolatile = 'v', array_agg(quote_ident(a.name)), array_agg(format_type(a.type, null))
    from pg_proc p, unnest(p.proargnames, p.proargtypes::oid[]) a(name, type)
    where p.pronamespace = 'public'::regnamespace and p.proname = %s and a.name = any(%s)
    group by p.oid, p.provolatile
"""
CALL = "select coalesce(json_agg(r), '[]') from json_to_record(%s) given({columns}), public.{function}({arguments}) r"


class StandInPostgrest(StandIn):
    """Calls functions of the schema `public` as the role `authenticated`."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(self._answer)
        self._conninfo = conninfo

    def _answer(self, asked: Received) -> Answer:
        function = asked.path.removeprefix("/rest/v1/rpc/")
        with psycopg.connect(self._conninfo) as connection:
            found = connection.execute(PARAMETERS, [function, list(asked.body)]).fetchone()
            if found is None:
                return json_answer({"code": "PGRST202", "message": f"There is no function {function}."}, 404)
            volatile, names, types = found
            call = CALL.format(
                function=sql.Identifier(function).as_string(connection),
                columns=", ".join(f"{name} {of}" for name, of in zip(names, types, strict=True)),
                arguments=", ".join(f"{name} => given.{name}" for name in names),
            )
            try:
                connection.rollback()
                connection.read_only = not volatile
                connection.execute("set local role authenticated")
                connection.execute("""select set_config('request.jwt.claims', '{"role": "authenticated"}', true)""")
                (rows,) = connection.execute(call.encode(), [json.dumps(asked.body)]).fetchone() or ([],)
            except psycopg.Error as error:
                return json_answer({"code": error.sqlstate, "message": error.diag.message_primary}, 400)
            return json_answer(rows)
