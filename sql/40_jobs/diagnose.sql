-- Checks whether the pipeline is broken rather than a row. If so, it is stopped with the reason, which is returned;
-- 'altered' while that may be over in a moment, and 'followed' when its code was out of date and was generated again:
-- then the jobs are tried again.
create or replace function pgembedd_internal.diagnose(pipeline_id integer) returns text
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    one pgembedd_internal.pipeline;
begin
    select p.* into one from pipeline p where p.id = diagnose.pipeline_id;
    if one.id is null then return 'The pipeline was dropped.'; end if;
    return _judge(one, _brought_up_to_date(pipeline_id));
end $$;
comment on function pgembedd_internal.diagnose is
    'Check the pipeline as a whole: null, or a sentence that says what is wrong and with which it was stopped.';
