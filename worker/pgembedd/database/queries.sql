-- Every statement the worker and the command line run, by name. Loaded by queries.py.

-- name: due
-- The running pipelines that have jobs due in one queue and can be served; waits a while for the first.
select pipeline_id, queue from pgembedd_internal.due(
    %(names)s, %(poll_s)s, %(unserved)s, %(queue)s::text, %(idle)s, %(task)s)
where pgembedd_internal.interface({interface} => true)

-- name: clean_session
-- Removes what a user's code left in the session, and sets its limit in ms again, if it has one. Not DISCARD ALL, which
-- ends LISTEN and forgets the plans of functions.
reset all; deallocate all; close all; discard temp;
select pg_catalog.pg_advisory_unlock_all(), pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false),
       pg_catalog.set_config('standard_conforming_strings', 'on', false),
       pg_catalog.set_config('quote_all_identifiers', 'off', false),
       pg_catalog.set_config('array_nulls', 'on', false),
       pg_catalog.set_config('datestyle', 'ISO', false),
       pg_catalog.set_config('intervalstyle', 'postgres', false),
       pg_catalog.set_config('extra_float_digits', '1', false),
       pg_catalog.set_config('bytea_output', 'hex', false),
       pg_catalog.set_config('transform_null_equals', 'off', false),
       pg_catalog.set_config('row_security', 'on', false),
       pg_catalog.set_config('default_transaction_isolation', 'read committed', false),
       (select pg_catalog.set_config('statement_timeout', {limit_ms}, false) where {limit_ms} is not null)

-- name: is_read_only
-- Whether the server takes no writes: a standby, or one that its provider has made read-only.
select pg_catalog.pg_is_in_recovery() or s.reset_val operator(pg_catalog.=) 'on'
from pg_catalog.pg_settings s where s.name operator(pg_catalog.=) 'default_transaction_read_only'

-- name: process
-- The number of the server's process, which a pooler hides.
select pg_catalog.pg_backend_pid()

-- name: pin_path
-- For this transaction or the session, with the settings under which texts and statements mean what we take them for,
-- whatever the defaults of the role and the database; the role's own path is kept.
select pg_catalog.set_config('pgembedd.own_path', pg_catalog.current_setting('search_path'), %(in_transaction)s),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', %(in_transaction)s),
       pg_catalog.set_config('standard_conforming_strings', 'on', %(in_transaction)s),
       pg_catalog.set_config('quote_all_identifiers', 'off', %(in_transaction)s),
       pg_catalog.set_config('array_nulls', 'on', %(in_transaction)s),
       pg_catalog.set_config('datestyle', 'ISO', %(in_transaction)s),
       pg_catalog.set_config('intervalstyle', 'postgres', %(in_transaction)s),
       pg_catalog.set_config('extra_float_digits', '1', %(in_transaction)s),
       pg_catalog.set_config('bytea_output', 'hex', %(in_transaction)s),
       pg_catalog.set_config('transform_null_equals', 'off', %(in_transaction)s),
       pg_catalog.set_config('row_security', 'on', %(in_transaction)s),
       pg_catalog.set_config('default_transaction_isolation', 'read committed', %(in_transaction)s)

-- name: own_path
-- The role's own path, where it was pinned, for this transaction.
select pg_catalog.set_config('search_path', pg_catalog.current_setting('pgembedd.own_path'), true)
where pg_catalog.current_setting('pgembedd.own_path', true) operator(pg_catalog.<>) ''

-- name: add_models
-- The built-in models, of which SQL knows what stands here.
insert into pgembedd_internal.model
select m.* from pg_catalog.jsonb_populate_recordset(null::pgembedd_internal.model, %(models)s) m

-- name: foreign_owner
-- What in these schemas belongs to a role that this one does not trust, and that role; then the schemas that are
-- missing, in the same snapshot, as any role could have made and dropped one between two statements. Trusted are the
-- role itself, the roles that others made it a member of, superusers, the database's owner, the members of the role
-- pgembedd. A superuser trusts neither members nor what it is a member of: it did not ask for either.
with recursive mine(oid, super) as (
    select r.oid, r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user
    union select m.roleid, false from mine join pg_catalog.pg_auth_members m on m.member = mine.oid
    where not mine.super and m.grantor <> m.roleid),
trusted(oid) as (
    select oid from mine
    union all select r.oid from pg_catalog.pg_roles r where r.rolsuper or r.rolname = 'pg_database_owner'
    union all select d.datdba from pg_catalog.pg_database d where d.datname = current_database()
    union all select m.member from pg_catalog.pg_auth_members m
    where m.roleid = to_regrole('pgembedd') and not exists (select from mine where super)),
schema(oid, owner, name) as (
    select n.oid, n.nspowner, n.nspname from pg_catalog.pg_namespace n where n.nspname = any (%(schemas)s::name[])),
item(classid, oid, owner) as (
    select 'pg_proc'::regclass, f.oid, f.proowner from schema s
    join pg_catalog.pg_proc f on f.pronamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal', 'pgmq')
    union all select 'pg_class'::regclass, c.oid, c.relowner from schema s
    join pg_catalog.pg_class c on c.relnamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal')
    union all select 'pg_type'::regclass, t.oid, t.typowner from schema s
    join pg_catalog.pg_type t on t.typnamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal')
    union all select 'pg_operator'::regclass, o.oid, o.oprowner from schema s
    join pg_catalog.pg_operator o on o.oprnamespace = s.oid where s.name in ('pgembedd', 'pgembedd_internal'))
select pg_describe_object('pg_namespace'::regclass, s.oid, 0), s.owner::regrole::text
from schema s where s.owner not in (select oid from trusted)
union all (
    select pg_describe_object(i.classid, i.oid, 0), i.owner::regrole::text from item i
    where i.owner not in (select oid from trusted) and i.owner is distinct from to_regrole('pgembedd')::oid limit 1)
union all select m.name, null from unnest(%(schemas)s::name[]) as m(name) where m.name not in (select name from schema)

-- name: limit_waits
-- For this transaction. Of two that wait for each other the migration gives way: it looks for that at once, where it
-- may.
select set_config('lock_timeout', %(lock_timeout)s, true),
       case when (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user)
            then set_config('deadlock_timeout', '10ms', true) end

-- name: lock_relations
-- Statements that lock the tables with our triggers against writers, then our views, then our tables, these alone: LOCK
-- on a view would lock what others own in it. A writer that has begun goes on with the functions that it found, which
-- name what is renamed; one that waits for its table finds the new ones.
select s.statement from (
    select 1, c.oid, format('lock table %s in share row exclusive mode;', c.oid::regclass)
    from pg_catalog.pg_class c
    where has_table_privilege(c.oid, 'update, delete, truncate') and exists (
        select from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = c.oid and t.tgparentid = 0 and p.pronamespace = to_regnamespace('pgembedd_code'))
    union all
    select case c.relkind when 'v' then 2 else 3 end, c.oid,
           format(case c.relkind when 'v' then 'alter view %1$s owner to %2$s;' else 'lock table only %1$s;' end,
                  c.oid::regclass, c.relowner::regrole)
    from pg_catalog.pg_class c
    where c.relnamespace in (to_regnamespace('pgembedd'), to_regnamespace('pgembedd_internal'))
      and c.relkind in ('v', 'r')) as s(step, relation, statement)
order by s.step, s.relation

-- name: lock_holders
-- The sessions that keep one waiting, each with its statement, without literals, where this role may read it.
select b.pid, a.usename::text, a.state, extract(epoch from clock_timestamp() - a.xact_start)::float8,
       left(regexp_replace(nullif(a.query, '<insufficient privilege>'), $$'([^']|'')*'|\m[0-9.]+\M$$, '?', 'g'), 200)
from unnest(pg_blocking_pids(%(pid)s)) as b(pid) left join pg_catalog.pg_stat_activity a on a.pid = b.pid

-- name: extension_schemas
-- Where the extensions are that we use.
select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname in ('vector', 'pgmq', 'pg_net', 'pg_cron', 'dblink')

-- name: limit_session
-- The lower one of a limit in ms and the role's own, from now on the limit of each statement, of this transaction or
-- the session; the process that serves it.
select l.limit_ms, pg_catalog.pg_backend_pid(),
       pg_catalog.set_config('statement_timeout', l.limit_ms::pg_catalog.text, %(in_transaction)s)
from (select least(%(limit_ms)s::pg_catalog.int4, nullif(s.setting::pg_catalog.int4, 0)) as limit_ms
      from pg_catalog.pg_settings s where s.name operator(pg_catalog.=) 'statement_timeout') l

