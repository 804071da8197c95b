-- name: use_provider
-- Count a request to a provider, unless the budget of the day is used up.
select pgembedd_internal.use_provider(
    %(provider)s::text, %(tokens)s::bigint, %(tokens_per_day)s::bigint, %(requests_per_day)s::bigint)

-- name: correct_provider_use
-- Correct the tokens of today by so many.
select pgembedd_internal.correct_provider_use(%(provider)s::text, %(tokens)s::bigint)

-- name: begin_provider_batch
-- Note that the texts of jobs are about to be sent as a batch.
select pgembedd_internal.begin_provider_batch(%(pipeline_id)s, %(msg_ids)s::bigint[])

-- name: provider_batches
-- The batches that have texts of these jobs.
select id, batch, output, msg_ids, age_s
from pgembedd_internal.provider_batches(%(pipeline_id)s, %(msg_ids)s::bigint[])

-- name: note_provider_batch
-- What is known of a batch by now.
select pgembedd_internal.note_provider_batch(%(id)s, %(batch)s, %(output)s, %(lost_s)s)

-- name: provider_use_today
-- What was asked of providers today.
select provider, tokens, requests from pgembedd_internal.provider_use
where day = (clock_timestamp() at time zone 'UTC')::date order by provider
