-- The switch to another model and back: in one transaction everything is renamed that has a name, among writers, readers
-- and workers who go on.

create or replace function pgembedd.switch(name text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _swap(name, 'next', 'previous', force);
end $$;
comment on function pgembedd.switch is
    'Put the vectors that change_model() made in the place of the old ones, which stay beside them for rollback().';

create or replace function pgembedd.rollback(name text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _swap(name, 'previous', 'next', force);
end $$;
comment on function pgembedd.rollback is 'Undo switch(): put the old vectors back in their place.';

-- The pipeline that would take this one's place, or a refusal.
create or replace function pgembedd._successor(current pgembedd.pipeline, shadow text) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    beside pgembedd.pipeline := _shadow(current);
begin
    if beside.shadow is not distinct from _successor.shadow then
        return beside;
    elsif _successor.shadow = 'next' then
        perform _refuse(format('There is nothing to switch "%s" to.', current.name), 'Begin with pgembedd.change_model().');
    end if;
    perform _refuse(format('There is nothing to take "%s" back to.', current.name),
        'rollback() undoes switch(), until the previous pipeline is dropped.');
end $$;

-- What a switch would lose: rows that have a vector here and none there. Rows that wait on both sides are no loss.
create or replace function pgembedd._check_swap(current pgembedd.pipeline, beside pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
declare
    missing bigint;
    problem text := coalesce(_problem(beside), case when beside.state <> 'running' then beside.state_reason end);
begin
    if problem is not null then
        perform _refuse(format('"%s" is not fit to take over: %s', beside.name, problem));
    elsif _index_state(current) = 'valid' and _index_state(beside) <> 'valid' then
        perform _refuse(format('The index of "%s" is not there yet (%s).', beside.name, _index_state(beside)),
            format('Wait for it, or build it: pgembedd index %s. force => true does without.', beside.name));
    end if;
    missing := _ask(current, format('select pg_catalog.to_jsonb(pg_catalog.count(*)) from %s s where (%s) and not (%s)',
        current.source, _waits(beside), _waits(current)));
    if missing > 0 then
        perform _refuse(format('%s rows of "%s" have no vector in "%s" yet.', missing, current.name, beside.name),
            format('See pgembedd.status, and pgembedd.failures for rows that cannot be embedded; call pgembedd.wait_for(%L). '
                   'force => true does without them.', beside.name));
    end if;
end $$;

-- A row that changed may have its new vector here and an old one there. What is queued there alone is waited for a
-- while: no later changes are, or a busy table could never be switched.
create or replace function pgembedd._await_vectors(
    current pgembedd.pipeline, beside pgembedd.pipeline, patience interval default '5 s'
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    began_at timestamptz := clock_timestamp();
    behind bigint;
begin
    loop
        execute format($q$
            select count(*) from (
                select q.message -> 'id' from (select b.enqueued_at, b.message from %1$s b union all select b.enqueued_at, b.message from %2$s b) q
                where %3$s and q.enqueued_at <= $1
                except select q.message -> 'id' from %4$s q where %6$s
                except select q.message -> 'id' from %5$s q where %6$s) r$q$,
            _queue_table(beside.queue), _queue_table(beside.backfill_queue), _is_for(beside.id),
            _queue_table(current.queue), _queue_table(current.backfill_queue), _is_for(current.id))
        into behind using began_at;
        exit when behind = 0;
        if clock_timestamp() > began_at + patience then
            perform _refuse(format('%s rows of "%s" are up to date, but still queued for "%s".', behind, current.name, beside.name),
                format('Call pgembedd.wait_for(%L), and see that a worker runs. force => true shows their old vectors until then.', beside.name));
        end if;
        perform pg_sleep(0.1);
    end loop;
end $$;

-- Everything that names a column or a table is said anew in the same transaction. A worker that writes holds this
-- lock of its pipeline, shared, so that none writes under a name that means the other's by now.
create or replace function pgembedd._swap_key(pipeline_id integer) returns bigint
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select hashtextextended('pgembedd.swap', pipeline_id) $$;

create or replace function pgembedd._swap(name text, shadow text, suffix text, force boolean) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _successor(current, shadow);
    one pgembedd.pipeline;
begin
    if not force then
        begin
            perform _check_swap(current, beside), _await_vectors(current, beside);
            -- The locks of having looked go with the subtransaction: with them, a writer's TRUNCATE and we would wait
            -- for each other.
            raise exception using errcode = 'PGE01';
        exception when sqlstate 'PGE01' then
            null;
        end;
    end if;
    perform _rename_when_free(current, beside, suffix);
    update pipeline p
    set name = current.name || '.' || suffix, shadow_of = beside.id, shadow = suffix,
        embedding_column = _beside(current.embedding_column, suffix), embedding_table_name = p.embedding_table::text
    where p.id = current.id;
    update pipeline p
    set name = current.name, shadow_of = null, shadow = null,
        embedding_column = current.embedding_column, embedding_table_name = p.embedding_table::text
    where p.id = beside.id;
    for one in select p.* from pipeline p where p.id in (current.id, beside.id) loop
        perform _generate(one);
    end loop;
    perform _tell(case suffix when 'previous' then 'switched' else 'rolled_back' end, beside.id, jsonb_build_object(
        'model', beside.model, 'replaced_id', current.id, 'replaced', current.name || '.' || suffix, 'replaced_model', current.model));
end $$;

-- Several locks are needed at once, and nobody else may come to grief of it: a transaction that has read one of the
-- tables and then writes to another would be in a deadlock with us. So each wait of ours is so short that no
-- deadlock_timeout of theirs can end within them all, and whatever we hold is given back before the next attempt.
create or replace function pgembedd._rename_when_free(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    give_up_at timestamptz := clock_timestamp() + interval '10 s';
begin
    loop
        begin
            perform _rename_both(current, beside, suffix);
            return;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > give_up_at then
                perform _refuse(format('Others use %s, or what holds its vectors, all the time; nothing was changed.', current.source),
                    'See pg_stat_activity for transactions that stay open, and call it again.');
            end if;
        end;
        perform _await_free(current.source, _swap_mode(current));
        if current.embedding_table is not null then
            perform _await_free(current.embedding_table, 'access exclusive'), _await_free(beside.embedding_table, 'access exclusive');
        end if;
    end loop;
end $$;

-- To rename a column of the source keeps its readers out, too.
create or replace function pgembedd._swap_mode(current pgembedd.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when current.embedding_table is null then 'access exclusive' else 'share row exclusive' end $$;

-- Wait until nobody uses a table, and hold nothing on return. After deadlock_timeout this sends autovacuum away.
create or replace function pgembedd._await_free(relation regclass, mode text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '2s'  -- readers and writers stand in line behind us
as $$
begin
    execute format('lock table %s in %s mode', relation, mode);
    raise exception using errcode = 'PGE01';
exception when lock_not_available or deadlock_detected or sqlstate 'PGE01' then
    null;
end $$;

-- Writers wait at the source, before their triggers' functions are looked up, so they find the new ones.
create or replace function pgembedd._rename_both(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '100ms'
as $$
begin
    perform pg_advisory_xact_lock(_swap_key(least(current.id, beside.id))), pg_advisory_xact_lock(_swap_key(greatest(current.id, beside.id)));
    perform from pipeline p where p.id in (current.id, beside.id) order by p.id for update;
    if (_successor(_pipeline(current.name), beside.shadow)).id <> beside.id then
        perform _refuse(format('"%s" is not the pipeline any more that it was a moment ago.', beside.name), 'See pgembedd.status.');
    end if;
    perform set_config('lock_timeout', '500ms', true);
    execute format('lock table %s in %s mode', current.source, _swap_mode(current));
    perform set_config('lock_timeout', '100ms', true);
    if current.embedding_table is null then
        perform _copy_rights(current.source, current.embedding_column, beside.embedding_column);
        perform _rename_column(current, _beside(current.embedding_column, suffix)), _rename_column(beside, current.embedding_column);
    else
        perform _rename_table(t.pipeline, t.to_name)
        from (select relname from pg_class where oid = current.embedding_table) c,
             lateral (values (1, current, _beside(c.relname, suffix)), (2, beside, c.relname)) as t(nth, pipeline, to_name)
        order by t.nth;
    end if;
end $$;

-- Rights on a single column: whoever had them on the one has them on the other, and nobody else.
create or replace function pgembedd._copy_rights(source regclass, from_column text, to_column text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    item record;
begin
    for item in
        select case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee, x.privilege_type as allowed,
               x.is_grantable, t.attname = from_column as wanted
        from pg_attribute t, aclexplode(t.attacl) x
        where t.attrelid = source and t.attname in (from_column, to_column) and not t.attisdropped
        order by wanted, x.is_grantable  -- what is there goes first
    loop
        execute format(case when item.wanted then 'grant %s (%I) on %s to %s' else 'revoke %s (%I) on %s from %s cascade' end
            || case when item.wanted and item.is_grantable then ' with grant option' else '' end,
            item.allowed, to_column, source, item.grantee);
    end loop;
end $$;

create or replace function pgembedd._rename_column(pipeline pgembedd.pipeline, to_name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format('alter table %s rename column %I to %I', pipeline.source, pipeline.embedding_column, to_name);
end $$;

create or replace function pgembedd._rename_table(pipeline pgembedd.pipeline, to_name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    joined regclass := _view(pipeline);
begin
    -- In the order in which a reader of the view locks them.
    if joined is not null then
        execute format('alter view %s rename to %I', joined, _cut(to_name, 58) || '_view');
    end if;
    execute format('alter table %s rename to %I', pipeline.embedding_table, to_name);
end $$;
