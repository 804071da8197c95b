-- Several locks are needed at once, without deadlocks for others: a transaction that has read one of the tables and
-- then writes to another would be in a deadlock with us. So each wait of ours is so short that no deadlock_timeout of
-- theirs can end within them all, and all our locks are released before the next attempt.
create or replace function pgembedd_internal._rename_when_free(
    current pgembedd_internal.pipeline, successor pgembedd_internal.pipeline, suffix text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    give_up_at timestamptz := clock_timestamp() + interval '10 s';
begin
    loop
        begin
            perform _rename_both(current, successor, suffix);
            return;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > give_up_at then
                raise exception using
                    message = format('Others use %s, or what holds its vectors, all the time; nothing was changed.',
                    current.source),
                    hint = 'See pg_stat_activity for transactions that stay open, and call it again.',
                    errcode = 'lock_not_available';
            end if;
        end;
        perform _wait_until_free(current.source, _swap_mode(current));
        if current.embedding_table is not null then
            perform _wait_until_free(current.embedding_table, 'access exclusive'),
                _wait_until_free(successor.embedding_table, 'access exclusive');
        end if;
    end loop;
end $$;

-- To rename a column of the source keeps its readers out, too.
create or replace function pgembedd_internal._swap_mode(current pgembedd_internal.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when current.embedding_table is null then 'access exclusive' else 'share row exclusive' end $$;

-- Waits until a table is not in use, and holds no lock on return. After deadlock_timeout this cancels autovacuum.
create or replace function pgembedd_internal._wait_until_free(relation regclass, mode text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '2s'  -- readers and writers stand in line behind us
as $$
begin
    execute format('lock table %s in %s mode', relation, mode);
    raise exception using errcode = 'PGE01';
exception when lock_not_available or deadlock_detected or sqlstate 'PGE01' then
    null;
end $$;

-- Writers wait at the source, before their triggers' functions are looked up, so they find the new ones.
create or replace function pgembedd_internal._rename_both(
    current pgembedd_internal.pipeline, successor pgembedd_internal.pipeline, suffix text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '100ms'
as $$
declare
    named text;
begin
    perform from pipeline p where p.id in (current.id, successor.id) order by p.id for update;
    if (_successor(_pipeline(current.name), successor.shadow)).id <> successor.id then
        raise exception using
            message = format('"%s" is not the pipeline any more that it was a moment ago.', successor.name),
            hint = 'See pgembedd.status.', errcode = 'object_not_in_prerequisite_state';
    end if;
    perform set_config('lock_timeout', '500ms', true);
    execute format('lock table %s in %s mode', current.source, _swap_mode(current));
    perform set_config('lock_timeout', '100ms', true);
    named := current.embedding_column;
    if current.embedding_table is null then
        perform _copy_rights(current.source, current.embedding_column, successor.embedding_column);
    else
        named := (select c.relname from pg_class c where c.oid = current.embedding_table);
    end if;
    perform _rename_vectors(current, _suffixed_name(named, suffix));
    perform _rename_vectors(successor, named);
end $$;

-- Copies the grants on a single column, and revokes all others on the second one.
create or replace function pgembedd_internal._copy_rights(
    source regclass, from_column text, to_column text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    for item in
        select case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee,
               x.privilege_type as allowed, x.is_grantable, t.attname = from_column as wanted
        from pg_attribute t, aclexplode(t.attacl) x
        where t.attrelid = source and t.attname in (from_column, to_column) and not t.attisdropped
        order by wanted, x.is_grantable  -- what is there goes first
    loop
        execute format(case when item.wanted then 'grant %s (%I) on %s to %s'
                            else 'revoke %s (%I) on %s from %s cascade' end
            || case when item.wanted and item.is_grantable then ' with grant option' else '' end,
            item.allowed, to_column, source, item.grantee);
    end loop;
end $$;

create or replace function pgembedd_internal._rename_vectors(
    pipeline pgembedd_internal.pipeline, to_name text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if pipeline.embedding_table is null then
        execute format('alter table %s rename column %I to %I', pipeline.source, pipeline.embedding_column, to_name);
        return;
    end if;
    -- In the order in which a reader of the view locks them.
    if _view(pipeline) is not null then
        execute format('alter view %s rename to %I', _view(pipeline), _truncate_name(to_name, 58) || '_view');
    end if;
    execute format('alter table %s rename to %I', pipeline.embedding_table, to_name);
end $$;
