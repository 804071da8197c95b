-- status calls functions that read the queues and the tables, with the rights of the caller. Here it is called as our
-- owner, who asks table owners in turn to look into their tables as themselves; so it gives away nothing but numbers.
-- The columns are named again, because a function that returned the view's type would stand in the way of the view.
create or replace function pgembedd.overview() returns table (
    pipeline text, source text, destination text, model text, fingerprint text, state text, reason text, queued bigint,
    backfill bigint, oldest_age interval, failing bigint, dead bigint, blank bigint, truncated bigint,
    rows_per_minute numeric, coverage numeric, lag interval, index text, index_due_at timestamptz,
    triggers boolean, time_left interval)
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$ select s.* from pgembedd.status s $$;
comment on function pgembedd.overview is 'What the view status shows, for a role that was named with grant_operator().';