-- name: limit_statement
-- Another limit in ms, or the role's own where that is lower, for the next statement of the session.
select l.limit_ms, pg_catalog.set_config('statement_timeout', l.limit_ms::pg_catalog.text, false)
from (select least(%(limit_ms)s::pg_catalog.int4, nullif(s.reset_val::pg_catalog.int4, 0)) as limit_ms
      from pg_catalog.pg_settings s where s.name operator(pg_catalog.=) 'statement_timeout') l

-- name: end_process
-- Ends a process of the server's, of this role: one that catches its cancellation.
select pg_catalog.pg_terminate_backend(%(process)s)

-- name: claim
-- Take jobs of one pipeline under a lease.
select queue, msg_id, read_ct, id, pipeline_id, pipeline, model, fingerprint, dimensions, suspect, chunked,
       chunk_tokens, chunk_overlap_tokens, splitter, traceparent, waited_s, attempt, source,
       (select pgembedd_internal.allowed_s(%(pipeline_id)s))
from pgembedd_internal.claim(%(pipeline_id)s, %(queue)s, %(claim_size)s, %(lease_s)s)
where pgembedd_internal.interface({interface} => true)

-- name: continue_backfill
-- Queue more of a backfill that is not queued whole.
select pgembedd_internal.continue_backfill(%(pipeline_id)s)

-- name: claim_pushed
-- Claim jobs that were posted: what each is, and the job where it was claimed.
select null as subject, state, reason, (job).queue, (job).msg_id, (job).read_ct, (job).id, (job).pipeline_id,
       (job).pipeline, (job).model, (job).fingerprint, (job).dimensions, (job).suspect, (job).chunked,
       (job).chunk_tokens, (job).chunk_overlap_tokens, (job).splitter, (job).traceparent, (job).waited_s, (job).attempt,
       (job).source, pgembedd_internal.allowed_s((job).pipeline_id)
from pgembedd_internal.claim_pushed(%(posted)s::text::jsonb, %(lease_s)s::integer)
where pgembedd_internal.interface({interface} => true)

-- name: claim_changed
-- Queue and claim what a webhook tells of; the same, with the pipeline of each.
select subject, state, reason, (job).queue, (job).msg_id, (job).read_ct, (job).id, (job).pipeline_id, (job).pipeline,
       (job).model, (job).fingerprint, (job).dimensions, (job).suspect, (job).chunked, (job).chunk_tokens,
       (job).chunk_overlap_tokens, (job).splitter, (job).traceparent, (job).waited_s, (job).attempt,
       (job).source, pgembedd_internal.allowed_s((job).pipeline_id)
from pgembedd_internal.claim_changed(%(posted)s::text::jsonb, %(lease_s)s::integer)
where pgembedd_internal.interface({interface} => true)

-- name: queue_changed
-- Queue what a webhook tells of, and claim nothing.
select subject, state, reason from pgembedd_internal.claim_changed(%(posted)s::text::jsonb, null)

-- name: release_pushed
-- Put posted jobs that found no room back, due again soon.
select pgembedd_internal.release_pushed(%(posted)s::text::jsonb, %(delay_s)s)

-- name: read
-- The content of rows by key, in the order of the keys.
select state, content, hash from pgembedd_internal.read(%(pipeline_id)s, %(ids)s::text[]::jsonb[])
where pgembedd_internal.interface({interface} => true) order by n

-- name: read_chunks
-- The content of rows by key for a pipeline with an embedding table, with what its chunks need.
select state, content, hash, before, after, known
from pgembedd_internal.read_chunks(%(pipeline_id)s, %(ids)s::text[]::jsonb[])
where pgembedd_internal.interface({interface} => true) order by n

-- name: read_files
-- The files of rows by key, unless their pages are there, in the order of the keys.
select state, file, hash, size
from pgembedd_internal.read_files(
    %(pipeline_id)s, %(ids)s::text[]::jsonb[], %(parser)s::text, %(most_bytes)s::bigint)
where pgembedd_internal.interface({interface} => true) order by n

-- name: read_uris
-- The URIs of rows by key, and what is known of their files, in the order of the keys.
select state, uri, hash, validator, file_hash, unreadable, prefixes
from pgembedd_internal.read_uris(%(pipeline_id)s, %(ids)s::text[]::jsonb[], %(parser)s::text)
where pgembedd_internal.interface({interface} => true) order by n

-- name: note_file
-- Note a file of which no text is read.
select pgembedd_internal.note_file(
    %(pipeline_id)s, %(id)s::text::jsonb, %(uri_hash)s::bytea, %(file_hash)s::bytea, %(validator)s::text,
    %(parser)s::text, %(unreadable)s::text)
where pgembedd_internal.interface({interface} => true)

-- name: due_listings
-- The pipelines whose objects are to be listed.
select pipeline_id, pipeline, objects_uri, prefixes from pgembedd_internal.due_listings()

-- name: begin_listing
-- Begin to list the objects of a pipeline.
select pgembedd_internal.begin_listing(%(pipeline_id)s)

-- name: add_objects
-- Keep a page of a listing.
select pgembedd_internal.add_objects(%(pipeline_id)s, %(number)s, %(objects)s::text::json)

-- name: finish_listing
-- Write what was listed into the source.
select written, deleted
from pgembedd_internal.finish_listing(%(pipeline_id)s, %(number)s, %(objects)s::bigint, %(left_out)s)

-- name: fail_listing
-- Note why objects could not be listed.
select pgembedd_internal.fail_listing(%(pipeline_id)s, %(number)s, %(problem)s)

