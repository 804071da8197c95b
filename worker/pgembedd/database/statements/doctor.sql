-- name: doctor_server
-- Who we are, where.
select current_setting('server_version_num')::integer, current_setting('server_version'), current_user::text,
       current_database()::text, (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user),
       pg_catalog.has_database_privilege(current_database(), 'create'),
       (select r.rolcreaterole from pg_catalog.pg_roles r where r.rolname = current_user)

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
