-- A message that repeats a value of any length has no more than its beginning.
create or replace function pgembedd_internal._cut(message text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select case when length(message) > 1000 then left(message, 997) || '...' else message end $$;
