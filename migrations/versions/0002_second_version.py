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

# A view that was made on PostgreSQL 14 had its owner's rights, and the upgrade of the server left them to it.
VIEWS = """
do $$
declare
    one regclass;
begin
    for one in
        select v.oid from pgembedd.pipeline p join pg_catalog.pg_class t on t.oid = p.embedding_table
        join pg_catalog.pg_class v on v.relnamespace = t.relnamespace and v.relkind = 'v' and v.relname ~ '_view$'
        where v.reloptions is distinct from '{security_invoker=true}' and case
            when pg_catalog.octet_length(t.relname::text) <= 58 then v.relname = t.relname || '_view'
            else pg_catalog.starts_with(t.relname, pg_catalog.left(v.relname, -5)) end and exists (
            select from pg_catalog.pg_rewrite r join pg_catalog.pg_depend d on d.objid = r.oid
            where d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and r.ev_class = v.oid
              and d.refobjid = t.oid)
    loop
        execute format('alter view %s set (security_invoker = true)', one);
    end loop;
end $$;
"""

# Sources that their asker may read, language models that a question may name, questions that wait for their table. The
# policy needs the function's name; sql/74_answers/admit.sql has its body.
ANSWERS = """
alter table pgembedd.answer_settings rename column model to language_model;
alter table pgembedd.answer rename column model to language_model;
alter table pgembedd.answer rename constraint answer_model_check to answer_language_model_check;
alter table pgembedd.answer_settings add column language_models text[] not null default '{}';
comment on column pgembedd.answer_settings.language_models is
    'The language models that a question may name besides `language_model`.';
alter table pgembedd.answer add column postponed integer not null default 0;
comment on column pgembedd.answer.postponed is
    'How often its rows could not be read in time: it is tried ever more rarely.';
alter table pgembedd.answer_source add column place jsonb;
comment on column pgembedd.answer_source.place is
    'The file, the page and the headings of an excerpt, where the pipeline is of pages.';
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

# By it status finds the first rows of each state, however many there are of another.
STATES = "create index row_state_state_idx on pgembedd.row_state (pipeline_id, state)"

# What the guide wrote its vectors into, so that it does not go on with vectors of another model.
IMPORTS = """
alter table pgembedd.imported_trigger add column column_type text;
comment on column pgembedd.imported_trigger.column_type is
    'Type and dimensions of the column at the import; null for one by the first version.';
comment on table pgembedd.imported_trigger is
    'The triggers that `pgembedd import supabase` dropped: --undo and `pgembedd uninstall` create them again.';
"""

# How many jobs are posted at a time; the requests whose answers are not read yet, and what the newest one says.
PUSH = """
alter table pgembedd.push
    add batch_size integer not null default 100, add requests bigint[] not null default '{}', add problem text;
comment on table pgembedd.push is
    'Where jobs are posted, with which bearer token, how often: see set_push(). The owner''s, but for the problem.';
comment on column pgembedd.push.requests is 'pg_net''s numbers of the requests whose answers are not read yet.';
comment on column pgembedd.push.problem is 'What is wrong, as the newest answer says; null while jobs are taken.';
"""

# Pipelines whose owner's code does not end: their pause, and what a claimed row of theirs is allowed.
SLOW = """
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
create sequence pgembedd.upkeep_at minvalue 0 start 0;
comment on sequence pgembedd.upkeep_at is
    'The pipeline that the upkeep is at, 0 for none, plus the millisecond of the server''s start, modulo 2^31, times '
    '2^31. A sequence: it says so also after the upkeep was cancelled.';
"""

# What SQL asks of the built-in models. The rows are those of the release that migrates.
MODELS = """
create table pgembedd.model (
    name              text primary key,
    names             text[] not null,
    dimensions        integer,
    min_similarity    double precision
);
comment on table pgembedd.model is 'The built-in models, as `pgembedd migrate` wrote them.';
comment on column pgembedd.model.names is
    'The names that mean it, in small letters; one with a colon is that of a provider for the same vectors.';
comment on column pgembedd.model.dimensions is 'Of its vectors; null for a reranker, which has none.';
comment on column pgembedd.model.min_similarity is
    'Below it a text says nothing about a question; null where that is not known.';