-- name: store_pages
-- Write the pages of files and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd_internal.store_pages(
    %(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(hashes)s::bytea[],
    %(states)s::text[], %(pages)s::text::json, %(parser)s::text, %(file_hashes)s::bytea[], %(validators)s::text[])
where pgembedd_internal.interface({interface} => true)

-- name: store_chunks
-- Write the chunks of rows and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd_internal.store_chunks(
    %(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(hashes)s::bytea[],
    %(dropped)s::integer[], %(chunk_jobs)s::integer[], %(chunk_indexes)s::integer[], %(chunks)s::text[],
    %(start_offsets)s::integer[], %(end_offsets)s::integer[], %(chunk_hashes)s::bytea[],
    %(embeddings)s::{vector}[], %(tokens)s::integer[], %(tokens_kept)s::integer[], %(recalled)s)
where pgembedd_internal.interface({interface} => true)

-- name: store
-- Write vectors and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd_internal.store(%(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[],
                    %(hashes)s::bytea[], %(embeddings)s::{vector}[], %(dropped)s::integer[], %(recalled)s)
where pgembedd_internal.interface({interface} => true)

-- name: fail
-- Record a failed attempt: retry later, or a dead letter.
select outcome, attempts, extract(epoch from retry_in)::float8
from pgembedd_internal.fail(
    %(queue)s, %(msg_id)s, %(read_ct)s, %(reason)s, %(error)s, %(permanent)s, %(key)s)

-- name: release
-- Give jobs back unworked; no attempt.
select pgembedd_internal.release(%(queue)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(delay_s)s, %(why)s)

-- name: blocker
-- The lock that keeps a pipeline's rows from being read and stored, with what this role may see of its holder.
select b.relation, b.pid, b.waits_for, a.application_name,
       round(extract(epoch from clock_timestamp() - a.xact_start), 1)::float8
from pgembedd_internal.blocker(%(pipeline_id)s) b left join pg_catalog.pg_stat_activity a on a.pid = b.pid

-- name: heartbeat
-- This worker lives; whether an index waits that it may build.
select pgembedd_internal.heartbeat(
    %(worker)s, %(place)s, %(sessions)s::integer[], %(tasks)s::text[], %(busy_with)s::integer[])

-- name: extend
-- Keep jobs for another lease; the ids that are still ours come back.
select pgembedd_internal.extend(%(queue)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(lease_s)s)
where pgembedd_internal.interface({interface} => true)

-- name: mark_alone
-- Note that a suspect is about to be worked alone.
select pgembedd_internal.mark_alone(%(queue)s, %(msg_id)s, %(read_ct)s)

-- name: pin_model
-- Pin a pipeline to the model that serves it first; the pinned fingerprint comes back.
select pgembedd_internal.pin_model(%(pipeline_id)s, %(fingerprint)s)

-- name: note_unserved
-- Note why this worker cannot serve a pipeline.
select pgembedd_internal.note_unserved(%(pipeline_id)s, %(reason)s, %(tried)s, %(worker)s)

-- name: note_served
-- Take such a note back.
select pgembedd_internal.note_served(%(pipeline_id)s, %(loaded)s, %(worker)s)

-- name: note_slow
-- Code of the table's owner did not end in time.
select pgembedd_internal.note_slow(%(pipeline_id)s, %(allowed_s)s, %(timeout_s)s, %(tried)s)

-- name: note_slow_change
-- The same of the pipelines whose keys a webhook has.
select pgembedd_internal.note_slow_change(%(posted)s::jsonb, %(timeout_s)s)

-- name: end_turn
-- A row of a slow pipeline was done in time.
select pgembedd_internal.end_turn(%(pipeline_id)s)

-- name: probe_model
-- The probe vectors that a pipeline was first served with; these, if it has none.
select pgembedd_internal.probe_model(%(pipeline_id)s, %(vectors)s::real[])

-- name: use_provider
-- Count a request to a provider, unless the budget of the day is used up.
select pgembedd_internal.use_provider(
    %(provider)s::text, %(tokens)s::bigint, %(tokens_per_day)s::bigint, %(requests_per_day)s::bigint)

-- name: correct_provider_use
-- Correct the tokens of today by so many.
select pgembedd_internal.correct_provider_use(%(provider)s::text, %(tokens)s::bigint)

-- name: diagnose
-- Stop a pipeline that cannot work at all; its reason, or null when nothing is wrong with it.
select pgembedd_internal.diagnose(%(pipeline_id)s)

-- name: stop_pipeline
-- Stop a pipeline for a reason found outside the database.
select pgembedd_internal.stop_pipeline(%(pipeline_id)s, %(reason)s)

-- name: parse_pipelines
-- The running pipelines that parse files.
select pipeline_id, pipeline, noted, uri_prefixes from pgembedd_internal.parse_pipelines()

-- name: models
-- What the running pipelines need of a model.
select pipeline_id, pipeline, model, fingerprint, dimensions, noted from pgembedd_internal.models()

-- name: begin_provider_batch
-- Note that the texts of jobs are about to be sent as a batch.
select pgembedd_internal.begin_provider_batch(%(pipeline_id)s, %(msg_ids)s::bigint[])

-- name: provider_batches
-- The batches that have texts of these jobs.
select id, batch, output, msg_ids, age_s
from pgembedd_internal.provider_batches(%(pipeline_id)s, %(msg_ids)s::bigint[])

-- name: note_provider_batch
-- What is known of a batch by now.
select pgembedd_internal.note_provider_batch(%(id)s, %(batch)s, %(output)s, %(lost_s)s)

-- name: pipeline_names
-- The names of all pipelines, as a role may ask that may only work.
select m.pipeline from pgembedd.metrics() m where m.pipeline is not null order by m.pipeline

-- name: snapshot
-- What is committed by now.
select pg_catalog.pg_current_snapshot()::text

-- name: events
-- What was told by these numbers since then.
select e.event from pgembedd.events(%(numbers)s::bigint[], %(since)s::text::pg_snapshot) e

-- name: set_idle
-- Ask the triggers to NOTIFY, or tell them not to.
select pgembedd_internal.set_idle(%(idle)s)

-- name: tick
-- The upkeep, when it is due.
select pgembedd.tick(%(sweep_every_s)s)

-- name: take_embed_requests
-- Texts that wait in embed() for their vectors.
select id, model, fingerprint, known, kind, content from pgembedd_internal.take_embed_requests(%(at_most)s, %(worker)s)
where pgembedd_internal.interface({interface} => true)

-- name: finish_embed_requests
-- Their vectors, or why there is none.
select pgembedd_internal.finish_embed_requests(
    %(ids)s::uuid[], %(embeddings)s::{vector}[], %(refusals)s::text[], %(worker)s)
where pgembedd_internal.interface({interface} => true)

-- name: decline_embed_request
-- Leave it to another worker.
select pgembedd_internal.decline_embed_request(%(id)s, %(reason)s, %(worker)s)

-- name: tend_indexes
-- Which indexes are due by now, and which are done.
select pgembedd_internal._maintain_indexes()

-- name: indexes_due
-- Indexes that are due and that this role may build.
select p.name from pgembedd_internal.pipeline p
where p.index_due_at <= clock_timestamp() and pgembedd_internal._problem(p) is null
  and pgembedd_internal._may_index(pg_catalog.quote_ident(current_user)::regrole::oid, pgembedd_internal._target(p))
order by p.index_due_at

-- name: indexes_wanted
-- Indexes that are outstanding, due or not, and those that were dropped.
select p.name from pgembedd_internal.pipeline p
where p.index_due_at is not null or pgembedd_internal._index_state(p) = 'dropped' order by p.index_due_at, p.id

-- name: index_state
-- What status says of a pipeline's index.
select pgembedd_internal._index_state(pgembedd_internal._pipeline(%(name)s))

-- name: index_lock
-- Whether this session is now the only one that builds an index here.
select pgembedd_internal._start_index_build()

-- name: index_unlock
-- Let others build.
select pgembedd_internal._end_index_build()

-- name: index_size
-- What the memory of a build depends on.
select pgembedd_internal._vectors(p), p.dimensions, p.vector_type, g.m
from pgembedd_internal.pipeline p, pgembedd_internal._graph(p) g where p.name = %(name)s

-- name: index_settings
-- Room for a build in kB (at least what the server gives anyway), no timeout on it; what it is now.
select room.kb, pg_catalog.set_config('maintenance_work_mem', room.kb || 'kB', false),
       pg_catalog.set_config('max_parallel_maintenance_workers', %(workers)s, false),
       pg_catalog.set_config('statement_timeout', '0', false), pg_catalog.set_config('lock_timeout', '0', false)
from (select greatest(s.reset_val::bigint, %(memory)s::bigint) as kb from pg_catalog.pg_settings s
      where s.name = 'maintenance_work_mem') as room

-- name: index_statements
-- What is to be run for the index of a pipeline, one by one.
select pgembedd.index_statements(%(name)s)

-- name: drop_unfinished
-- What a build of ours that was ended left behind.
select pgembedd_internal._drop_unfinished(p.id) from pgembedd_internal.pipeline p where p.name = %(name)s

-- name: vector_schema
-- Where the extension's types live.
select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = 'vector'

-- name: vector_type
-- Where the extension's types live, and the numbers of `vector` and `vector[]`.
select n.nspname, t.oid, t.typarray
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
join pg_catalog.pg_type t on t.typnamespace = n.oid and t.typname = 'vector'
where e.extname = 'vector'

-- name: provider_use_today
-- What was asked of providers today.
select provider, tokens, requests from pgembedd_internal.provider_use
where day = (clock_timestamp() at time zone 'UTC')::date order by provider

-- name: truncated
-- Rows whose text was cut, those of which most is missing first.
select t.pipeline, t.key::text, t.dropped_tokens, t.since from pgembedd.truncated t
where %(name)s::text is null or t.pipeline = (pgembedd_internal._pipeline(%(name)s)).name
order by t.dropped_tokens desc, t.pipeline, t.key limit %(limit)s

-- name: truncated_share
-- How many rows were cut in each pipeline, and of how many; large tables are not counted but estimated.
select p.name, count(*), pgembedd_internal._row_count(p)
from pgembedd_internal.pipeline p join pgembedd_internal.row_state r on r.pipeline_id = p.id and r.state = 'truncated'
where %(name)s::text is null or p.name = %(name)s
group by p.id order by p.name

-- name: waiting
-- How much of a pipeline is queued, and how many workers that claim jobs answer.
select s.state, s.reason, s.queued,
       (select count(*) from pgembedd.workers() w where w.answers and 'claim' = any (w.tasks))
from pgembedd.status s where s.pipeline = %(name)s

-- name: backfill
-- Queue what has no vector.
select pgembedd.backfill(%(name)s, %(force)s)

-- name: retry_dead_letters
-- Put dead letters back.
select pgembedd.retry_dead_letters(%(name)s, %(reason)s)

-- name: verify_rights
-- Whether this role may verify at all: the owner of pgembedd, or a member.
select pg_catalog.has_table_privilege('pgembedd_internal.pipeline', 'select')
   and pg_catalog.has_function_privilege('pgembedd.requeue(text, jsonb[])', 'execute')

-- name: verify_targets
-- What verify needs of each pipeline.
select p.id, p.name, p.model, p.fingerprint, p.dimensions,
       p.embedding_table is not null, p.chunk_tokens, p.chunk_overlap_tokens, p.splitter = 'markdown', p.task
from pgembedd_internal.pipeline p order by p.name

-- name: verify_check
-- Raises what stands in the way of verifying a pipeline; how many rows it has, about.
select pgembedd_internal._check_verify(p), pgembedd_internal._estimated_rows(p.source)
from pgembedd_internal._pipeline(%(name)s) p

-- name: verify_sample
-- Keys at random: of rows, or of chunks that no row has.
select k::text from pgembedd_internal._sample_keys(%(name)s, %(sample)s, %(seed)s, %(orphans)s) k

-- name: verify_next
-- The keys that come after one: of rows, or of chunks that no row has.
select k::text from pgembedd_internal._next_keys(%(name)s, %(after)s::jsonb, %(at_most)s, %(orphans)s) k

-- name: verify_look
-- Rows by key as they are, in the order of the keys.
select state, content, hash, noted, embeddings, before, after, chunk_indexes, start_offsets, end_offsets, hashes, models
from pgembedd_internal._look_at(%(name)s, %(ids)s::text[]::jsonb[], %(with_queues)s) order by n

-- name: verify_noted
-- What is known of rows that cannot be read: dead, queued or nothing, in the order of the keys.
select unnest(pgembedd_internal._noted(pgembedd_internal._pipeline(%(name)s), %(ids)s::text[]::jsonb[], true))

-- name: requeue
-- Queue rows by key.
select pgembedd.requeue(%(name)s, %(keys)s::text[]::jsonb[])

-- name: doctor_server
-- Who we are, where.
select current_setting('server_version_num')::integer, current_setting('server_version'), current_user::text,
       current_database()::text, (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user),
       pg_catalog.has_database_privilege(current_database(), 'create'),
       (select r.rolcreaterole from pg_catalog.pg_roles r where r.rolname = current_user)

-- name: extension_versions
-- Which extensions are there, and which could be; pgmq may be there as plain SQL.
select x.name, e.extversion, a.default_version, coalesce(v.trusted, false),
       x.name = 'pgmq' and e.extname is null and exists (
           select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
           where n.nspname = 'pgmq' and c.relname = 'meta')
from unnest(array['vector', 'pgmq', 'pg_cron', 'pg_net', 'dblink']) with ordinality as x(name, nth)
left join pg_catalog.pg_extension e on e.extname = x.name
left join pg_catalog.pg_available_extensions a on a.name = x.name
left join pg_catalog.pg_available_extension_versions v on v.name = x.name and v.version = a.default_version
order by x.nth

-- name: worker_functions_missing
-- How many of the functions that grant_worker() grants this role may not call.
select count(*) from pg_catalog.pg_proc f
where (f.pronamespace = 'pgembedd_internal'::regnamespace and f.proname not like E'\\_%%'
       or f.pronamespace = 'pgembedd'::regnamespace
          and f.proname in ('tick', 'metrics', 'schema_version', 'events', 'workers'))
  and not pg_catalog.has_function_privilege(f.oid, 'execute')

-- name: doctor_uses
-- Whether this role may retry failed jobs, as an operator, and whether it may search.
select coalesce(bool_or(f.proname = 'retry_dead_letters'), false), coalesce(bool_or(f.proname = 'search'), false)
from pg_catalog.pg_proc f
where f.pronamespace = 'pgembedd'::regnamespace and f.proname in ('retry_dead_letters', 'search')
  and pg_catalog.has_function_privilege(f.oid, 'execute')

-- name: may_read_events
-- Whether this role may read the events, and the names of the pipelines.
select pg_catalog.has_function_privilege('pgembedd.events(bigint[], pg_snapshot)', 'execute')
   and pg_catalog.has_function_privilege('pgembedd.metrics()', 'execute')

-- name: doctor_owner
-- The owner of our schema, as whom our functions run.
select n.nspowner::regrole::text from pg_catalog.pg_namespace n where n.nspname = 'pgembedd'

-- name: doctor_role
-- Who owns what runs next to code of tables' owners, the installer, and what the role without attributes lacks.
select pgembedd_internal._runner()::text, pgembedd_internal._owner_of_schema()::text, pgembedd_internal._role_remedy()

-- name: doctor_queues
-- Queues that should be there and are not.
select q.name from unnest(array['pgembedd_fresh', 'pgembedd_backfill']) as q(name)
where not exists (
    select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'pgmq' and c.relname = 'q_' || q.name)

-- name: doctor_may_look
-- Whether this role may read the pipelines and what is wrong with each: the owner, or a member.
select pg_catalog.has_table_privilege('pgembedd_internal.pipeline', 'select')
   and pg_catalog.has_table_privilege('pgembedd.status', 'select')
   and pg_catalog.has_function_privilege('pgembedd_internal._problem(pgembedd_internal.pipeline)', 'execute')

-- name: doctor_pipelines
-- Each pipeline with what is wrong with it.
select p.name, s.state, s.reason, pgembedd_internal._problem(p), p.model, p.fingerprint, p.dimensions,
       s.queued, s.dead, extract(epoch from s.oldest_age)::float8,
       s.index, extract(epoch from clock_timestamp() - p.index_due_at)::float8
from pgembedd_internal.pipeline p join pgembedd.status s on s.pipeline = p.name order by p.name

-- name: doctor_sparse_indexes
-- HNSW indexes of more than 500,000 vectors and fewer than 32 links, each with its pipeline, m, and how many.
select p.name, f.index::text, o.m, c.reltuples::bigint
from pgembedd_internal.pipeline p, pgembedd_internal._tables(p) t, pgembedd_internal._fitting_indexes(p, t) f
join pg_catalog.pg_class c on c.oid = f.index,
lateral (select coalesce(min(option_value::integer) filter (where option_name = 'm'), 16)
         from pg_catalog.pg_options_to_table(c.reloptions)) as o(m)
where f.method = 'hnsw' and f.valid and c.reltuples > 500000 and o.m < 32
order by 1, 2

-- name: doctor_may_embed
-- Whether this role may try what embed() does: the owner, or a member. On a standby embed() does not work.
select not pg_catalog.pg_is_in_recovery()
   and pg_catalog.has_table_privilege('pgembedd_internal.loopback', 'select')
   and pg_catalog.has_function_privilege('pgembedd_internal._embed_problem()', 'execute')

-- name: doctor_embed
-- Whether embed() is set up, whether the role that it connects as exists, what would set it up, how many workers
-- answer.
select exists (select from pgembedd_internal.loopback) and pgembedd_internal._dblink() is not null,
       (select l.username from pgembedd_internal.loopback l where to_regrole(quote_ident(l.username)) is null),
       pgembedd_internal._embed_remedy(),
       coalesce(cardinality(pgembedd_internal._listeners()), 0)

-- name: doctor_embed_problem
-- What keeps embed() from reaching its own database, found by trying.
select pgembedd_internal._embed_problem()

-- name: doctor_workers
-- How many workers answer in this database that claim jobs, or take posted ones.
select count(*) from pgembedd.workers() w where w.answers and w.tasks && '{claim,push}'

-- name: doctor_push
-- Where jobs are posted, whether their answers can be read, and what the newest says.
select p.url, pgembedd_internal._may_read_push_answers(), p.problem from pgembedd_internal.push p

-- name: import_triggers
-- Triggers of others with arguments, which is what the guide's are; a partition's copies left out.
select n.nspname, c.relname, t.tgname, f.proname,
       array(select convert_from(decode(a.part, 'escape'), getdatabaseencoding())
             from unnest(string_to_array(encode(t.tgargs, 'escape'), '\000')) with ordinality as a(part, nth)
             where a.nth <= t.tgnargs order by a.nth),
       t.tgtype::integer & 2 <> 0, t.tgtype::integer & 4 <> 0, t.tgtype::integer & 16 <> 0, t.tgqual is not null,
       pg_get_triggerdef(t.oid),
       array(select a.attname::text from unnest(t.tgattr::int2[]) as k(attnum)
             join pg_catalog.pg_attribute a on a.attrelid = t.tgrelid and a.attnum = k.attnum order by k.attnum)
from pg_catalog.pg_trigger t
join pg_catalog.pg_proc f on f.oid = t.tgfoid
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and t.tgparentid = 0 and t.tgnargs > 0 and f.pronamespace <> 'pgembedd_code'::regnamespace
order by n.nspname, c.relname, t.tgname

-- name: import_column
-- What a column is that vectors are in, and whose; the content function by its whole name; a free name for a pipeline;
-- the dimensions of the model that is said to have made the vectors.
select format('%%I.%%I', %(schema)s::text, %(table)s::text),
       (select format('%%I.%%I', n.nspname, f.proname) from pg_catalog.pg_proc f
        join pg_catalog.pg_namespace n on n.oid = f.pronamespace
        where f.oid = pgembedd_internal._named_function(s.oid, %(function)s)),
       a.typname, a.atttypmod, p.name, pgembedd_internal._indexed_distance(s.oid, %(column)s),
       pgembedd_internal._free_pipeline_name(s.oid, %(column)s), pgembedd_internal._model_dimensions(%(model)s::text)
from (select to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)) as oid) s
left join lateral (
    select t.typname, a.atttypmod from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    where a.attrelid = s.oid and a.attname = %(column)s and a.attnum > 0 and not a.attisdropped) a on true
left join pgembedd_internal.pipeline p on p.source = s.oid and p.embedding_column = %(column)s

-- name: import_undo
-- The columns whose triggers an import dropped, and those triggers.
select t.source_name, t.embedding_column, array_agg(t.definition order by t.name)
from pgembedd_internal.imported_trigger t group by t.source_name, t.embedding_column order by 1, 2

-- name: guide_limits
-- For one job of the guide; a policy that would hide its row is an error, or the row would be taken for gone.
select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10s', true),
       set_config('row_security', 'off', true)

-- name: guide_message
-- A message of the guide's queue, and whether a posted job says the same.
select (select bool_and(j.job -> k.name is not distinct from q.message -> k.name)
        from (select %(job)s::jsonb as job) j
        cross join unnest('{id,schema,table,contentFunction,embeddingColumn}'::text[]) as k(name)),
       q.message ->> 'id', q.message ->> 'schema', q.message ->> 'table', q.message ->> 'contentFunction',
       q.message ->> 'embeddingColumn'
from pgmq.q_embedding_jobs q where q.msg_id = %(msg_id)s

-- name: guide_target
-- A sentence about why what a message of the guide names cannot be used, or null; the content function's schema and
-- name, and the types of id and vector. An unqualified function is looked for as in a call, then next to the table. The
-- role runs the code of its own tables and functions only.
select case when c.oid is null then format('There is no table %%s.%%s.', %(schema)s::text, %(table)s::text)
            when c.relowner <> u.oid then format('%%s.%%s does not belong to the role %%s: connect the service as the '
                'table''s owner, or run `pgembedd import supabase`.', %(schema)s::text, %(table)s::text, u.rolname)
            when c.relforcerowsecurity and not (u.rolsuper or u.rolbypassrls) then format(
                'Row level security is forced on %%s.%%s: ALTER ROLE %%I BYPASSRLS, or ALTER TABLE ... NO FORCE ROW '
                'LEVEL SECURITY.', %(schema)s::text, %(table)s::text, u.rolname)
            when f.name is null then format('There is no function %%s that takes a row of %%s.%%s.', %(function)s::text,
                %(schema)s::text, %(table)s::text)
            when f.owner <> u.oid and not f.superuser then format('The function %%s.%%s belongs neither to the role '
                '%%s nor to a superuser: change its owner, or run `pgembedd import supabase`.', f.schema, f.name,
                u.rolname)
            when k.attname is null then format('%%s.%%s has no column id.', %(schema)s::text, %(table)s::text)
            when v.attname is null then format('%%s.%%s has no column "%%s" of the type halfvec or vector.',
                %(schema)s::text, %(table)s::text, %(column)s::text)
            when v.atttypmod <> %(dimensions)s then format(
                '"%%s" has %%s dimensions, but %%s makes %%s: name the model '
                'of its vectors first in PGEMBEDD_HTTP_MODELS, or run `pgembedd import supabase`.', %(column)s::text,
                case when v.atttypmod > 0 then v.atttypmod::text else 'no' end, %(model)s::text, %(dimensions)s) end,
       f.schema, f.name, format_type(k.atttypid, k.atttypmod), format_type(v.atttypid, v.atttypmod)
from pg_catalog.pg_roles u
left join lateral (
    select c.oid, c.relowner, c.relrowsecurity and c.relforcerowsecurity as relforcerowsecurity
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %(schema)s and c.relname = %(table)s and c.relkind in ('r', 'p')) c on true
left join lateral (
    select n.nspname as schema, p.proname as name, p.proowner as owner, o.rolsuper as superuser
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join pg_catalog.pg_roles o on o.oid = p.proowner
    join pg_catalog.pg_class r on r.oid in (c.oid, pg_partition_root(c.oid)) and r.reltype = p.proargtypes[0]
    where p.proname = regexp_replace(%(function)s, '^.*\.', '')
      and p.pronargs = 1 and p.prokind = 'f'
      and n.nspname = any (case when strpos(%(function)s, '.') > 0
                                then array[regexp_replace(%(function)s, '\.[^.]*$', '')::name]
                                else current_schemas(true) || %(schema)s::name end)
    order by array_position(current_schemas(true), n.nspname), r.oid <> c.oid limit 1) f on true
left join pg_catalog.pg_attribute k on k.attrelid = c.oid and k.attname = 'id' and not k.attisdropped
left join (pg_catalog.pg_attribute v join pg_catalog.pg_type t
           on t.oid = v.atttypid and t.typname in ('halfvec', 'vector'))
    on v.attrelid = c.oid and v.attname = %(column)s and v.attnum > 0 and not v.attisdropped and v.attgenerated = ''
where u.rolname = current_user

-- name: guide_content
select {function}(t.*)::text from {source} t where t.id operator(pg_catalog.=) %(id)s::text::{id_type}

-- name: guide_write
-- Compares the content again; its function runs once more.
update {source} t set {column} = %(vector)s::text::{vector_type}
where t.id operator(pg_catalog.=) %(id)s::text::{id_type}
  and {function}(t.*)::text collate "C" is not distinct from %(content)s

-- name: guide_row
select exists (select from {source} t where t.id operator(pg_catalog.=) %(id)s::text::{id_type})

-- name: guide_done
delete from pgmq.q_embedding_jobs q where q.msg_id = %(msg_id)s

-- name: import_catalogue
-- Whether pgai is here.
select to_regclass('ai.vectorizer') is not null

-- name: import_vectorizers
-- pgai's vectorizers, whatever columns its version gives them.
select to_jsonb(v) from ai.vectorizer v order by v.id

-- name: import_relation
-- The relation of that name, quoted; null where there is none.
select to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))::text

