-- After an upgrade or a restore: generates the code of all pipelines again that is not as this version made it. A
-- pipeline that cannot be repaired is stopped with its reason; the others go on. The migration sweeps afterwards.

create or replace function pgembedd_internal._repair() returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set check_function_bodies = on  -- a migration loads sql/ with it off
as $$
declare
    one pgembedd_internal.pipeline;
    problem text;
begin
    -- Code that another version generated, and left when it dropped the pipeline.
    perform _drop_generated(array(
        select f.oid from pg_proc f where f.pronamespace = 'pgembedd_code'::regnamespace
        and f.proname like E'pipeline\\_%'
        and not exists (select from pipeline p where p.id::text = split_part(f.proname, '_', 2))));
    for one in
        select p.* from pipeline p where p.code_version is distinct from _code_version(p.id) order by p.id
    loop
        -- The code of searches may be another version's, of other parameters.
        delete from prepared_search s where s.pipeline_id = one.id;
        perform _drop_generated(array(
            select f.oid from _generated(one.id) g join pg_proc f on f.oid = g.oid
            where f.pronamespace = 'pgembedd_internal'::regnamespace));
        begin
            problem := _problem(one);
            if problem is null then
                perform _regenerate(one);
            else
                perform _stop_until_mended(one.id, problem);
            end if;
        exception
            when lock_not_available or transaction_rollback or insufficient_resources then raise;
            when others then
                perform _stop(one.id,
                    format('The repair failed: %s. Mend that, then call pgembedd.resume(%L).', sqlerrm, one.name),
                    'The repair failed; pgembedd.status says of what.');
        end;
    end loop;
end $$;
