"""The role of searches and questions over HTTP in the private Postgres, so that a trial needs no set-up."""

import secrets

from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgembedd.database.connect import connect
from pgembedd.database.queries import query

ROLE = "pgembedd_http"


def trial_search_url(conninfo: str) -> str:
    """Makes the role where it is missing, lets it read the tables of `public`; returns its connection string."""
    password = secrets.token_hex(16)
    with connect(conninfo, autocommit=True) as connection:
        # As the server keeps it, so that no log has the password.
        verifier = connection.pgconn.encrypt_password(password.encode(), ROLE.encode(), b"scram-sha-256").decode()
        names = {"role": sql.Identifier(ROLE), "role_name": sql.Literal(ROLE)}
        connection.execute(sql.SQL(query("trial_role")).format(**names, password=sql.Literal(verifier)))
    return make_conninfo(conninfo, user=ROLE, password=password)
