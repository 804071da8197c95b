"""Sources that their asker may read, language models that a question may name, questions that wait for their table."""

from alembic import op

from pgembedd.database.extensions import raw

revision = "0002"
down_revision = "0001"

UPGRADE = """
alter table pgembedd.answer_settings add column models text[] not null default '{}';
comment on column pgembedd.answer_settings.models is 'The language models that a question may name besides `model`.';
alter table pgembedd.answer add column postponed integer not null default 0;
comment on column pgembedd.answer.postponed is
    'How often its rows could not be read in time: it is tried ever more rarely.';
-- The policy needs the name; sql/74_answers/admit.sql has the body.
create function pgembedd._is_readable_source(pipeline text, key jsonb, texts_hash bigint) returns boolean
language sql stable as $$ select false $$;
drop policy asker on pgembedd.answer_source;
create policy asker on pgembedd.answer_source for insert with check (
    exists (select from pgembedd.answer a where a.id = answer_source.answer and a.last_seq = 0
            and a.role = current_user
            and a.subject = (select pgembedd._subject())
            and a.pipeline = answer_source.pipeline)
    and pgembedd._is_readable_source(pipeline, key, texts_hash));
"""

DOWNGRADE = """
drop policy asker on pgembedd.answer_source;
create policy asker on pgembedd.answer_source for insert with check (
    exists (select from pgembedd.answer a where a.id = answer_source.answer and a.last_seq = 0
            and a.role = current_user
            and a.subject = (select pgembedd._subject())));
drop function pgembedd._is_readable_source(text, jsonb, bigint);
alter table pgembedd.answer drop column postponed;
alter table pgembedd.answer_settings drop column models;
"""


def upgrade() -> None:
    raw(op.get_bind()).execute(UPGRADE)


def downgrade() -> None:
    raw(op.get_bind()).execute(DOWNGRADE)