"""

# A worker that lacks a setting does not overwrite what one that has it found out.
UNSERVED = """
alter table pgembedd.pipeline add unserved_tried boolean;
comment on column pgembedd.pipeline.unserved_tried is
    'The worker of unserved_reason tried to have the model; false where its settings do not name it.';
"""

# Workers that answer: a session lives on while its process is stopped, so each worker says so itself, and what it does.
WORKERS = """
drop table pgembedd.listener;
create unlogged table pgembedd.worker (
    id            integer primary key,
    role          oid not null,
    place         text not null,
    sessions      integer[] not null,
    tasks         text[] not null,
    busy_with     integer[] not null,
    answered_at   timestamptz not null default clock_timestamp(),
    server_start  timestamptz not null default pg_postmaster_start_time()
);
comment on table pgembedd.worker is
    'The workers, by a number that each chose. A row counts while one of the sessions lives, or was written lately.';
comment on column pgembedd.worker.role is 'The role as which it connects, by whose rights it builds indexes.';
comment on column pgembedd.worker.place is 'The process and its machine.';
comment on column pgembedd.worker.sessions is 'The process ids of all its sessions; none where a pooler keeps none.';
comment on column pgembedd.worker.tasks is 'What it does: claim, push, embed, index.';
comment on column pgembedd.worker.busy_with is 'The pipelines whose jobs it holds, or whose models it loads.';
comment on column pgembedd.worker.server_start is
    'When the server was started that it said so to: after a restart, or a restore elsewhere, the row counts no more.';
comment on column pgembedd.embed_request.taken_by is 'The number of the worker that embeds it.';
alter table pgembedd.activity add workers integer, add recalled integer;
comment on column pgembedd.activity.workers is
    'How many workers answered then, of those that take jobs; null for a store of version 0.1.0.';
comment on column pgembedd.activity.recalled is
    'Of how many texts the worker had the vector from before; null for a store of version 0.1.0.';
alter type pgembedd.job add attribute source oid;
"""

# When a pipeline's failed jobs are tried again.
RETRIES = """
alter table pgembedd.pipeline
    add retry_delay interval not null default '2 s', add retry_factor double precision not null default 2,
    add retry_max_delay interval not null default '10 min';
comment on column pgembedd.pipeline.retry_delay is
    'From the first failed attempt to the next one; then retry_factor times as long each time, up to retry_max_delay.';
"""

# The columns that were asked for. Those of the first version's pipelines with a content function may have been.
WATCHED = """
alter table pgembedd.pipeline add asked_watch_columns text[];
update pgembedd.pipeline set asked_watch_columns = watch_columns where content_function is not null;
comment on column pgembedd.pipeline.asked_watch_columns is
    'The option watch_columns; null where watch_columns follows from the content.';
"""

# The graph of an index. The first version did not tell defaults from what was asked for.
GRAPHS = """
alter table pgembedd.pipeline alter column m drop not null, alter column ef_construction drop not null;
update pgembedd.pipeline set m = null, ef_construction = null where (m, ef_construction) = (16, 64);
comment on column pgembedd.pipeline.m is
    'Links of a node of the HNSW index; null, as ef_construction: by the number of rows when the index is built.';
"""

# Texts that were sent to the batch interface of a provider.
BATCHES = """
create table pgembedd.provider_batch (
    id                uuid primary key default gen_random_uuid(),
    pipeline_id       integer not null references pgembedd.pipeline on delete cascade,
    msg_ids           bigint[] not null,
    batch             text,
    output            text,
    made_at           timestamptz not null default clock_timestamp()
);
create index provider_batch_msg_ids_idx on pgembedd.provider_batch using gin (msg_ids);
create index provider_batch_pipeline_id_idx on pgembedd.provider_batch (pipeline_id);
comment on table pgembedd.provider_batch is
    'Jobs whose texts a provider embeds as a batch, and its names of the batch and of the file with the vectors.';
"""

# Whether a pipeline is to have an index. The first version made no index of its own where it kept no name of one.
INDEX_TYPES = """
alter table pgembedd.pipeline
    add index_type text not null default 'hnsw' check (index_type in ('hnsw', 'none'));
