-- How many seconds one worker would take for the jobs that are due or leased, of running pipelines that a worker can
-- serve as far as is known.
create or replace function pgembedd.demand(pipeline text default null) returns double precision
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce(sum(f.demand_s), 0) from _figures f
    where demand.pipeline is null or f.pipeline_id = (select (_pipeline(demand.pipeline)).id)
$$;
comment on function pgembedd.demand is
    'Seconds that one worker would take for the jobs that are due or leased, of a pipeline or of all: '
    'for an autoscaler.';
