-- A number with its noun: 1 job, 2 jobs. `several` is for other plurals.
create or replace function pgembedd_internal._counted(number bigint, one text, several text default null) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select number || ' ' || case when number = 1 then one else coalesce(several, one || 's') end $$;
