"""The doctor: one finding per requirement of pgembedd, each ok or with a remedy."""

from collections.abc import Iterator
from pathlib import Path

import psycopg

from pgembedd.database.migrate import check_schema
from pgembedd.doctor.disk import check_disk
from pgembedd.doctor.embed import check_embed
from pgembedd.doctor.finding import Finding
from pgembedd.doctor.pipelines import check_pipelines
from pgembedd.doctor.rights import check_before_migration, check_rights, check_role
from pgembedd.doctor.server import check_extensions, check_server
from pgembedd.errors import ConfigurationError, SchemaError

__all__ = ["Finding", "examine"]


def examine(connection: psycopg.Connection, cache_dir: Path) -> Iterator[Finding]:
    """Yields all findings, from the server upwards; checks that depend on a broken part are left out."""
    yield from check_server(connection)
    yield from check_extensions(connection)
    try:
        check_schema(connection)
    except SchemaError as error:
        yield Finding("bad", "schema", str(error))
        yield from check_before_migration(connection)
    except ConfigurationError as error:
        yield Finding("bad", "rights", str(error))
    else:
        yield Finding("ok", "schema", "current")
        yield from check_rights(connection)
        yield from check_role(connection)
        yield from check_embed(connection)
        yield from check_pipelines(connection)
    yield from check_disk(cache_dir)
