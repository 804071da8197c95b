-- What changes a pipeline waits two seconds for a lock, because its table's writers stand in line behind it. Refuses
-- what waited in vain: for the tables of that pipeline, or for the pipeline itself.
create or replace function pgembedd_internal._refuse_locked(
    one pgembedd_internal.pipeline, done text, name text default null
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    -- Of those that hold a lock, one that writes before one that reads, which only the strongest lock waits for.
    holder constant text := (
        select format('%s is in use by %s', l.relation::regclass, coalesce(
            'pid ' || l.pid || coalesce(' (' || nullif(a.application_name, '') || ')', ''), 'a prepared transaction'))
        from unnest(array[one.source, one.embedding_table, one.words_table]) as r(oid)
        cross join lateral _with_partitions(r.oid) as t(oid)
        join pg_locks l on l.relation = t.oid and l.locktype = 'relation' and l.granted
                       and l.pid is distinct from pg_backend_pid()
        join pg_database d on d.oid = l.database and d.datname = current_database()
        left join pg_stat_activity a on a.pid = l.pid
        order by l.mode in ('AccessShareLock', 'RowShareLock'), l.pid limit 1);
begin
    raise exception using
        message = format('The pipeline "%s" cannot be %s now: %s.', coalesce(name, one.name), done,
            coalesce(holder, 'another session changes it')),
        hint = 'Call it again when that transaction has ended; pg_stat_activity shows it. It waits two seconds, '
               'whatever lock_timeout is, as the table''s writers wait behind it.',
        errcode = 'lock_not_available';
end $$;
