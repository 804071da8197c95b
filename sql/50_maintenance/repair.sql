-- After an upgrade or a restore: creates missing queues, generates the code of all pipelines again, and queues rows
-- that lost their jobs. A pipeline that cannot be repaired is stopped with its reason; the others go on.

create or replace function pgembedd._repair() returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set check_function_bodies = on  -- a migration loads sql/ with it off
as $$
declare
    one pgembedd.pipeline;
    problem text;
    told text;
    queue text;
begin
    foreach queue in array _queues() loop
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