update pgembedd.pipeline set index_type = 'none' where index_name is null and created_indexes = '{}';
comment on column pgembedd.word_statistics.filled is
    'Whether all vectors have their words; else the sweep adds them, as after existing_vectors => ''keep''.';
"""

# Notes of messages stand in the message; those of queued jobs are moved, as else many of them would be worked alone.
# What a worker holds at this moment is passed over, so that the two never wait for each other: it counts from zero.
NOTES = """
alter type pgembedd.message drop attribute headers;
do $$
declare
    queue regclass;
begin
    for queue in
        select a.attrelid from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
        where c.relnamespace = pg_catalog.to_regnamespace('pgmq') and c.relkind = 'r'
          and pg_catalog.starts_with(c.relname, 'q_pgembedd_') and a.attname = 'headers' and not a.attisdropped
          and pg_catalog.has_table_privilege(c.oid, 'select') and pg_catalog.has_table_privilege(c.oid, 'update')
    loop
        execute pg_catalog.format($q$
            update %1$s q set message = q.message || pg_catalog.jsonb_build_object('pgembedd',
                case when pg_catalog.jsonb_typeof(q.headers -> 'pgembedd') = 'object'
                     then q.headers -> 'pgembedd' else '{}' end
                || case when q.headers ? 'traceparent'
                        then pg_catalog.jsonb_build_object('traceparent', q.headers -> 'traceparent') else '{}' end)
            where q.msg_id = any (array(select m.msg_id from %1$s m
                where m.headers ?| '{pgembedd,traceparent}' and pg_catalog.jsonb_typeof(m.headers) = 'object'
                  and pg_catalog.jsonb_typeof(m.message) = 'object' for update skip locked))
            $q$, queue);
    end loop;
end $$;
"""

# The schema pgembedd is what others use: its functions and views. All else moves to a schema that may change with each
# version, with what is granted on it and bound to it. The worker's functions are those of the first version.
NAMES = r"""
alter table pgembedd.pipeline rename column chunk_overlap to chunk_overlap_tokens;
alter type pgembedd.job rename attribute chunk_overlap to chunk_overlap_tokens;
alter table pgembedd.answer_event rename to answer_events;
comment on table pgembedd.dead_letter is
    'Jobs that were given up, each with its reason; retry_dead_letters() puts them back.';
comment on table pgembedd.imported_trigger is
    'The triggers that `pgembedd import supabase` dropped: --undo and `uninstall` create them again.';
create schema pgembedd_internal;
comment on schema pgembedd_internal is
    'The tables and functions of pgembedd that are not its interface: each version may change them.';
do $$
declare
    item text;
begin
    for item in
        select format('alter routine %s set schema pgembedd_internal', p.oid::regprocedure)
        from pg_catalog.pg_proc p
        where p.pronamespace = 'pgembedd'::regnamespace
          and (p.proname like E'\\_%' or p.proname in (
              'due', 'models', 'pin_model', 'probe_model', 'note_unserved', 'note_served', 'use_provider',
              'correct_provider_use', 'claim', 'claim_pushed', 'claim_changed', 'release_pushed', 'read', 'read_chunks',
              'store', 'store_chunks', 'fail', 'extend', 'release', 'blocker', 'mark_alone', 'diagnose',
              'stop_pipeline', 'set_idle', 'hear_embed_requests', 'take_embed_requests', 'finish_embed_requests',
              'decline_embed_request', 'claim_answers', 'read_answer', 'extend_answers', 'release_answers',
              'write_answers', 'finish_answer', 'fail_answer'))
    loop
        execute item;
    end loop;
    for item in
        select format('alter %s %s set schema pgembedd_internal',
            case c.relkind when 'r' then 'table' when 'v' then 'view' when 'S' then 'sequence' else 'type' end,
            c.oid::regclass)
        from pg_catalog.pg_class c
        where c.relnamespace = 'pgembedd'::regnamespace and c.relname not in ('schema_revision', 'answer_events')
          and (c.relkind in ('r', 'c') or c.relkind = 'v' and c.relname like E'\\_%'
               or c.relkind = 'S' and not exists (
                   select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'i'))
    loop
        execute item;
    end loop;
    for item in
        select format('alter %s %s rename to %I', o.kind, o.old, o.new)
        from (values ('view', to_regclass('pgembedd.failures')::text, 'dead_letters'),
                     ('routine', to_regprocedure('pgembedd.retry_failed(text, text)')::text, 'retry_dead_letters'),
                     ('routine', to_regprocedure('pgembedd.switch(text, boolean)')::text, 'switch_model'),
                     ('routine', to_regprocedure('pgembedd.rollback(text, boolean)')::text, 'revert_model'))
            as o(kind, old, new)
        where o.old is not null
    loop
        execute item;
    end loop;
