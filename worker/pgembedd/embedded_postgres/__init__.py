"""The embedded Postgres: a server in a directory, for trials, tests and small machines."""

from pgembedd.embedded_postgres.server import EmbeddedPostgres, default_data_dir, running_conninfo

__all__ = ["EmbeddedPostgres", "default_data_dir", "running_conninfo"]
