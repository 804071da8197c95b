-- Queues more of a running pipeline's backfill, unless enough of it is queued: the next rows that it is to queue, which
-- are looked for during a second. Returns how many; 0 also where they cannot be read at this moment, or any more: the
-- sweep, which goes on with a backfill as well, says why.
create or replace function pgembedd_internal.continue_backfill(pipeline_id integer) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '100ms'
as $$
declare
    one pgembedd_internal.pipeline;
    queued bigint := 0;
    ends timestamptz := clock_timestamp() + interval '1 s';
begin
    select p.* into one from pipeline p join open_backfill b on b.pipeline_id = p.id
    where p.id = $1 and p.state = 'running';
    if one.id is null or _has_enough(one.id) then return 0; end if;
    while queued = 0 and clock_timestamp() < ends loop
        queued := _continue_backfill(one);
    end loop;
    if queued = 0 then perform _wake('pgembedd_backfill'); end if;  -- there is more to look through
    return coalesce(queued, 0);
exception
    when others then return 0;
end $$;
comment on function pgembedd_internal.continue_backfill is
    'Queue the next rows of a pipeline''s backfill, if it has one that is not queued whole. Returns how many.';

-- Whether so many rows of its backfill are queued that more would only make the queue longer.
create or replace function pgembedd_internal._has_enough(pipeline_id integer) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    queued bigint;
begin
    execute format('select count(*) from (select from pgmq.q_pgembedd_backfill q where %s limit 20000) q',
        _is_for(pipeline_id)) into queued;
    return queued = 20000;
end $$;