end $$;
"""

# The queue of changes is called as its lane. Statements that have begun find it by its old name, as a writer must not
# fail: an INSERT that waits for the lock of this migration looks the name up again.
QUEUE = r"""
do $$
declare
    item record;
begin
    if to_regclass('pgmq.q_pgembedd_jobs') is null then return; end if;
    for item in
        select c.oid::regclass as relation, c.relkind, replace(c.relname, 'pgembedd_jobs', 'pgembedd_fresh') as new
        from pg_catalog.pg_class c
        where c.relnamespace = 'pgmq'::regnamespace and c.relkind in ('r', 'i', 'S')
          and c.relname ~ '^[aq]_pgembedd_jobs'
        order by c.relkind = 'r'
    loop
        execute format('alter %s %s rename to %I',
            case item.relkind when 'r' then 'table' when 'i' then 'index' else 'sequence' end, item.relation, item.new);
    end loop;
    update pgmq.meta set queue_name = 'pgembedd_fresh' where queue_name = 'pgembedd_jobs';
    update pgembedd_internal.installation
    set created_queues = array_replace(created_queues, 'pgembedd_jobs', 'pgembedd_fresh');
    update pgembedd_internal.dead_letter set queue = 'pgembedd_fresh' where queue = 'pgembedd_jobs';
    create view pgmq.q_pgembedd_jobs as select * from pgmq.q_pgembedd_fresh;
    comment on view pgmq.q_pgembedd_jobs is
        'For statements that began before a migration to pgembedd 0.2.0. It may be dropped after that.';
    for item in
        select a.grantee::regrole as role from pg_catalog.pg_class c
        cross join pg_catalog.aclexplode(c.relacl) a
        where c.oid = 'pgmq.q_pgembedd_fresh'::regclass and a.privilege_type = 'INSERT'
          and a.grantee not in (0, c.relowner)
    loop
        execute format('grant select, insert, update, delete on pgmq.q_pgembedd_jobs to %s', item.role);
    end loop;
end $$;
"""

# A chunk is numbered in its row.
CHUNKS = r"""
do $$
declare
    item record;
begin
    for item in
        select c.oid::regclass as relation, c.relkind from pg_catalog.pg_class c
        where exists (select from pg_catalog.pg_attribute a
                      where a.attrelid = c.oid and a.attname = 'chunk_no' and not a.attisdropped)
          and (c.oid in (select p.embedding_table from pgembedd_internal.pipeline p
                         union all select p.words_table from pgembedd_internal.pipeline p)
               or c.relkind = 'v' and exists (
                   select from pg_catalog.pg_rewrite r
                   join pg_catalog.pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                   join pgembedd_internal.pipeline p on d.refobjid = p.words_table
                       or d.refobjid = p.embedding_table and c.relname like E'%\\_view'
                   where r.ev_class = c.oid))
        order by c.relkind
    loop
        execute format('alter %s %s rename column chunk_no to chunk_index',
            case item.relkind when 'v' then 'view' else 'table' end, item.relation);
    end loop;
end $$;
"""

# What searches look up, check and render is kept.
SEARCHES = """
create table pgembedd_internal.prepared_search (
    pipeline_id  integer primary key references pgembedd_internal.pipeline on delete cascade,
    basis        text not null,
    target       jsonb not null,
    filters      jsonb
);
alter table pgembedd_internal.prepared_search alter column target set storage main;  -- every search reads it
comment on column pgembedd_internal.prepared_search.filters is 'What searches with a filter have to know besides.';
comment on table pgembedd_internal.prepared_search is
    'What searches have to know of a pipeline; once its tables are not as `basis` says, each search looks it up.';
