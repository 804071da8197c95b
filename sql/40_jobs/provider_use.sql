-- What workers and services ask of providers of embeddings in a day (UTC): counted here, so that a fleet keeps one
-- budget.

-- Counts a request of so many tokens. False, and nothing is counted, where a limit of the day is used up: the request
-- that reaches it is still made. Two requests at once are counted one after the other.
create or replace function pgembedd_internal.use_provider(
    provider text, tokens bigint, tokens_per_day bigint default null, requests_per_day bigint default null
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
begin
    perform set_config('synchronous_commit', 'off', true);  -- a count, not worth a flush
    insert into provider_use as u (provider, day, tokens, requests)
    values (use_provider.provider, _day(), use_provider.tokens, 1)
    on conflict (provider, day) do update set tokens = u.tokens + excluded.tokens, requests = u.requests + 1
    where (tokens_per_day is null or u.tokens < tokens_per_day)
      and (requests_per_day is null or u.requests < requests_per_day);
    return found;
end $$;
comment on function pgembedd_internal.use_provider is
    'Count a request to a provider of embeddings. False, and nothing is counted, where a limit of the day is used up.';

-- Adds to the tokens of today once the provider has said how many they were; a negative number for an estimate that was
-- too high, or a request without an answer.
create or replace function pgembedd_internal.correct_provider_use(provider text, tokens bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    update provider_use u set tokens = greatest(0, u.tokens + correct_provider_use.tokens)
    where u.provider = correct_provider_use.provider and u.day = _day();
end $$;
comment on function pgembedd_internal.correct_provider_use is
    'Add to the tokens of today what a provider counted beyond the estimate; a negative number where it was less.';

create or replace function pgembedd_internal._day() returns date
language sql volatile
set search_path = pg_catalog, pg_temp
as $$ select (clock_timestamp() at time zone 'UTC')::date $$;
