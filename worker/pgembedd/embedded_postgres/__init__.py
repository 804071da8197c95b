"""The embedded Postgres: a whole server in a directory, for trying out, for tests, for one small machine."""

from pgembedd.embedded_postgres.server import EmbeddedPostgres, default_data_dir

__all__ = ["EmbeddedPostgres", "default_data_dir"]
