-- The wait after a failure: growing, capped, with jitter of +-25 % so that many failures spread out. In seconds, as the
-- growth exceeds what an interval can be.
create or replace function pgembedd_internal._backoff(
    attempts integer, base interval default '2 s', cap interval default '10 min', factor double precision default 2
) returns interval
language sql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select make_interval(secs => least(extract(epoch from cap),
        extract(epoch from base) * power(factor, least(greatest(attempts, 1) - 1, 30))) * (0.75 + 0.5 * random()))
$$;
comment on function pgembedd_internal._backoff is
    'Wait before the next attempt: base, times factor for each further one, at most cap, times a random 0.75 to 1.25.';
