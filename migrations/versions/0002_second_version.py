"""What the second version adds to the tables. It becomes frozen with its release."""

from alembic import op

from pgembedd.database.extensions import raw

revision = "0002"
down_revision = "0001"

# A restore grants on an object in one statement, which fails where one of its roles is missing. So our triggers use
# nothing that other roles have rights on, as they have on the schema pgembedd; a view reads with its owner's rights.
WRITERS = """
create view pgembedd_code.missed as select m.pipeline_id, m.key from pgembedd.missed m;
create view pgembedd_code.worker_idle as select w.last_value from pgembedd.worker_idle w;
comment on view pgembedd_code.missed is 'pgembedd.missed, for our triggers.';
comment on view pgembedd_code.worker_idle is 'pgembedd.worker_idle, for our triggers.';
"""


def upgrade() -> None:
    raw(op.get_bind()).execute(WRITERS)


def downgrade() -> None:
    raw(op.get_bind()).execute("drop view pgembedd_code.missed, pgembedd_code.worker_idle")
