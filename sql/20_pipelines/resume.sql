create or replace function pgembedd.resume(name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
    problem text := _problem(found_one);
begin
    if problem is not null then
        perform _refuse(format('The pipeline "%s" cannot resume: %s', name, problem));
    end if;
    update pipeline p set state = 'running', state_reason = null, state_since = clock_timestamp()
    where p.id = found_one.id returning * into found_one;
    perform _regenerate(found_one), _unpark(found_one.queue, found_one.id),
        _unpark(found_one.backfill_queue, found_one.id);
    perform _wake(found_one.queue), _notify('resumed', found_one.id);
end $$;
comment on function pgembedd.resume is 'Go on after a pause or after what stopped the pipeline has been mended.';

-- The claim sets jobs of a pipeline that does not run aside, out of every worker's sight.
create or replace function pgembedd._unpark(queue text, pipeline_id integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if to_regclass(_queue_table(queue)) is not null then
        execute format('update %s q set vt = clock_timestamp() where q.vt = ''infinity'' and %s',
            _queue_table(queue), _is_for(pipeline_id));
    end if;
end $$;
