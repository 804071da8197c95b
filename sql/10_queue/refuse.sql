create or replace function pgembedd._refuse(message text, remedy text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if remedy is null then
        raise exception using message = message, errcode = 'invalid_parameter_value';
    end if;
    raise exception using message = message, hint = remedy, errcode = 'invalid_parameter_value';
end $$;
