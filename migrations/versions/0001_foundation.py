"""Extensions, tables and the worker's role.

Frozen once released: a later change is a later version. Never call a function of sql/ from here.
"""

from alembic import op

from pgembedd.database.extensions import install_dblink, install_extensions, raw, remove_pgmq

revision = "0001"
down_revision = None

TABLES = """
create schema pgembedd_code;
comment on schema pgembedd_code is
    'The generated code of pipelines. For nobody but pgembedd: grant nothing on it.';

create table pgembedd.installation (
    only_row          boolean primary key default true check (only_row),
    pgmq_install      text not null check (pgmq_install in ('found', 'extension', 'sql')),
    created_queues    text[] not null default '{}',
    sql_digest        text,
    sql_applied_at    timestamptz,
    swept_at          timestamptz not null default '-infinity',
    retained_at       timestamptz not null default '-infinity',
    indexes_at        timestamptz not null default '-infinity',
    sample_due_at     timestamptz not null default '-infinity',
    secret            uuid not null default gen_random_uuid()
);
comment on table pgembedd.installation is
    'One row: how pgmq came here, which sql/ is applied, when the upkeep last ran.';

create table pgembedd.pipeline (
    id                integer generated always as identity primary key,
    name              text not null unique check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'),
    source            regclass not null,
    source_name       text not null,
    key_columns       text[] not null check (cardinality(key_columns) > 0),
    content_columns   text[],
    content_function  text,
    watch_columns     text[] not null,
    embedding_column  text,
    embedding_table   regclass,
    embedding_table_name text,
    chunk_tokens      integer check (chunk_tokens > 0),
    chunk_overlap     integer not null default 0 check (chunk_overlap >= 0),
    splitter          text not null default 'text' check (splitter in ('text', 'markdown')),
    formatting        text,
    text_config       text,
    text_config_column text,
    words_table       regclass unique,
    model             text not null,
    fingerprint       text,
    dimensions        integer not null check (dimensions between 1 and 16000),
    vector_type       text not null check (vector_type in ('halfvec', 'vector')),
    distance          text not null check (distance in ('cosine', 'l2', 'ip')),
    on_update         text not null check (on_update in ('keep', 'clear')),
    max_attempts      integer not null check (max_attempts between 1 and 100),
    search_path       text not null,
    state             text not null default 'running' check (state in ('running', 'paused', 'stopped')),
    state_reason      text,
    state_since       timestamptz not null default clock_timestamp(),
    unserved_reason   text,
    unserved_since    timestamptz,
    unserved_at       timestamptz,
    m                 integer not null,
    ef_construction   integer not null,
    index_name        text,
    index_due_at      timestamptz,
    created_indexes   text[] not null default '{}',
    enable_always     boolean not null default false,
    triggers          boolean not null default true,
    shape             text,
    sweep_due_at      timestamptz not null default '-infinity',
    sweep_error       text,
    problem_since     timestamptz,
    content_shape     jsonb,
    requeued_reason   text,
    requeued_at       timestamptz,
    shadow_of         integer unique references pgembedd.pipeline,
    shadow            text check (shadow in ('next', 'previous')),
    created_at        timestamptz not null default clock_timestamp(),
    unique (source, embedding_column),
    unique (embedding_table),
    check (num_nonnulls(embedding_column, embedding_table) = 1),
    check (num_nonnulls(shadow_of, shadow) in (0, 2)),
    check (num_nonnulls(content_columns, content_function) = 1)
);
comment on table pgembedd.pipeline is
    'What is embedded from where to where. Written by create_pipeline() and its like, not by hand.';
comment on column pgembedd.pipeline.fingerprint is
    'The model this pipeline is pinned to; set by the first worker that serves it.';
comment on column pgembedd.pipeline.search_path is
    'The creator''s search_path: the content function and the triggers of the source run under it.';
comment on column pgembedd.pipeline.embedding_table is
    'Where the vectors go, one row a chunk; null when they go to embedding_column of the source.';
comment on column pgembedd.pipeline.text_config is
    'The text search configuration for the rows'' words, with its schema; null where there is no search by words. '
    'It is text because pg_upgrade refuses a regconfig.';
comment on column pgembedd.pipeline.text_config_column is
    'The column of the source that names the configuration of each row; text_config is for rows where it names none.';
comment on column pgembedd.pipeline.words_table is
    'Our table with a tsvector for each row or chunk.';
comment on column pgembedd.pipeline.triggers is
    'Whether changes are noted by triggers of ours; false when webhooks tell of them.';
comment on column pgembedd.pipeline.shape is
    'What the generated code was made for: names, owners, types of the key. Where the tables differ, it is made anew.';
comment on column pgembedd.pipeline.sweep_error is
    'What the last sweep failed of; the next one stops the pipeline if it fails, too.';
comment on column pgembedd.pipeline.unserved_reason is
    'Why a worker cannot serve the pipeline; believed while a worker repeats it (unserved_at).';
comment on column pgembedd.pipeline.content_shape is
    'What the catalog said of the columns of the content; the sweep compares it, and queues all rows where an ALTER '
    'changed contents (requeued_reason).';
comment on column pgembedd.pipeline.shadow_of is
    'The pipeline beside which this one stands while a model is changed: as its next one, or as its previous one.';
comment on column pgembedd.pipeline.index_due_at is
    'When the HNSW index is to be built at the latest; null when there is nothing to build.';

create table pgembedd.row_state (
    pipeline_id       integer not null references pgembedd.pipeline on delete cascade,
    key               jsonb not null,
    state             text not null check (state in ('blank', 'dead', 'truncated')),
    dropped_tokens    integer,
    since             timestamptz not null default clock_timestamp()
);
-- By hashes, which fit into an index however long a key is; two of 64 bits, as one would collide some day.
create unique index row_state_key_idx on pgembedd.row_state
    (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1));
comment on table pgembedd.row_state is
    'Exceptional rows only: blank (nothing to embed), dead (given up), truncated (text cut at the model''s limit).';

create table pgembedd.word_statistics (
    pipeline_id       integer primary key references pgembedd.pipeline on delete cascade,
    documents         double precision not null default 0,
    average_length    double precision not null default 'infinity',
    configs           text[] not null default '{}',
    changes           bigint not null default -1,
    filled            boolean not null default false,
    due_at            timestamptz not null default '-infinity'
);
comment on table pgembedd.word_statistics is
    'Of a sample of the words of a pipeline: how many rows or chunks there are, how many words they have on average.';
comment on column pgembedd.word_statistics.average_length is
    'Infinity where no row or chunk was sampled: with it the ranking does not take length into account.';
comment on column pgembedd.word_statistics.filled is
    'Whether all vectors have their words; else the sweep adds them, as after adopt => true.';
comment on column pgembedd.word_statistics.changes is
    'What the server had counted of changes to the words at that time; nothing is done until it counts more.';

create table pgembedd.word_frequency (
    pipeline_id       integer not null references pgembedd.pipeline on delete cascade,
    word              text not null,
    share             real not null,
    primary key (pipeline_id, word)
);
comment on table pgembedd.word_frequency is
    'The share of rows or chunks that hold a word, of the commonest words of a sample.';

create table pgembedd.dead_letter (
    id                bigint generated always as identity primary key,
    pipeline_id       integer references pgembedd.pipeline on delete cascade,
    queue             text not null,
    key               jsonb,
    message           jsonb not null,
    reason            text not null,
    error             text,
    attempts          integer not null,
    history           jsonb not null default '[]',
    enqueued_at       timestamptz not null,
    died_at           timestamptz not null default clock_timestamp()
);
create unique index dead_letter_key_idx on pgembedd.dead_letter
    (pipeline_id, jsonb_hash_extended(key, 0), jsonb_hash_extended(key, 1));
comment on table pgembedd.dead_letter is
    'Jobs that were given up, each with its reason; retry_failed() puts them back.';

create type pgembedd.message as (
    msg_id            bigint,
    read_ct           integer,
    message           jsonb,
    headers           jsonb,
    enqueued_at       timestamptz
);
comment on type pgembedd.message is 'A message of one of our queues, as a read gives it.';

create type pgembedd.job as (
    queue             text,
    msg_id            bigint,
    read_ct           integer,
    id                text,
    pipeline_id       integer,
    pipeline          text,
    model             text,
    fingerprint       text,
    dimensions        integer,
    suspect           boolean,
    chunked           boolean,
    chunk_tokens      integer,
    chunk_overlap     integer,
    splitter          text,
    traceparent       text,
    waited_s          double precision,
    attempt           integer
);
comment on type pgembedd.job is 'A claimed message, with what a worker has to know of its pipeline.';

create table pgembedd.missed (
    pipeline_id       integer not null references pgembedd.pipeline on delete cascade,
    key               jsonb not null
);
create index missed_pipeline_id_idx on pgembedd.missed (pipeline_id);
comment on table pgembedd.missed is
    'Rows that changed while their queue was missing, as in a database that was restored without it.';

create table pgembedd.activity (
    at                timestamptz not null default clock_timestamp(),
    pipeline_id       integer not null references pgembedd.pipeline on delete cascade,
    written           integer not null,
    cleared           integer not null,
    unchanged         integer not null,
    gone              integer not null,
    lag               interval
);
create index activity_at_idx on pgembedd.activity (at);
comment on table pgembedd.activity is
    'What each store wrote; append-only, so that workers never wait for each other. Kept for a day.';

comment on column pgembedd.activity.lag is
    'How long its jobs had waited since they were queued, on average; null when all rows were gone.';

create table pgembedd.event (
    nth               bigint generated always as identity primary key,
    at                timestamptz not null default clock_timestamp(),
    xid               text not null default pg_current_xact_id()::text,
    payload           jsonb not null
);
comment on table pgembedd.event is
    'The events of the last ten minutes: any role can send a NOTIFY that looks like one, so listeners look here.';
comment on sequence pgembedd.event_nth_seq is
    'The numbers of the events.';

create table pgembedd.push (
    only_row          boolean primary key default true check (only_row),
    url               text not null,
    token             text,
    every             text not null
);
comment on table pgembedd.push is
    'Where jobs are posted, with which bearer token, how often: see set_push(). The owner''s alone: no grants.';

create table pgembedd.imported_trigger (
    source            regclass not null,
    source_name       text not null,
    embedding_column  text not null,
    content_function  text not null,
    name              text not null,
    definition        text not null,
    enabled           "char" not null,
    imported_at       timestamptz not null default clock_timestamp(),
    primary key (source, name)
);
comment on table pgembedd.imported_trigger is
    'The triggers that `pgembedd import supabase` dropped: --undo and `migrate --down` create them again.';

create table pgembedd.sample (
    at                timestamptz not null default clock_timestamp(),
    pipeline_id       integer references pgembedd.pipeline on delete cascade,
    queued            bigint not null,
    backfill          bigint not null,
    oldest_age        interval,
    backfill_oldest_age interval,
    failing           bigint not null,
    dead              bigint not null
);
create index sample_at_idx on pgembedd.sample (at);
comment on table pgembedd.sample is
    'What was queued at a time, by pipeline: one row each that had anything, at most once a minute. Kept for a day.';
comment on column pgembedd.sample.pipeline_id is
    'Null for the sum of all, which every sample has: a pipeline without a row had nothing queued and nothing dead.';

create sequence pgembedd.worker_idle minvalue 0 maxvalue 1 start 0;
comment on sequence pgembedd.worker_idle is
    '1 while some worker sleeps, and only then do triggers NOTIFY. A sequence: no transaction, no lock.';

create unlogged table pgembedd.embed_request (
    id                uuid primary key,
    model             text not null,
    fingerprint       text,
    kind              text not null check (kind in ('query', 'document')),
    content           text,
    asked_at          timestamptz not null default clock_timestamp(),
    expires_at        timestamptz not null,
    asked_by          integer not null default pg_backend_pid(),
    taken_by          integer,
    declined_by       integer[] not null default '{}',
    embedding         real[],
    refusal           text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
create index embed_request_expires_at_idx on pgembedd.embed_request (expires_at);
comment on table pgembedd.embed_request is
    'Texts that wait in embed() for their vectors, each until its caller has it.';
comment on column pgembedd.embed_request.asked_by is
    'The process id of the session that waits for it: what it asked before it ended is not embedded.';
comment on column pgembedd.embed_request.taken_by is
    'The process id of the session of the worker that embeds it.';

create table pgembedd.provider_use (
    provider          text not null,
    day               date not null,
    tokens            bigint not null,
    requests          bigint not null,
    primary key (provider, day)
);
comment on table pgembedd.provider_use is
    'Tokens and requests that providers of embeddings were asked for, by day in UTC. Kept for 31 days.';

create table pgembedd.provider_probe (
    pipeline_id       integer primary key references pgembedd.pipeline on delete cascade,
    vectors           real[] not null
);
comment on table pgembedd.provider_probe is
    'The vectors of a few fixed texts, which show that a provider of embeddings changed the model of a pipeline.';

create table pgembedd.listener (
    pid               integer primary key,
    backend_start     timestamptz,
    application_name  text
);
comment on table pgembedd.listener is
    'The sessions of workers that serve embed(). A row counts as long as its session lives.';

create table pgembedd.index_build (
    only_row          boolean constraint index_build_pkey primary key default true check (only_row),
    pid               integer,
    backend_start     timestamptz,
    application_name  text
);
insert into pgembedd.index_build default values;
comment on table pgembedd.index_build is
    'One row: the session that builds an index, null where none does. It counts as long as that session lives.';

create table pgembedd.loopback (
    only_row          boolean constraint loopback_pkey primary key default true check (only_row),
    host              text,
    port              integer,
    username          text not null,
    password          text,
    options           text,
    secret            uuid not null default gen_random_uuid()
);
comment on table pgembedd.loopback is
    'One row: where and as whom embed() connects to its own database. Written by embed_through().';

create table pgembedd.answer_settings (
    pipeline          text primary key,
    model             text,
    url_template      text,
    title_column      text,
    min_similarity    double precision,
    keep              interval not null default '30 days' check (keep > interval '0')
);
comment on table pgembedd.answer_settings is
    'How questions about a pipeline are answered: see configure_answers(). By name, as a new model makes a new row.';

create table pgembedd.answer_thread (
    id                uuid primary key,
    role              name not null,
    subject           text not null,
    began_at          timestamptz not null default clock_timestamp()
);
comment on table pgembedd.answer_thread is
    'Conversations: who asked first, as a role and the subject of its JWT claims, empty where there is none.';

create table pgembedd.thread_member (
    thread            uuid not null references pgembedd.answer_thread on delete cascade,
    role              name not null,
    subject           text not null,
    by_role           name not null,
    by_subject        text not null,
    primary key (thread, role, subject)
);
comment on table pgembedd.thread_member is
    'With whom a thread is shared, and by whom: see share_thread().';

create table pgembedd.answer (
    id                uuid primary key,
    thread            uuid not null references pgembedd.answer_thread on delete cascade,
    pipeline          text not null,
    question          text not null check (length(question) <= 8000),
    model             text check (length(model) <= 200),
    role              name not null,
    subject           text not null,
    status            text not null default 'queued'
                      check (status in ('queued', 'generating', 'complete', 'refused', 'failed', 'stopped')),
    attempt           integer not null default 0,
    failures          integer not null default 0,
    due_at            timestamptz not null default 'infinity',
    last_seq          integer not null default 0,
    answer            text,
    reason            text,
    citations         integer[] not null default '{}',
    usage             jsonb,
    asked_at          timestamptz not null default clock_timestamp(),
    finished_at       timestamptz,
    keep_until        timestamptz not null default clock_timestamp() + interval '1 day'
);
create index answer_due_at_idx on pgembedd.answer (due_at) where status in ('queued', 'generating');
create index answer_thread_idx on pgembedd.answer (thread, asked_at);
create index answer_pipeline_idx on pgembedd.answer (pipeline);
create index answer_keep_until_idx on pgembedd.answer (keep_until);
create index answer_finished_at_idx on pgembedd.answer (finished_at) where finished_at is not null;
comment on table pgembedd.answer is
    'Questions and their answers, each a job of its own: due_at is the end of its lease, attempt its fence.';

create table pgembedd.answer_source (
    answer            uuid not null references pgembedd.answer on delete cascade,
    n                 integer not null check (n between 1 and 50),
    pipeline          text not null,
    key               jsonb not null check (length(key::text) <= 12000),
    title             text check (length(title) <= 1000),
    excerpt           text not null check (length(excerpt) <= 12000),
    texts_hash        bigint,
    score             double precision,
    similarity        double precision,
    primary key (answer, n)
);
create index answer_source_pipeline_idx on pgembedd.answer_source (pipeline);
comment on table pgembedd.answer_source is
    'What was found for a question with the rights of the role that asked: all that a language model is shown.';
comment on column pgembedd.answer_source.texts_hash is
    'Of the texts of the row when it was found: the excerpt is shown to viewers as long as they are the same.';

create table pgembedd.answer_event (
    answer            uuid not null references pgembedd.answer on delete cascade,
    seq               integer not null,
    attempt           integer not null,
    event             text not null check (event in ('status', 'sources', 'delta', 'citation', 'done', 'error')),
    data              jsonb not null,
    at                timestamptz not null default clock_timestamp(),
    primary key (answer, seq)
);
comment on table pgembedd.answer_event is
    'What the viewers of an answer are shown, in the order of seq; a table for Supabase''s Realtime, too.';

alter table pgembedd.answer_thread enable row level security;
alter table pgembedd.thread_member enable row level security;
alter table pgembedd.answer enable row level security;
alter table pgembedd.answer_source enable row level security;
alter table pgembedd.answer_event enable row level security;
-- Policies need the name; sql/74_answers/ask.sql has the body. As a subquery it is called once for a statement, but not
-- in the policies of thread_member, where Postgres would see a recursion.
create function pgembedd._subject() returns text language sql stable as $$ select ''::text $$;
-- The role that our functions run with. Not by TO, as it may be missing; no other role of that name is accepted.
create policy worker on pgembedd.answer_thread using (current_user = 'pgembedd');
create policy worker on pgembedd.thread_member using (current_user = 'pgembedd');
create policy worker on pgembedd.answer using (current_user = 'pgembedd');
create policy worker on pgembedd.answer_source using (current_user = 'pgembedd');
create policy worker on pgembedd.answer_event using (current_user = 'pgembedd');
create policy viewer on pgembedd.thread_member for select using (
    role = current_user
    and subject = pgembedd._subject()
    or by_role = current_user
    and by_subject = pgembedd._subject());
create policy viewer on pgembedd.answer_thread for select using (
    role = current_user
    and subject = (select pgembedd._subject())
    or exists (select from pgembedd.thread_member m where m.thread = answer_thread.id
               and m.role = current_user
               and m.subject = (select pgembedd._subject())));
create policy viewer on pgembedd.answer for select using (
    exists (select from pgembedd.answer_thread t where t.id = answer.thread));
create policy viewer on pgembedd.answer_event for select using (
    exists (select from pgembedd.answer a where a.id = answer_event.answer));
create policy asker on pgembedd.answer_thread for insert with check (
    role = current_user
    and subject = (select pgembedd._subject()));
create policy asker on pgembedd.thread_member for insert with check (
    by_role = current_user
    and by_subject = pgembedd._subject()
    and exists (select from pgembedd.answer_thread t where t.id = thread_member.thread
            and t.role = current_user
            and t.subject = pgembedd._subject()));
create policy asker_takes_back on pgembedd.thread_member for delete using (
    by_role = current_user
    and by_subject = pgembedd._subject());
create policy asker on pgembedd.answer for insert with check (
    role = current_user
    and subject = (select pgembedd._subject())
    and exists (select from pgembedd.answer_thread t where t.id = answer.thread));
create policy asker_stops on pgembedd.answer for update using (
    status in ('queued', 'generating')
    and (role = current_user
         and subject = (select pgembedd._subject())
         or exists (select from pgembedd.answer_thread t where t.id = answer.thread
             and t.role = current_user
             and t.subject = (select pgembedd._subject()))))
    with check (status = 'stopped');
create policy asker on pgembedd.answer_source for insert with check (
    exists (select from pgembedd.answer a where a.id = answer_source.answer and a.last_seq = 0
            and a.role = current_user
            and a.subject = (select pgembedd._subject())));
"""

