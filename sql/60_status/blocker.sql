-- What keeps a pipeline's rows from being read and stored: the table whose lock that waits for, the process of the
-- session that holds it, null for a prepared transaction, or that waits for it ahead of others, and what it waits for.
-- No row where no such lock is held at this moment.
create or replace function pgembedd_internal.blocker(pipeline_id integer)
returns table (relation text, pid integer, waits_for integer)
language sql volatile security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select l.relation::regclass::text, l.pid, case when not l.granted then (pg_blocking_pids(l.pid))[1] end
    from pipeline p
    -- Vectors are written; of a source with an embedding table rows are only locked.
    cross join lateral (
        select t, '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'::text[]
        from _with_partitions(_target(p)) t
        union all select s, '{ExclusiveLock,AccessExclusiveLock}' from _with_partitions(p.source) s) t(oid, modes)
    join pg_locks l on l.relation = t.oid and l.locktype = 'relation' and l.mode = any (t.modes)
    where p.id = $1 and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.pid is distinct from pg_backend_pid()
    order by l.granted desc, l.pid limit 1
$$;
comment on function pgembedd_internal.blocker is
    'The lock that keeps a pipeline''s rows from being read and stored, and the process that holds it.';

-- That as a sentence, or null.
create or replace function pgembedd_internal._blocked(pipeline pgembedd_internal.pipeline) returns text
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('The table %s is locked by %s%s.', b.relation, coalesce('pid ' || b.pid, 'a prepared transaction'),
        concat(' (' || nullif(a.application_name, '') || ')', ', which waits for pid ' || b.waits_for))
    from blocker(pipeline.id) b left join pg_stat_activity a on a.pid = b.pid
$$;