"""

# How far a backfill of a large table is.
BACKFILL = """
create table pgembedd_internal.open_backfill (
    pipeline_id  integer primary key references pgembedd_internal.pipeline on delete cascade,
    scope        text not null check (scope in ('lacking', 'all', 'anew')),
    after        jsonb,
    key_shape    text,
    rows_left    bigint not null default 0,
    begun_at     timestamptz not null default clock_timestamp()
);
comment on table pgembedd_internal.open_backfill is
    'The backfills whose rows are not all queued yet.';
comment on column pgembedd_internal.open_backfill.scope is
    'The rows without a vector, all rows, or all rows with none of their vectors taken over.';
comment on column pgembedd_internal.open_backfill.after is 'The key of the last row that was looked at.';
comment on column pgembedd_internal.open_backfill.key_shape is 'What the key was like, whose order it follows.';
comment on column pgembedd_internal.open_backfill.rows_left is 'An estimate of the rows that are to be queued yet.';
"""

# Pipelines that make text of files. They have no model; what another version made of them is not kept by a downgrade.
TASKS = """
alter table pgembedd_internal.pipeline
    add task text not null default 'embed' check (task in ('embed', 'parse')),
    alter column model drop not null, alter column dimensions drop not null,
    add check ((task = 'embed') = (model is not null and dimensions is not null)),
    add check (task = 'embed' or embedding_table is not null);
comment on column pgembedd_internal.pipeline.task is
    'What it makes: vectors of texts (embed), or pages of text of files (parse), which go into embedding_table.';
"""

# Files that are fetched from URIs, and what was fetched last.
URIS = """
alter table pgembedd_internal.pipeline
    add uri_prefixes text[], add recheck_interval interval,
    add check (task = 'parse' or uri_prefixes is null),
    add check (recheck_interval is null or uri_prefixes is not null);
comment on column pgembedd_internal.pipeline.uri_prefixes is
    'What the URIs in its content column may begin with; null where that holds texts or files.';
comment on column pgembedd_internal.pipeline.recheck_interval is 'After which a fetched file is looked at again.';
create table pgembedd_internal.fetched_file (
    pipeline_id  integer not null references pgembedd_internal.pipeline on delete cascade,
    key          jsonb not null,
    uri_hash     bytea not null,
    file_hash    bytea not null,
    validator    text,
    parser       text not null,
    unreadable   text,
    checked_at   timestamptz not null default clock_timestamp()
);
create unique index fetched_file_key_idx on pgembedd_internal.fetched_file
    (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1));
create index fetched_file_checked_at_idx on pgembedd_internal.fetched_file (pipeline_id, checked_at);
comment on table pgembedd_internal.fetched_file is 'Of each row with a URI the file that was fetched from it last.';
comment on column pgembedd_internal.fetched_file.validator is
    'By which its server tells whether it has changed since; null where the server gave none.';
comment on column pgembedd_internal.fetched_file.unreadable is
    'Why this parser reads no text of it, while the row is a dead letter; null where it has its pages.';
alter table pgembedd_internal.pipeline
    add objects_uri text, add check (objects_uri is null or uri_prefixes is not null);
comment on column pgembedd_internal.pipeline.objects_uri is
    'The URI below which each object has its row in the source; null where others write that.';
create table pgembedd_internal.object_listing (
    pipeline_id  integer primary key references pgembedd_internal.pipeline on delete cascade,
    number       integer not null,
    due_at       timestamptz not null,
    listed_at    timestamptz,
    problem      text
);
comment on table pgembedd_internal.object_listing is 'The newest listing of the objects of a pipeline.';
comment on column pgembedd_internal.object_listing.number is 'Of a listing; one with a lower number does nothing.';
create table pgembedd_internal.listed_object (
    pipeline_id  integer not null references pgembedd_internal.object_listing on delete cascade,
    uri          text not null,
    size         bigint,
    etag         text,
    modified     timestamptz,
    primary key (pipeline_id, uri)
);
comment on table pgembedd_internal.listed_object is 'The objects of a listing that is not complete yet.';
"""
# What the code of each pipeline is, so that a migration makes again only what is not as it made it.
CODE = """
alter table pgembedd_internal.pipeline add column code_version text;
comment on column pgembedd_internal.pipeline.code_version is
    'The versions of the rows of the catalog that its code and its triggers are, as they were made.';
