"""The doctor: one finding per requirement of pgembedd, each ok or with a remedy."""

from collections.abc import Iterator
from pathlib import Path

import psycopg

from pgembedd.database.own_version import HEAD, INTERFACE, sql_digest
from pgembedd.database.schema_check import SchemaVersion, check_schema
from pgembedd.doctor.device import check_models_device
from pgembedd.doctor.disk import check_disk
from pgembedd.doctor.embed import check_embed
from pgembedd.doctor.finding import Finding
from pgembedd.doctor.pipelines import check_pipelines
from pgembedd.doctor.rights import check_before_migration, check_rights, check_role
from pgembedd.doctor.server import check_extensions, check_server
from pgembedd.errors import ConfigurationError, SchemaError

__all__ = ["Finding", "examine"]


def examine(connection: psycopg.Connection, cache_dir: Path, device: str = "cpu") -> Iterator[Finding]:
    """Yields all findings, from the server upwards; checks that depend on a broken part are left out."""
    yield from check_server(connection)
    yield from check_extensions(connection)
    try:
        version = check_schema(connection)
    except SchemaError as error:
        yield Finding("bad", "schema", str(error))
        yield from check_before_migration(connection)
    except ConfigurationError as error:
        yield Finding("bad", "rights", str(error))
    else:
        yield _schema(version)
        yield from check_rights(connection)
        yield from check_role(connection)
        yield from check_embed(connection)
        yield from check_pipelines(connection)
    yield from check_models_device(device)
    yield from check_disk(cache_dir)


def _schema(version: SchemaVersion) -> Finding:
    """Returns whether the schema is that of this program; it works with others of its interface, too."""
    about = f"revision {version.revision}, interface {INTERFACE}, functions {version.functions}"
    if version == SchemaVersion(HEAD, sql_digest()):
        return Finding("ok", "schema", f"current: {about}")
    if version.revision > HEAD:
        return Finding("note", "schema", f"newer than this version, which works with it: {about}")
    text = f"its functions are of another version, with which this one works: {about}, here {sql_digest()}"
    return Finding("note", "schema", text, "`pgembedd migrate`, with the newest version that runs here")
