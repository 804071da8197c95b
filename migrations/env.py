"""What alembic runs: the versions, then the current definitions in sql/. See worker/migrate.py."""

from alembic import context

from worker.config import conninfo_from_environment
from worker.migrate import run_migrations

run_migrations(context, context.config.attributes.get("conninfo") or conninfo_from_environment())
