-- After an upgrade, and after a restore: the queues exist, the generated code is of this version, and rows that
-- lost their jobs are found. A pipeline that cannot be repaired stops with its reason; the others go on.

create or replace function pgembedd._repair() returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    one pgembedd.pipeline;
    problem text;
    told text;
    queue text;
begin
    for queue in select l.queue from lanes() l union select l.backfill_queue from lanes() l loop
        perform _ensure_queue(queue);
    end loop;
    for one in select p.* from pipeline p order by p.id loop
        begin
            problem := _problem(one);
            told := problem;
            if problem is null then
                perform _regenerate(one);
            end if;
        exception when others then
            problem := format('The repair failed: %s. Mend that, then call pgembedd.resume(%L).', sqlerrm, one.name);
            told := 'The repair failed; pgembedd.status says of what.';
        end;
        if problem is not null then
            perform _stop(one.id, problem, told);
        end if;
    end loop;
    return sweep();
end $$;

revoke all on function pgembedd._repair() from public;
select pgembedd._repair();