-- name: import_name_taken
-- Whether a pipeline is called that.
select exists (select from pgembedd_internal.pipeline p where p.name = %(name)s)

-- name: search
-- Searches; the arguments are those that the caller gave.
select s.* from pgembedd.search({arguments}) s

-- name: keys_without_row
-- The places, from 1, of those keys that are of no row that the caller may read.
select k.nth from pg_catalog.unnest(%(keys)s::jsonb[]) with ordinality as k(key, nth)
where pgembedd.search_row(%(pipeline)s::text, k.key) is null order by k.nth

-- name: answer_threshold
-- From which similarity on ask() takes a source.
select coalesce(s.min_similarity, pgembedd_internal._answer_threshold(p.model))
from pgembedd.search_pipelines(%(pipeline)s::text) p
left join pgembedd_internal.answer_settings s on s.pipeline operator(pg_catalog.=) p.pipeline

-- name: search_many
-- Searches several pipelines at once.
select s.* from pgembedd.search_many({arguments}) s

-- name: similar
-- The rows like one of the rows.
select s.* from pgembedd.similar({arguments}) s

-- name: explain_search
-- How a search finds what it finds.
select e from pgembedd.explain_search({arguments}) e

-- name: search_session
-- For this transaction: the claims that policies ask for and the limit of time. And what is wrong with the role.
select r.rolname,
       case when r.rolsuper then 'is a superuser' when r.rolbypassrls then 'has BYPASSRLS'
            when r.rolcreaterole then 'has CREATEROLE' when r.rolreplication then 'has REPLICATION'
            when r.rolinherit then 'has INHERIT'
            when exists (select from pg_catalog.pg_auth_members m where m.member operator(pg_catalog.=) r.oid)
            then 'is a member of another role'
            when exists (select from pg_catalog.pg_shdepend d
                         where d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass
                           and d.refobjid operator(pg_catalog.=) r.oid and d.deptype operator(pg_catalog.=) 'o')
            then 'owns tables or other objects' end,
       pg_catalog.set_config('request.jwt.claims', %(claims)s, true),
       pg_catalog.set_config('statement_timeout', %(milliseconds)s, true)
