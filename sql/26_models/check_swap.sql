-- The pipeline that would take this one's place, or a refusal.
create or replace function pgembedd_internal._successor(
    current pgembedd_internal.pipeline, shadow text
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    successor pgembedd_internal.pipeline := _shadow(current);
begin
    if successor.shadow is not distinct from _successor.shadow then
        return successor;
    elsif _successor.shadow = 'next' then
        raise exception using message = format('There is nothing to switch "%s" to.', current.name),
            hint = 'Begin with pgembedd.change_model().', errcode = 'object_not_in_prerequisite_state';
    end if;
    raise exception using message = format('There is nothing to take "%s" back to.', current.name),
        hint = 'revert_model() undoes switch_model(), until the previous pipeline is dropped.',
        errcode = 'object_not_in_prerequisite_state';
end $$;

-- Refuses a switch that would lose rows which have a vector here and none there. Rows without a vector on both sides
-- are no loss.
create or replace function pgembedd_internal._check_swap(
    current pgembedd_internal.pipeline, successor pgembedd_internal.pipeline
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    missing bigint;
    problem text := coalesce(
        _problem(successor), case when successor.state <> 'running' then _shown_reason(successor) end);
begin
    if problem is not null then
        raise exception using message = format('"%s" is not fit to take over: %s', successor.name, problem),
            errcode = 'object_not_in_prerequisite_state';
    elsif _index_state(current) = 'valid' and _index_state(successor) <> 'valid' then
        raise exception using
            message = format('The index of "%s" is not there yet (%s).', successor.name, _index_state(successor)),
            hint = format('Wait for it, or build it: pgembedd index %s. force => true does without.', successor.name),
            errcode = 'object_not_in_prerequisite_state';
    end if;
    missing := _ask(current, format('select pg_catalog.to_jsonb(pg_catalog.count(*)) from %s s where (%s) and not (%s)',
        current.source, _lacks_vector(successor), _lacks_vector(current)));
    if missing > 0 then
        raise exception using
            message = format('%s no vector in "%s" yet.', _counted(missing, format('row of "%s" has', current.name),
                format('rows of "%s" have', current.name)), successor.name),
            hint = format('See pgembedd.status, and pgembedd.dead_letters for rows that cannot be '
                   'embedded; call pgembedd.wait_for_pipeline(%L). force => true does without them.', successor.name),
            errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

-- A row that changed may have its new vector here and an old one there. What is queued there alone is waited for a
-- while: no later changes are, or a busy table could never be switched.
create or replace function pgembedd_internal._await_vectors(
    current pgembedd_internal.pipeline, successor pgembedd_internal.pipeline, patience interval default '5 s'
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    began_at timestamptz := clock_timestamp();
    behind bigint;
begin
    loop
        execute _render($q$
            select count(*) from (
                (select q.message -> 'id' from pgmq.q_pgembedd_fresh q where {is_successor} and q.enqueued_at <= $1
                 union select q.message -> 'id' from pgmq.q_pgembedd_backfill q
                 where {is_successor} and q.enqueued_at <= $1)
                except select q.message -> 'id' from pgmq.q_pgembedd_fresh q where {is_current}
                except select q.message -> 'id' from pgmq.q_pgembedd_backfill q where {is_current}) r
            $q$, jsonb_build_object(
            'is_successor', _is_for(successor.id), 'is_current', _is_for(current.id)))
        into behind using began_at;
        exit when behind = 0;
        if clock_timestamp() > began_at + patience then
            raise exception using message = format('%s up to date, but still queued for "%s".', _counted(behind,
                    format('row of "%s" is', current.name), format('rows of "%s" are', current.name)), successor.name),
                hint = format('Call pgembedd.wait_for_pipeline(%L), and see that a worker '
                       'runs. force => true shows their old vectors until then.', successor.name),
                errcode = 'object_not_in_prerequisite_state';
        end if;
        perform pg_sleep(0.1);
    end loop;
end $$;
