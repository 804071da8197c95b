-- The wait after a failure: doubling, capped, with jitter of +-25 % so that many failures spread out.
create or replace function pgembedd.backoff(
    attempts integer, base interval default '2 s', cap interval default '10 min'
) returns interval
language sql volatile parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select least(cap, base * power(2, least(greatest(attempts, 1) - 1, 30))) * (0.75 + 0.5 * random())
$$;
comment on function pgembedd.backoff is
    'Wait before the next attempt: base doubled with every attempt, at most cap, times a random 0.75 to 1.25.';