from pg_catalog.pg_roles r where r.rolname operator(pg_catalog.=) session_user

-- name: search_row
-- The row of a key, as far as the caller may read it.
select r from pgembedd.search_row({arguments}) r

-- name: search_pipelines
-- What the caller may search.
select p.* from pgembedd.search_pipelines({arguments}) p

-- name: trial_role
-- For the private Postgres alone: a role that searches and asks over HTTP, with the rights on tables that are there and
-- on those that follow.
do $do$ begin
    if to_regrole({role_name}) is null then create role {role}; end if;
end $do$;
alter role {role} login noinherit password {password};
grant select on all tables in schema public to {role};
alter default privileges in schema public grant select on tables to {role};
select pgembedd.grant_search({role_name}), pgembedd.grant_ask({role_name})

-- name: status
-- What the page and `pgembedd status` show of each pipeline, durations in seconds. What does not run or is not served
-- comes first.
select pipeline, source, destination, model, fingerprint, state, reason, queued, queued_fresh, queued_backfill,
       extract(epoch from oldest_age)::float8 as oldest_age_s, failing, dead, blank, truncated,
       rows_per_minute::float8 as rows_per_minute, coverage::float8 as coverage,
       extract(epoch from lag)::float8 as lag_s, index, index_due_at, triggers,
       extract(epoch from time_left)::float8 as time_left_s, queued_estimated