ROLE = """
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'pgembedd_worker') then
        create role pgembedd_worker nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;  -- another database of the server was as quick
    when insufficient_privilege then
        raise notice 'the role pgembedd_worker could not be created: use pgembedd.grant_worker(role) for one of yours';
end $$;
"""

# One DROP names all objects of a kind, so that their dependencies on each other do not matter, and
# never CASCADE: a view of the user's that reads ours stops the downgrade with Postgres's own sentence.
DROP_ALL = """
do $$
declare
    item record;
    list text;
begin
    for item in
        select t.tgname, t.tgrelid::regclass as source
        from pg_catalog.pg_trigger t
        join pg_catalog.pg_proc f on f.oid = t.tgfoid
        where f.pronamespace = 'pgembedd_code'::regnamespace and not t.tgisinternal and t.tgparentid = 0
    loop
        execute format('drop trigger %I on %s', item.tgname, item.source);
    end loop;
    for item in  -- the words are ours alone, wherever they stand; so are the functions for PostgREST
        select w.oid::regclass as words, v.view from pgembedd.pipeline p
        join pg_catalog.pg_class w on w.oid = p.words_table
        left join lateral (
            select distinct r.ev_class::regclass as view from pg_catalog.pg_rewrite r
            join pg_catalog.pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
            where d.refobjid = w.oid
              and obj_description(r.ev_class, 'pg_class') like 'pg_catalog.has_table_privilege(%') v on true
    loop
        if item.view is not null then execute format('drop view %s', item.view); end if;
        execute format('drop table %s', item.words);
    end loop;
    for item in
        select p.polname, p.polrelid::regclass as table from pg_catalog.pg_policy p
        join pg_catalog.pg_class c on c.oid = p.polrelid
        where c.relnamespace = 'pgembedd'::regnamespace
    loop
        execute format('drop policy %I on %s', item.polname, item.table);
    end loop;
    for item in
        select p.oid::regprocedure as function from pg_catalog.pg_proc p
        where obj_description(p.oid, 'pg_proc') = 'Made by pgembedd.expose_search().'
    loop
        execute format('drop function %s', item.function);
    end loop;
    for item in  -- what returns the rows of a view goes before it
        select p.oid::regprocedure as function from pg_catalog.pg_proc p
        join pg_catalog.pg_type t on t.oid = p.prorettype
        join pg_catalog.pg_class c on c.oid = t.typrelid
        where p.pronamespace = 'pgembedd'::regnamespace and c.relkind = 'v'
    loop
        execute format('drop function %s', item.function);
    end loop;
    select string_agg(c.oid::regclass::text, ', ') into list
    from pg_catalog.pg_class c where c.relnamespace = 'pgembedd'::regnamespace and c.relkind = 'v';
    if list is not null then execute 'drop view ' || list; end if;
    select string_agg(p.oid::regprocedure::text, ', ') into list
    from pg_catalog.pg_proc p where p.pronamespace in ('pgembedd'::regnamespace, 'pgembedd_code'::regnamespace);
    if list is not null then execute 'drop routine ' || list; end if;
end $$;
drop table pgembedd.answer_event, pgembedd.answer_source, pgembedd.answer, pgembedd.thread_member,
    pgembedd.answer_thread, pgembedd.answer_settings;
drop table pgembedd.embed_request, pgembedd.listener, pgembedd.index_build, pgembedd.loopback, pgembedd.event,
    pgembedd.provider_use, pgembedd.provider_probe;
drop table pgembedd.imported_trigger, pgembedd.push, pgembedd.sample, pgembedd.activity, pgembedd.missed;
drop table pgembedd.dead_letter, pgembedd.row_state, pgembedd.word_statistics, pgembedd.word_frequency;
drop table pgembedd.pipeline, pgembedd.installation;
drop type pgembedd.job, pgembedd.message;
drop sequence pgembedd.worker_idle;
drop schema pgembedd_code;
"""

