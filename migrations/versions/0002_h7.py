"""Pipelines whose owner's code does not end: their pause, and what a claimed row of theirs is allowed."""

from alembic import op

from pgembedd.database.extensions import raw

revision = "0002"
down_revision = "0001"

UPGRADE = """
alter table pgembedd.pipeline
    add slow_reason text, add slow_until timestamptz, add slow_pause interval, add slow_ends timestamptz,
    add upkeep_after timestamptz;
comment on column pgembedd.pipeline.slow_reason is
    'Code of the table''s owner did not end in time: served one row at a time after pauses that grow; forgotten at '
    'slow_ends.';
comment on column pgembedd.pipeline.slow_until is
    'The end of the pause, or of the turn of the worker that tries a row; null where nothing is known against it.';
comment on column pgembedd.pipeline.upkeep_after is
    'The upkeep was cancelled in this pipeline, and leaves it out until then.';
alter type pgembedd.job add attribute allowed_s double precision;
create sequence pgembedd.upkeep_at as integer minvalue 0 start 0;
comment on sequence pgembedd.upkeep_at is
    'The pipeline that the upkeep is at, 0 for none. A sequence: it says so also after the upkeep was cancelled.';
"""

DOWNGRADE = """
drop sequence pgembedd.upkeep_at;
alter type pgembedd.job drop attribute allowed_s;
alter table pgembedd.pipeline
    drop column slow_reason, drop column slow_until, drop column slow_pause, drop column slow_ends,
    drop column upkeep_after;
"""


def upgrade() -> None:
    """Adds the columns, the attribute and the sequence."""
    raw(op.get_bind()).execute(UPGRADE)


def downgrade() -> None:
    """Removes them."""
    raw(op.get_bind()).execute(DOWNGRADE)