from pgembedd.status order by state <> 'stopped', state <> 'unserved', state <> 'stalled', pipeline

-- name: history
-- The last hour of every pipeline by the minute; waits in seconds.
select pipeline, at, queued::float8 as queued, extract(epoch from oldest_age)::float8 as oldest_age_s,
       extract(epoch from lag)::float8 as lag_s, rows_per_minute::float8 as rows_per_minute
from pgembedd.history(last => '1 hour', bucket => '1 minute') order by pipeline, at

-- name: dead_letter_reasons
-- Dead letters by pipeline and reason, the most frequent first.
select f.pipeline, f.reason, count(*) as jobs, max(f.died_at) as last_at
from pgembedd.dead_letters f group by f.pipeline, f.reason order by count(*) desc, f.pipeline, f.reason limit %(limit)s

-- name: dead_letters
-- Dead letters one by one, the latest first; of any pipeline, of none (''), or of one.
select f.pipeline, f.key::text as key, f.reason, f.attempts, f.enqueued_at, f.died_at,
       left(f.error, %(length)s) as error
from pgembedd.dead_letters f
where (%(pipeline)s::text is null or coalesce(f.pipeline, '') = %(pipeline)s)
  and (%(reason)s::text is null or f.reason = %(reason)s)
order by f.died_at desc, f.pipeline, f.key limit %(limit)s offset %(offset)s

-- name: metrics
-- What a scrape says of the pipelines and their queues.
select pipeline, state, queued_fresh, queued_backfill, oldest_age_fresh_s, oldest_age_backfill_s, failing, dead, blank,
       truncated, rows_per_minute, demand_s
from pgembedd.metrics()

-- name: demand
-- Seconds of work that is due or leased, of these pipelines or of all.
select case when %(pipelines)s::text[] = '{}' then pgembedd.demand()
            else (select sum(pgembedd.demand(name)) from unnest(%(pipelines)s::text[]) name) end

-- name: left
-- What is queued although nothing is demanded, of these pipelines or of all, as a role may ask that may only work.
select pipeline, state, queued from pgembedd.metrics()
where queued > 0 and pipeline = any (case when %(pipelines)s::text[] = '{}' then array[pipeline] else %(pipelines)s end)
order by pipeline

-- name: statement_timeout
-- For this transaction.
select set_config('statement_timeout', %(milliseconds)s, true)

-- name: claim_answers
-- Take questions under a lease, none of those that this worker has: slow ones, or the others.
select id, attempt, pipeline, model, question, history
from pgembedd_internal.claim_answers(%(at_most)s, %(lease_s)s, has => %(has)s::uuid[], slow => %(slow)s)
where pgembedd_internal.interface({interface} => true)

-- name: read_answer
-- What the prompt of a claimed question is made of; touches its table.
select r.outcome, r.sources from pgembedd_internal.read_answer(%(answer)s, %(attempt)s) r

-- name: postpone_answer
-- Put a question back whose rows were not read in time.
select pgembedd_internal.postpone_answer(%(answer)s, %(attempt)s, %(message)s, %(most)s)

-- name: extend_answers
-- Keep answers for another lease; the ids that are still ours come back.
select pgembedd_internal.extend_answers(%(answers)s::uuid[], %(attempts)s::integer[], %(lease_s)s)
where pgembedd_internal.interface({interface} => true)

-- name: write_answers
-- Append events of any number of answers; the ids that are still ours come back.
select pgembedd_internal.write_answers(
    %(answers)s::uuid[], %(attempts)s::integer[], %(events)s::text[], %(data)s::jsonb[])
where pgembedd_internal.interface({interface} => true)

-- name: finish_answer
-- Store a whole answer with its last events, both or neither.
select pgembedd_internal.finish_answer(%(answer)s, %(attempt)s, %(status)s, %(content)s, %(citations)s::integer[],
                              %(events)s::text[], %(data)s::jsonb[])
where pgembedd_internal.interface({interface} => true)

-- name: fail_answer
-- End an attempt: retry later, or fail the answer.
select pgembedd_internal.fail_answer(%(answer)s, %(attempt)s, %(message)s, %(permanent)s, %(delay_s)s)

-- name: release_answers
-- Give questions back unanswered; no failure.
select pgembedd_internal.release_answers(%(answers)s::uuid[], %(attempts)s::integer[])

-- name: hear_answers
-- Hear when an answer has something new. The payload is its id.
listen pgembedd_answers

-- name: ask
-- Searches as the caller and queues the answer.
select pgembedd.ask({arguments}) as id

-- name: answer
-- What the caller may see of an answer; no row for one of others.
select a.id, a.thread, a.pipeline, a.question, a.language_model, a.status, a.attempt, a.answer, a.reason,
       coalesce((select e.data operator(pg_catalog.->) 'notes'::pg_catalog.text from pgembedd.answer_events e
                 where e.answer operator(pg_catalog.=) a.id and e.event operator(pg_catalog.=) 'done'
                 order by e.seq desc limit 1), '[]'::pg_catalog.jsonb) as notes
from pgembedd.answers a where a.id operator(pg_catalog.=) %(id)s

-- name: answers_before
-- What was asked in the thread of an answer before it, as far as the caller may see it, the oldest first.
select b.id, b.question, b.status, b.answer
from pgembedd.answers a join pgembedd.answers b
    on b.thread operator(pg_catalog.=) a.thread and b.asked_at operator(pg_catalog.<) a.asked_at
where a.id operator(pg_catalog.=) %(id)s order by b.asked_at

-- name: stop_answer
-- Stops an answer of the caller's; what was written stays.
select pgembedd.stop_answer(%(id)s) as stopped

-- name: answer_is_untaken
-- Whether no worker takes a question that is queued, and none is busy with another one.
select pgembedd_internal._is_untaken(%(id)s) as untaken

-- name: answer_events
-- What happened to some answers since an event of each.
select e.answer, e.seq, e.event, e.data
from rows from (pg_catalog.unnest(%(answers)s::pg_catalog.uuid[]),
                pg_catalog.unnest(%(after)s::pg_catalog.int4[])) as w(answer, after)
join pgembedd.answer_events e on e.answer operator(pg_catalog.=) w.answer and e.seq operator(pg_catalog.>) w.after
order by e.answer, e.seq

-- name: answer_sources
-- The sources of an answer that the caller may still read.
select s.n, s.pipeline, s.key, s.title, s.url, s.excerpt, s.score, s.place
from pgembedd.answer_sources(%(id)s) s order by s.n

-- name: asked_pipelines
-- What the caller may ask questions about.
select p.pipeline from pgembedd.search_pipelines() p
where exists (select from pg_catalog.pg_proc f where f.proname operator(pg_catalog.=) 'ask'
                and f.pronamespace operator(pg_catalog.=) 'pgembedd'::pg_catalog.regnamespace
                and pg_catalog.has_function_privilege(f.oid, 'execute'))
order by p.pipeline

-- name: pgmq_rights
-- Whether a role may keep queues in pgmq, the version of the extension, whether it is the role's, which queues are
-- missing. A role that neither installed pgmq nor is a superuser has to be granted that.
select pg_catalog.has_schema_privilege(%(role)s::regrole, n.oid, 'usage')
       and pg_catalog.has_schema_privilege(%(role)s::regrole, n.oid, 'create')
       and coalesce((select bool_and(pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'select')
                                     and pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'insert')
                                     and pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'update')
                                     and pg_catalog.has_table_privilege(%(role)s::regrole, c.oid, 'delete'))
                     from pg_catalog.pg_class c
                     where c.relnamespace = n.oid and c.relkind in ('r', 'p')
                       and c.relname in ('meta', 'q_pgembedd_fresh', 'q_pgembedd_backfill')), true),
       e.extversion, coalesce(pg_catalog.pg_has_role(%(role)s::regrole, e.extowner, 'usage'), false),
       array(select q.name from unnest(array['pgembedd_fresh', 'pgembedd_backfill']) as q(name)
             where not exists (select from pg_catalog.pg_class c
                               where c.relnamespace = n.oid and c.relname = 'q_' || q.name))