UNSCHEDULE = """
do $$
begin
    if (case when has_schema_privilege(to_regnamespace('cron'), 'usage') then to_regclass('cron.job') is not null end)
    then
        perform cron.unschedule(j.jobid) from cron.job j
        where j.jobname like 'pgembedd-%' and j.database = current_database();
    end if;
end $$;
"""

# The role of embed()'s second connection is this database's own; but a copy of the database may use it, too.
DROP_ASKER = """
do $$
declare
    asker text := (select l.username from pgembedd.loopback l where l.username like 'pgembedd\\_embed\\_%');
begin
    if exists (
        select from pg_catalog.pg_extension e
        where e.extname = 'dblink' and e.extnamespace = 'pgembedd_code'::regnamespace)
    then
        drop extension dblink;
    end if;
    if asker is not null and exists (select from pg_catalog.pg_roles where rolname = asker) then
        execute format('revoke all on schema pgembedd from %I', asker);
        execute format('revoke all on all functions in schema pgembedd from %I', asker);
        begin
            execute format('drop role %I', asker);
        exception when dependent_objects_still_exist or insufficient_privilege then null;
        end;
    end if;
end $$;
"""

# Roles belong to the whole cluster: another database may use this one, so it is never dropped.
REVOKE = """
do $$
declare
    item record;
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'pgembedd_worker') then
        revoke all on schema pgembedd from pgembedd_worker;
    end if;
    if exists (select from pg_catalog.pg_roles where rolname = 'pgembedd') then
        revoke all on schema pgembedd from pgembedd;
        for item in
            select 'schema ' || n.oid::regnamespace as granted from pg_catalog.pg_namespace n
            where n.nspname = 'pgmq' or n.oid in (select e.extnamespace from pg_catalog.pg_extension e
                                                  where e.extname = 'vector')
            union all
            select c.oid::regclass::text from pg_catalog.pg_class c
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'pgmq' and c.relname in ('q_pgembedd_jobs', 'q_pgembedd_backfill')
        loop
            execute format('revoke all on %s from pgembedd', item.granted);
        end loop;
    end if;
end $$;
"""


def upgrade() -> None:
    connection = raw(op.get_bind())
    pgmq_install = install_extensions(connection)
    connection.execute(TABLES)
    install_dblink(connection)
    connection.execute("insert into pgembedd.installation (pgmq_install) values (%s)", (pgmq_install,))
    connection.execute(ROLE)


def downgrade() -> None:
    connection = raw(op.get_bind())
    connection.execute(UNSCHEDULE)
    remove_pgmq(connection)  # first: which queues are ours stands in the tables
    connection.execute(DROP_ASKER)
    connection.execute(DROP_ALL)
    connection.execute(REVOKE)
