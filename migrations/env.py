"""What alembic runs: the versions, then the current definitions in sql/. See worker/pgembedd/database/migrate.py."""

from alembic import context

from pgembedd.database.migrate import run_migrations
from pgembedd.model.specs import model_rows
from pgembedd.settings.conninfo import conninfo_from_environment

run_migrations(context, context.config.attributes.get("conninfo") or conninfo_from_environment(), model_rows())