from pg_catalog.pg_namespace n left join pg_catalog.pg_extension e on e.extname = 'pgmq'
where n.nspname = 'pgmq'

-- name: pgmq_versions
-- The version of the extension, null where there is none, and the versions that the server offers.
select (select e.extversion from pg_catalog.pg_extension e where e.extname = 'pgmq'),
       array(select v.version from pg_catalog.pg_available_extension_versions v where v.name = 'pgmq')

-- name: pgmq_dependents
-- An object of others that depends on pgmq: dropping a schema that we filled must not drop it.
select pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
from pg_catalog.pg_depend d
left join pg_catalog.pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_catalog.pg_class c on c.oid = case when d.classid = 'pg_class'::regclass then d.objid else r.ev_class end
left join pg_catalog.pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
where coalesce(c.relnamespace, p.pronamespace) not in ('pgmq'::regnamespace, 'pg_toast'::regnamespace)
  and d.refobjid in (select oid from pg_catalog.pg_class where relnamespace = 'pgmq'::regnamespace
                     union all select oid from pg_catalog.pg_type where typnamespace = 'pgmq'::regnamespace
                     union all select oid from pg_catalog.pg_proc where pronamespace = 'pgmq'::regnamespace)
limit 1

-- name: restore_queue_indexes
-- Queues that others made stay, with the index that pgmq gives them instead of ours (sql/10_queue/index.sql).
do $$
declare
    one record;
begin
    for one in
        select x.oid::regclass as index, i.indrelid::regclass as queue
        from pg_catalog.pg_index i join pg_catalog.pg_class x on x.oid = i.indexrelid
        where i.indrelid in (to_regclass('pgmq.q_pgembedd_fresh'), to_regclass('pgmq.q_pgembedd_jobs'),
                             to_regclass('pgmq.q_pgembedd_backfill'))
          and x.relname like 'q\_%\_by\_pipeline' and pg_catalog.pg_has_role(x.relowner, 'usage')
    loop
        execute pg_catalog.format('drop index %s', one.index);
        execute pg_catalog.format('create index on %s (vt)', one.queue);
    end loop;
end $$;

-- name: preloading
-- Which libraries the server loads, and where pg_cron works, as far as this role may read it: current_setting() raises
-- where it may not.
select s.name, s.setting from pg_catalog.pg_settings s
where s.name operator(pg_catalog.=) any ('{shared_preload_libraries,cron.database_name}'::pg_catalog.text[])

-- name: our_definitions
-- The routines and views of the schema, and the functions that expose_search() made elsewhere: kind, oid, schema, name.
-- What belongs to an extension is not ours. Of the functions elsewhere those that this role may replace; another role
-- could give its own the comment, so only those of our owner or of a superuser.
select o.* from (
    select 'routine' as kind, p.oid, n.nspname::text, p.proname::text
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('pgembedd', 'pgembedd_internal')
       or pg_catalog.obj_description(p.oid, 'pg_proc') = 'Made by pgembedd.expose_search().'
          and pg_catalog.pg_has_role(p.proowner, 'usage') and pg_catalog.has_schema_privilege(n.oid, 'create')
          and p.proowner in (select s.nspowner from pg_catalog.pg_namespace s where s.nspname = 'pgembedd'
                             union select r.oid from pg_catalog.pg_roles r where r.rolsuper)
    union all
    select 'view', c.oid, n.nspname::text, c.relname
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('pgembedd', 'pgembedd_internal') and c.relkind = 'v') o
where not exists (
    select from pg_catalog.pg_depend d
    where d.classid = case o.kind when 'view' then 'pg_catalog.pg_class'::regclass
                                  else 'pg_catalog.pg_proc'::regclass end
      and d.objid = o.oid and d.deptype = 'e')

-- name: grants_on_definitions
-- What is granted on them: schema, name, column, privilege, role, with grant option. By name, as a definition of other
-- parameters takes the place of one.
select n.nspname::text, o.name::text, o.part::text, a.privilege_type,
       case a.grantee when 0 then 'public' else a.grantee::regrole::text end, a.is_grantable
from (select p.pronamespace as schema, p.proname as name, null as part, p.proowner as owner,
             coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) as acl
      from pg_catalog.pg_proc p where p.oid = any (%(routines)s)
      union all
      select c.relnamespace, c.relname, null, c.relowner, c.relacl from pg_catalog.pg_class c
      where c.oid = any (%(views)s)
      union all
      select c.relnamespace, c.relname, t.attname, c.relowner, t.attacl
      from pg_catalog.pg_class c join pg_catalog.pg_attribute t on t.attrelid = c.oid
      where c.oid = any (%(views)s)) o
join pg_catalog.pg_namespace n on n.oid = o.schema
cross join pg_catalog.aclexplode(o.acl) a
where a.grantee <> o.owner

-- name: set_definitions_aside
-- The statements that give them other names, under which all that was bound to them still finds them.
select pg_catalog.format('alter routine %%s rename to %%I;', p.oid::regprocedure, p.proname || '__old')
from pg_catalog.pg_proc p where p.oid = any (%(routines)s)
union all
select pg_catalog.format('alter view %%s rename to %%I;', c.oid::regclass, c.relname || '__old')
from pg_catalog.pg_class c where c.oid = any (%(views)s)

