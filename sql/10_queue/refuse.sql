-- A message that repeats a value has no more than the beginning of a long one.
create or replace function pgembedd._refuse(message text, remedy text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    message := case when length(message) > 1000 then left(message, 997) || '...' else message end;
    if remedy is null then
        raise exception using message = message, errcode = 'invalid_parameter_value';
    end if;
    raise exception using message = message, hint = remedy, errcode = 'invalid_parameter_value';
end $$;

-- A number with its noun: 1 job, 2 jobs. `several` is for other plurals.
create or replace function pgembedd._counted(number bigint, one text, several text default null) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select number || ' ' || case when number = 1 then one else coalesce(several, one || 's') end $$;
