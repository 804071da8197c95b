-- What somebody sees and does who looks after pgembedd without owning it: the service's page, a script, a colleague.

-- status calls functions that read the queues and the tables, with the rights of whoever asks. Here it is asked as our
-- owner, who asks table owners in turn to look into their tables as themselves; so it gives away nothing but numbers.
create or replace function pgembedd.overview() returns setof pgembedd.status
language sql stable security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$ select * from pgembedd.status $$;
comment on function pgembedd.overview is 'What the view status shows, for a role that was named with grant_operator().';
