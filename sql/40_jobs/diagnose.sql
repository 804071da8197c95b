-- Checks whether the pipeline is broken rather than a row. If so, it is stopped with the reason, which is returned.
-- Returns 'followed' when its code was out of date and was generated again, so that a retry works.
create or replace function pgembedd.diagnose(pipeline_id integer) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    problem text;
begin
    select p.* into one from pipeline p where p.id = diagnose.pipeline_id;
    if one.id is null then return 'The pipeline was dropped.'; end if;
    problem := _follow(one);
    if problem is not null and problem <> 'followed' then
        perform stop_pipeline(pipeline_id, problem);
    end if;
    return problem;
end $$;
