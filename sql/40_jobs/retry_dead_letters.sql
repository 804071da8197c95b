-- As our owner, so that an operator can be allowed this without a right on any queue.
create or replace function pgembedd.retry_dead_letters(
    pipeline text default null, reason text default null
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
    retried bigint := 0;
    pipelines integer[];  -- of each job its pipeline
    only_id integer := case when pipeline is not null then (_pipeline(pipeline)).id end;
begin
    perform _check_reason(retry_dead_letters.reason);
    for item in
        delete from dead_letter d
        where (only_id is null or d.pipeline_id = only_id)
          and (retry_dead_letters.reason is null or d.reason = retry_dead_letters.reason)
        returning d.*
    loop
        delete from row_state r
        where r.pipeline_id = item.pipeline_id and r.key = item.key and r.state = 'dead'
          and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(item.key, 0);
        -- The change is as old as it was: that the job died in between made no vector.
        execute format('insert into %s (vt, enqueued_at, message) values (clock_timestamp(), $1, $2)',
            _queue_table(item.queue))
        using item.enqueued_at, item.message;
        perform _wake(item.queue);
        retried := retried + 1;
        pipelines := pipelines || item.pipeline_id;
    end loop;
    perform _notify('retried', r.id, jsonb_build_object('jobs', r.jobs, 'reason', retry_dead_letters.reason))
    from (select p.id, count(*) as jobs from unnest(pipelines) as p(id) group by p.id) r;
    return retried;
end $$;
comment on function pgembedd.retry_dead_letters is
    'Put dead letters back into the queue: of one pipeline or of all, of one reason or of any. Returns how many.';

-- Refuses a reason that no dead letter can have: with a misspelt one nothing would be retried, without a word.
create or replace function pgembedd_internal._check_reason(reason text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    known constant text[] := array[
        'content', 'file', 'write', 'model', 'worker_died', 'unsteady_content', 'unknown_pipeline'];
begin
    perform _check_texts('{reason}', array[reason]);
    if reason <> all (known) and not exists (select from dead_letter d where d.reason = _check_reason.reason) then
        raise exception 'No job fails for the reason %.', quote_literal(reason)
            using errcode = 'invalid_parameter_value', hint = format('There are: %s.', array_to_string(known, ', '));
    end if;
end $$;