"""

# By them a search finds the pipeline that fills a table, and what it stands on, among thousands.
BY_TABLE = """
create index pipeline_source_idx on pgembedd_internal.pipeline (source);
create index pipeline_embedding_table_idx on pgembedd_internal.pipeline (embedding_table);
create index pipeline_shadow_of_idx on pgembedd_internal.pipeline (shadow_of);
"""

# Functions that take or return the rows of views, which 0001 drops before the functions.
DROP_ROUTINES_OF_ROWS = """
do $$
declare
    list text;
begin
    select string_agg(distinct p.oid::regprocedure::text, ', ') into list
    from pg_catalog.pg_class c join pg_catalog.pg_type r on r.typrelid = c.oid
    join pg_catalog.pg_depend d on d.refclassid = 'pg_type'::regclass and d.refobjid in (r.oid, r.typarray)
    join pg_catalog.pg_proc p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
    where c.relkind = 'v' and c.relnamespace = 'pgembedd'::regnamespace
      and p.pronamespace = 'pgembedd'::regnamespace;
    if list is not null then execute 'drop routine ' || list; end if;
end $$;
"""

NAMES_OF_BEFORE = """
do $$
declare
    item record;
begin
    for item in
        select format('alter routine %s set schema pgembedd', p.oid::regprocedure) as statement
        from pg_catalog.pg_proc p where p.pronamespace = 'pgembedd_internal'::regnamespace
    loop
        execute item.statement;
    end loop;
    for item in
        select format('alter %s %s set schema pgembedd',
            case c.relkind when 'r' then 'table' when 'v' then 'view' when 'S' then 'sequence' else 'type' end,
            c.oid::regclass) as statement
        from pg_catalog.pg_class c
        where c.relnamespace = 'pgembedd_internal'::regnamespace
          and (c.relkind in ('r', 'c', 'v') or c.relkind = 'S' and not exists (
              select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'i'))
    loop
        execute item.statement;
    end loop;
    drop schema pgembedd_internal;
    alter table pgembedd.pipeline rename column chunk_overlap_tokens to chunk_overlap;
    alter type pgembedd.job rename attribute chunk_overlap_tokens to chunk_overlap;
    alter table pgembedd.answer_events rename to answer_event;
    if to_regclass('pgmq.q_pgembedd_fresh') is null then return; end if;
    drop view if exists pgmq.q_pgembedd_jobs;
    -- One that others made keeps its name.
    if not (select 'pgembedd_fresh' = any (i.created_queues) from pgembedd.installation i) then return; end if;
    for item in
        select c.oid::regclass as relation, c.relkind, replace(c.relname, 'pgembedd_fresh', 'pgembedd_jobs') as old
        from pg_catalog.pg_class c
        where c.relnamespace = 'pgmq'::regnamespace and c.relkind in ('r', 'i', 'S')
          and c.relname ~ '^[aq]_pgembedd_fresh'
        order by c.relkind = 'r'
    loop
        execute format('alter %s %s rename to %I',
            case item.relkind when 'r' then 'table' when 'i' then 'index' else 'sequence' end, item.relation, item.old);
    end loop;
    update pgmq.meta set queue_name = 'pgembedd_jobs' where queue_name = 'pgembedd_fresh';
    update pgembedd.installation set created_queues = array_replace(created_queues, 'pgembedd_fresh', 'pgembedd_jobs');
end $$;
"""

DOWNGRADE = """
delete from pgembedd.pipeline where task <> 'embed';
alter table pgembedd.pipeline drop column uri_prefixes, drop column recheck_interval,
    drop column objects_uri, drop column code_version;