-- name: superseded_definitions
-- Of definitions that are set aside: which CREATE OR REPLACE would not replace by the present ones, and whether one
-- takes their place to which what was bound to them can be bound: parameters and columns were only added or removed at
-- the end.
with routine as (
    select p.oid, p.pronamespace, p.proname, p.prokind, p.proretset, p.provariadic, p.pronargdefaults,
           array(select concat(a.name, ' ', pg_catalog.format_type(a.type, null))
                 from unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) with ordinality as a(name, type, nth)
                 where a.nth <= p.pronargs order by a.nth) as inputs,
           array(select concat(a.mode, a.name, ' ', pg_catalog.format_type(a.type, null))
                 from unnest(p.proargnames, p.proallargtypes, p.proargmodes) with ordinality as a(name, type, mode, nth)
                 where a.mode in ('o', 'b', 't') order by a.nth) as outputs,
           pg_catalog.format_type(p.prorettype, null) as result
    from pg_catalog.pg_proc p
), relation as (
    select c.oid, c.relnamespace, c.relname, c.relkind,
           array(select pg_catalog.format('%%I %%s %%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                                          a.attcollation)
                 from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns
    from pg_catalog.pg_class c
)
select 'routine', o.oid, exists (
    select from routine n
    where n.pronamespace = o.pronamespace and n.proname || '__old' = o.proname and n.result = o.result
      and n.proretset = o.proretset and n.outputs[:cardinality(o.outputs)] = o.outputs
      and (n.inputs[:cardinality(o.inputs)] = o.inputs or o.inputs[:cardinality(n.inputs)] = n.inputs))
from routine o
where o.oid = any (%(routines)s) and not exists (
    select from routine n
    where n.pronamespace = o.pronamespace and n.proname || '__old' = o.proname
      and n.pronargdefaults >= o.pronargdefaults
      and (n.inputs, n.outputs, n.result, n.proretset, n.provariadic, n.prokind)
          = (o.inputs, o.outputs, o.result, o.proretset, o.provariadic, o.prokind))
union all
select 'view', o.oid, exists (select from relation n
                              where n.relnamespace = o.relnamespace and n.relname || '__old' = o.relname)
from relation o
where o.oid = any (%(views)s) and not exists (
    select from relation n
    where n.relnamespace = o.relnamespace and n.relname || '__old' = o.relname and n.relkind = o.relkind
      and n.columns[:cardinality(o.columns)] = o.columns)

-- name: bound_to_definitions
-- What was bound to these definitions when it was made, but is not among them: its catalog, oid and part, its name,
-- theirs, and the statement that binds it again by the same text; null where there is none, or where one of them is
-- unfollowed.
with definition as (
    select 'pg_catalog.pg_proc'::regclass::oid as class, p.oid, p.oid::regprocedure::text as name
    from pg_catalog.pg_proc p where p.oid = any (%(routines)s)
    union all
    select 'pg_catalog.pg_class'::regclass, c.oid, c.oid::regclass::text
    from pg_catalog.pg_class c where c.oid = any (%(views)s)
), part as (  -- of a view the types of its row, too
    select o.oid as whole, o.class, o.oid, o.name from definition o
    union all
    select o.oid, 'pg_catalog.pg_type'::regclass, t.oid, o.name
    from definition o join pg_catalog.pg_type r on r.typrelid = o.oid and o.class = 'pg_catalog.pg_class'::regclass
    join pg_catalog.pg_type t on t.oid in (r.oid, r.typarray)
), bound as (
    select d.classid, d.objid, d.objsubid, string_agg(distinct p.name, ', ') as names,
           bool_or(p.whole = any (%(unfollowed)s)) as unfollowed
    from part p join pg_catalog.pg_depend d on d.refclassid = p.class and d.refobjid = p.oid
    where d.deptype in ('n', 'a') and not exists (
        select from part o where o.class = d.classid and o.oid = d.objid)
    group by d.classid, d.objid, d.objsubid
)
select b.classid, b.objid, b.objsubid,
       case when r.rulename = '_RETURN' then pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, v.oid, 0)
            else pg_catalog.pg_describe_object(b.classid, b.objid, b.objsubid) end,
       b.names, case when not b.unfollowed then case
           when r.rulename = '_RETURN' and v.relkind = 'v' then pg_catalog.format(
               'create or replace view %%s %%s as %%s', v.oid::regclass,
               'with (' || array_to_string(v.reloptions, ', ') || ')', pg_catalog.pg_get_viewdef(v.oid))
           when r.rulename <> '_RETURN' then 'create or replace ' || substr(pg_catalog.pg_get_ruledef(r.oid), 8)
           when p.oid is not null then pg_catalog.format('alter policy %%I on %%s %%s %%s', p.polname,
               p.polrelid::regclass, 'using (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
               'with check (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
           when a.attgenerated = '' then pg_catalog.format('alter table only %%s alter %%I set default %%s',
               e.adrelid::regclass, a.attname, pg_catalog.pg_get_expr(e.adbin, e.adrelid))
           when f.prokind in ('f', 'p') then pg_catalog.pg_get_functiondef(f.oid) end end
from bound b
left join pg_catalog.pg_rewrite r on b.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = b.objid
left join pg_catalog.pg_class v on v.oid = r.ev_class
left join pg_catalog.pg_policy p on b.classid = 'pg_catalog.pg_policy'::regclass and p.oid = b.objid
left join pg_catalog.pg_attrdef e on b.classid = 'pg_catalog.pg_attrdef'::regclass and e.oid = b.objid
left join pg_catalog.pg_attribute a on a.attrelid = e.adrelid and a.attnum = e.adnum
left join pg_catalog.pg_proc f on b.classid = 'pg_catalog.pg_proc'::regclass and f.oid = b.objid
where v.oid is null or v.oid <> all (%(views)s)
order by b.classid, b.objid, b.objsubid

-- name: drop_definitions
-- The statements that drop them.
select pg_catalog.format('drop view %%s', c.oid::regclass) from pg_catalog.pg_class c where c.oid = any (%(views)s)
union all
select pg_catalog.format('drop routine %%s', p.oid::regprocedure) from pg_catalog.pg_proc p
where p.oid = any (%(routines)s)

-- name: clear_comments
-- The statements that take the comments from our routines and views: this version writes its own.
select pg_catalog.format('comment on routine %%s is null;', p.oid::regprocedure) from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_description d on d.classoid = 'pg_catalog.pg_proc'::regclass and d.objoid = p.oid
where n.nspname in ('pgembedd', 'pgembedd_internal') and p.oid = any (%(routines)s)
union all
select pg_catalog.format(case d.objsubid when 0 then 'comment on view %%s is null;'
                                         else 'comment on column %%s.%%I is null;' end, c.oid::regclass, a.attname)
from pg_catalog.pg_class c
join pg_catalog.pg_description d on d.classoid = 'pg_catalog.pg_class'::regclass and d.objoid = c.oid
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid
where c.oid = any (%(views)s)

-- name: own_definitions
-- The statements that give to the owner of the schema what another role installed, as an administrator may have done.
select pg_catalog.format('alter routine %%s owner to %%s;', p.oid::regprocedure, n.nspowner::regrole)
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.oid = any (%(routines)s) and n.nspname in ('pgembedd', 'pgembedd_internal') and p.proowner <> n.nspowner
  and p.proowner is distinct from pg_catalog.to_regrole('pgembedd')
union all
select pg_catalog.format('alter view %%s owner to %%s;', c.oid::regclass, n.nspowner::regrole)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid = any (%(views)s) and c.relowner <> n.nspowner

-- name: grant_definitions
-- The statements that grant on new definitions what was granted on those of their names, in either schema of ours.
with ours as (
    select '{pgembedd,pgembedd_internal}'::text[] as schemas
), definition as (
    select 'routine' as kind, p.oid, p.proname::text as name, p.oid::regprocedure::text as identity,
           case when n.nspname = any (o.schemas) then o.schemas else array[n.nspname::text] end as schemas
    from ours o, pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where p.oid = any (%(routines)s)
    union all
    select 'table', c.oid, c.relname, c.oid::regclass::text, o.schemas
    from ours o, pg_catalog.pg_class c where c.oid = any (%(views)s)
), granted as (
    select * from unnest(%(schemas)s::text[], %(names)s::text[], %(parts)s::text[], %(privileges)s::text[],
                         %(roles)s::text[], %(grantables)s::boolean[])
        as g(schema, name, part, privilege, role, is_grantable)
)
select pg_catalog.format('revoke all on routine %%s from public;', d.identity) from definition d
where d.kind = 'routine' and exists (select from granted g where g.name = d.name and g.schema = any (d.schemas))
union all
select pg_catalog.format('grant %%s %%s on %%s %%s to %%s %%s;', g.privilege, '(' || quote_ident(g.part) || ')', d.kind,
                         d.identity, g.role, case when g.is_grantable then 'with grant option' end)
from definition d join granted g on g.name = d.name and g.schema = any (d.schemas)
where (g.privilege = 'EXECUTE') = (d.kind = 'routine')  -- a view may have the name of a routine
  and (g.part is null or exists (
      select from pg_catalog.pg_attribute a where a.attrelid = d.oid and a.attname = g.part))

-- name: limit_trial
-- For this transaction: a table that takes longer is not worth the wait of a person at a terminal.
select pg_catalog.set_config('statement_timeout', '30s', true)

-- name: trial_table
-- The table that a name means: its kind, estimates of rows and pages, its columns with their place in the key, the
-- tables that are called as one of its embeddings would be, whether this database has a schema of ours, and the role.
select n.nspname, c.relname, pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relkind,
       coalesce(p.rows, c.reltuples), coalesce(p.bytes, pg_catalog.pg_relation_size(c.oid))::bigint
           operator(pg_catalog./) pg_catalog.current_setting('block_size')::bigint,
       (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'name', a.attname, 'quoted', pg_catalog.quote_ident(a.attname), 'key', k.nth,
                   'readable', pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')) order by a.attnum)
        from pg_catalog.pg_attribute a
        left join (select key.attnum, key.nth from pg_catalog.pg_index i
                   cross join pg_catalog.unnest(i.indkey) with ordinality as key(attnum, nth)
                   where i.indrelid operator(pg_catalog.=) c.oid and i.indisprimary
                     and key.nth operator(pg_catalog.<=) i.indnkeyatts) k on k.attnum operator(pg_catalog.=) a.attnum
        where a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped),
       array(select r.relname::pg_catalog.text from pg_catalog.pg_class r
             where r.relnamespace operator(pg_catalog.=) c.relnamespace and pg_catalog.starts_with(
                 r.relname::pg_catalog.text, pg_catalog.concat(c.relname, '_embeddings'))),
       pg_catalog.to_regnamespace('pgembedd') is not null, pg_catalog.quote_ident(current_user)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
cross join lateral (
    select pg_catalog.sum(greatest(l.reltuples, 0)) as rows, pg_catalog.sum(pg_catalog.pg_relation_size(l.oid)) as bytes
    from (select t.relid from pg_catalog.pg_partition_tree(c.oid) t
          union select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent operator(pg_catalog.=) c.oid) t(oid)
    join pg_catalog.pg_class l on l.oid operator(pg_catalog.=) t.oid and l.relkind operator(pg_catalog.=) 'r') p
where c.oid operator(pg_catalog.=) pg_catalog.to_regclass(%(table)s)

-- name: trial_pipelines
select pipeline from pgembedd.pipelines

-- name: trial_rows
-- Keys and texts of random rows; the text is made as that of content_columns is.
select r.key, pg_catalog.left(r.content, %(characters)s)
from (select {key} as key, pg_catalog.concat_ws(E'\n\n', {content}) as content from {table} s {clause}) r
where r.content operator(pg_catalog.~) '\S'
order by pg_catalog.random() limit %(rows)s
