-- How far one pipeline is, for an application: what `status` says, but no reason, which may quote errors. A role that
-- may read all rows of the table is told, as the figures are of all of them.
create or replace function pgembedd.pipeline_status(pipeline text) returns table (
    state text, queued bigint, oldest_age interval, coverage numeric, lag interval, time_left interval)
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    one constant pgembedd_internal.pipeline := _searched(pipeline, null);
    caller constant name := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
    if not _exists(one.source) then
        raise exception using message = _problem(one), errcode = 'object_not_in_prerequisite_state';
    elsif not _sees_all_rows(one.source, one.source) then
        raise exception using message = format('The role %I may not read all rows of %s, so it is not told the status '
                'of its pipeline.', caller, one.source),
            hint = format('GRANT SELECT ON it TO %I; where policies hide rows, row_status() tells of those that it '
                'may read.', caller),
            errcode = 'insufficient_privilege';
    end if;
    return query
        select f.state, f.queued, clock_timestamp() - f.oldest, _coverage(one, f.queued + f.dead), f.lag,
               case when f.state = 'running' then _time_left(f.queued, f.rows_per_minute) end
        from _figures f where f.pipeline_id = one.id;
end $$;
comment on function pgembedd.pipeline_status is
    'The state, waiting jobs, coverage and lag of one pipeline, for a role that may read all rows of its table.';
