create or replace function pgembedd.resume(pipeline text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set lock_timeout = '2s'  -- writers stand in line behind us
as $$
declare
    found_one pgembedd_internal.pipeline := _pipeline(pipeline);
    ignored text;
begin
    found_one := _follow_column(found_one);
    ignored := _check_problem(found_one, 'The pipeline "%s" cannot resume: %s');
    perform _remake(found_one), _resume(found_one.id);
exception when lock_not_available then
    ignored := _refuse_locked(found_one, 'resumed');
end $$;
comment on function pgembedd.resume is 'Go on after a pause or after what stopped the pipeline has been mended.';

-- Of a pipeline whose code was made again.
create or replace function pgembedd_internal._resume(pipeline_id integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    resumed pgembedd_internal.pipeline;
begin
    update pipeline p set state = 'running', state_reason = null, sweep_error = null, state_since = clock_timestamp(),
        problem_since = null, unserved_reason = null, unserved_since = null, unserved_at = null,
        slow_reason = null, slow_until = null, slow_pause = null, slow_ends = null, upkeep_after = null
    where p.id = _resume.pipeline_id returning * into resumed;
    perform _tidy(resumed), _wake('pgembedd_fresh'), _notify('resumed', pipeline_id);
end $$;

-- The pipeline with the width and the vector type that its column was given by hand. Whether they are its model's is
-- checked by the worker, which knows the model.
create or replace function pgembedd_internal._follow_column(
    one pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    followed pgembedd_internal.pipeline;
begin
    update pipeline p set dimensions = a.atttypmod, vector_type = t.typname
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where p.id = one.id and a.attrelid = p.source and a.attname = p.embedding_column and a.atttypmod > 0
      and t.oid in (to_regtype(_vector_type('halfvec')), to_regtype(_vector_type('vector')))
    returning p.* into followed;
    return case when followed.id is null then one else followed end;
end $$;
