-- Part of the upkeep: reads pg_net's newest answer to a request of ours, where this role may, and notes what is wrong.
-- pg_net keeps answers for hours, so that none is missed. A request without an answer yet is looked at again.
create or replace function pgembedd_internal._read_push_answers() returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    target pgembedd_internal.push;
    newest bigint;
    told text;
begin
    select p.* into target from push p where p.requests <> '{}';
    if not found or not _may_read_push_answers() then return; end if;
    select a.id, _push_problem(target.url, a.status_code, a.timed_out, a.error_msg) into newest, told
    from _push_answers(target.requests) a;
    if newest is null then return; end if;
    if told is distinct from target.problem and told is not null then
        raise warning '%', told;
    end if;
    update push p set problem = told,
        requests = array(select r from unnest(p.requests) with ordinality as u(r, nth)
                         where u.nth > array_position(p.requests, newest) order by u.nth);
end $$;

-- The newest of these requests that was answered. In a statement that is made when it runs, as pg_net may be missing.
create or replace function pgembedd_internal._push_answers(requests bigint[])
returns table (id bigint, status_code integer, timed_out boolean, error_msg text)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
begin
    return query execute 'select r.id, r.status_code, r.timed_out, r.error_msg from net._http_response r '
        'where r.id = any ($1) order by array_position($1, r.id) desc limit 1' using requests;
end $$;

-- True where the table is that of pg_net, and readable.
create or replace function pgembedd_internal._may_read_push_answers() returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _has_pg_net() and coalesce((
        select c.relkind = 'r' and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
           and c.relowner = (select f.proowner from pg_proc f
                             where f.oid = _function_of('net', 'http_post', 'text, jsonb, jsonb, jsonb, integer'))
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'net' and c.relname = '_http_response'), false)
$$;

-- What an answer says is wrong, with the remedy; null for one that took the jobs. A failed job has its own record.
create or replace function pgembedd_internal._push_problem(
    url text, status_code integer, timed_out boolean, error text
) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case
        when timed_out then
            format('The last push to %s had no answer in time: see whether the service runs there.', url)
        when status_code is null then
            _cut(format('The last push to %s was not sent: %s.', url,
                        rtrim(coalesce(error, 'pg_net gives no reason'), '.')))
        when status_code between 200 and 299 then null
        else format('The last push to %s was answered with %s: %s.', url, status_code, case
            when status_code in (401, 403) then 'the service wants another token, which set_push() takes; '
                'behind a redirect none arrives'
            when status_code in (400, 404, 405, 422)
                then 'this is not the path of a service, which is /functions/v1/embed'
            when status_code in (429, 503) then 'the service is busy, or has no database'
            else 'see the log of the service' end)
    end
$$;
