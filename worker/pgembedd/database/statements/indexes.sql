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