drop view pgembedd._search_basis;
alter table pgembedd.pipeline drop column task, alter column model set not null, alter column dimensions set not null;
drop index pgembedd.row_state_state_idx, pgembedd.pipeline_source_idx, pgembedd.pipeline_embedding_table_idx,
    pgembedd.pipeline_shadow_of_idx;
alter table pgembedd.activity drop column workers, drop column recalled;
alter table pgembedd.push drop column batch_size, drop column requests, drop column problem;
comment on table pgembedd.push is
    'Where jobs are posted, with which bearer token, how often: see set_push(). The owner''s alone: no grants.';
drop table pgembedd.prepared_search;
drop table pgembedd.open_backfill;
drop table pgembedd.fetched_file, pgembedd.listed_object, pgembedd.object_listing;
drop table pgembedd.model;
drop table pgembedd.worker;
alter table pgembedd.pipeline drop column index_type;
update pgembedd.pipeline set m = coalesce(m, 16), ef_construction = coalesce(ef_construction, 64);
alter table pgembedd.pipeline alter column m set not null, alter column ef_construction set not null;
comment on column pgembedd.pipeline.m is null;
comment on column pgembedd.word_statistics.filled is
    'Whether all vectors have their words; else the sweep adds them, as after adopt => true.';
alter table pgembedd.pipeline drop column retry_delay, drop column retry_factor, drop column retry_max_delay,
    drop column asked_watch_columns;
create table pgembedd.listener (
    pid               integer primary key,
    backend_start     timestamptz,
    application_name  text
);
comment on table pgembedd.listener is
    'The sessions of workers that serve embed(). A row counts as long as its session lives.';
comment on column pgembedd.embed_request.taken_by is
    'The process id of the session of the worker that embeds it.';
alter table pgembedd.pipeline drop column unserved_tried;
alter type pgembedd.job drop attribute source;
drop sequence pgembedd.upkeep_at;
drop table pgembedd.provider_batch;
alter table pgembedd.pipeline
    drop column slow_reason, drop column slow_until, drop column slow_pause, drop column slow_ends,
    drop column upkeep_after;
drop policy asker on pgembedd.answer_source;
create policy asker on pgembedd.answer_source for insert with check (
    exists (select from pgembedd.answer a where a.id = answer_source.answer and a.last_seq = 0
            and a.role = current_user
            and a.subject = (select pgembedd._subject())));
drop function pgembedd._is_readable_source(text, jsonb, bigint);
alter table pgembedd.imported_trigger drop column column_type;
comment on table pgembedd.imported_trigger is
    'The triggers that `pgembedd import supabase` dropped: --undo and `migrate --down` create them again.';
drop view if exists pgembedd._readable_sources;
alter table pgembedd.answer_source drop column place;
alter table pgembedd.answer drop column postponed;
drop view if exists pgembedd.answer_options;
alter table pgembedd.answer_settings drop column language_models;
alter table pgembedd.answer_settings rename column language_model to model;
alter table pgembedd.answer rename constraint answer_language_model_check to answer_model_check;
alter table pgembedd.answer rename column language_model to model;
drop view pgembedd_code.missed, pgembedd_code.worker_idle;
drop type pgembedd.message cascade;
create type pgembedd.message as (
    msg_id            bigint,
    read_ct           integer,
    message           jsonb,
    headers           jsonb,
    enqueued_at       timestamptz
);
comment on type pgembedd.message is 'A message of one of our queues, as a read gives it.';
"""


def upgrade() -> None:
    for statements in (
        *(VIEWS, WRITERS, ANSWERS, IMPORTS, PUSH, SLOW, UNSERVED, WORKERS, MODELS, RETRIES, WATCHED, INDEX_TYPES),
        *(GRAPHS, BATCHES, NOTES, STATES, NAMES, QUEUE, CHUNKS, BACKFILL, SEARCHES, TASKS, URIS, CODE),
        BY_TABLE,
    ):
        raw(op.get_bind()).execute(statements)


def downgrade() -> None:
    for statements in (NAMES_OF_BEFORE, DROP_ROUTINES_OF_ROWS, DOWNGRADE):
        raw(op.get_bind()).execute(statements)
