-- name: pin_model
-- Pin a pipeline to the model that serves it first; the pinned fingerprint comes back.
select pgembedd_internal.pin_model(%(pipeline_id)s, %(fingerprint)s)

-- name: note_unserved
-- Note why this worker cannot serve a pipeline.
select pgembedd_internal.note_unserved(%(pipeline_id)s, %(reason)s, %(tried)s, %(worker)s)

-- name: note_served
-- Take such a note back.
select pgembedd_internal.note_served(%(pipeline_id)s, %(loaded)s, %(worker)s)

-- name: note_slow
-- Code of the table's owner did not end in time.
select pgembedd_internal.note_slow(%(pipeline_id)s, %(allowed_s)s, %(timeout_s)s, %(tried)s)

-- name: note_slow_change
-- The same of the pipelines whose keys a webhook has.
select pgembedd_internal.note_slow_change(%(posted)s::jsonb, %(timeout_s)s)

-- name: end_turn
-- A row of a slow pipeline was done in time.
select pgembedd_internal.end_turn(%(pipeline_id)s)

-- name: probe_model
-- The probe vectors that a pipeline was first served with; these, if it has none.
select pgembedd_internal.probe_model(%(pipeline_id)s, %(vectors)s::real[])

-- name: diagnose
-- Stop a pipeline that cannot work at all; its reason, or null when nothing is wrong with it.
select pgembedd_internal.diagnose(%(pipeline_id)s)

-- name: stop_pipeline
-- Stop a pipeline for a reason found outside the database.
select pgembedd_internal.stop_pipeline(%(pipeline_id)s, %(reason)s)

-- name: models
-- What the running pipelines need of a model.
select pipeline_id, pipeline, model, fingerprint, dimensions, noted from pgembedd_internal.models()

-- name: pipeline_names
-- The names of all pipelines, as a role may ask that may only work.
select m.pipeline from pgembedd.metrics() m where m.pipeline is not null order by m.pipeline

-- name: tick
-- The upkeep, when it is due.
select pgembedd.tick(%(sweep_every_s)s)

-- name: vector_schema
-- Where the extension's types live.
select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = 'vector'

-- name: vector_type
-- Where the extension's types live, and the numbers of `vector` and `vector[]`.
select n.nspname, t.oid, t.typarray
from pg_catalog.pg_extension e
join pg_catalog.pg_namespace n on n.oid = e.extnamespace
join pg_catalog.pg_type t on t.typnamespace = n.oid and t.typname = 'vector'
where e.extname = 'vector'

-- name: truncated
-- Rows whose text was cut, those of which most is missing first.
select t.pipeline, t.key::text, t.dropped_tokens, t.since from pgembedd.truncated t
where %(name)s::text is null or t.pipeline = (pgembedd_internal._pipeline(%(name)s)).name
order by t.dropped_tokens desc, t.pipeline, t.key limit %(limit)s

-- name: truncated_share
-- How many rows were cut in each pipeline, and of how many; large tables are not counted but estimated.
select p.name, count(*), pgembedd_internal._row_count(p)
from pgembedd_internal.pipeline p join pgembedd_internal.row_state r on r.pipeline_id = p.id and r.state = 'truncated'
where %(name)s::text is null or p.name = %(name)s
group by p.id order by p.name

-- name: backfill
-- Queue what has no vector.
select pgembedd.backfill(%(name)s, %(force)s)

-- name: retry_dead_letters
-- Put dead letters back.
select pgembedd.retry_dead_letters(%(name)s, %(reason)s)

-- name: status
-- What the page and `pgembedd status` show of each pipeline, durations in seconds. What does not run or is not served
-- comes first.
select pipeline, source, destination, model, fingerprint, state, reason, queued, queued_fresh, queued_backfill,
       extract(epoch from oldest_age)::float8 as oldest_age_s, failing, dead, blank, truncated,
       rows_per_minute::float8 as rows_per_minute, coverage::float8 as coverage,
       extract(epoch from lag)::float8 as lag_s, index, index_due_at, triggers,
       extract(epoch from time_left)::float8 as time_left_s, queued_estimated
from pgembedd.status order by state <> 'stopped', state <> 'unserved', state <> 'stalled', pipeline

-- name: history
-- The last hour of every pipeline by the minute; waits in seconds.
select pipeline, at, queued::float8 as queued, extract(epoch from oldest_age)::float8 as oldest_age_s,
       extract(epoch from lag)::float8 as lag_s, rows_per_minute::float8 as rows_per_minute
from pgembedd.history(last => '1 hour', bucket => '1 minute') order by pipeline, at

-- name: dead_letter_reasons
-- Dead letters by pipeline and reason, the most frequent first.
select f.pipeline, f.reason, count(*) as jobs, max(f.died_at) as last_at
from pgembedd.dead_letters f group by f.pipeline, f.reason order by count(*) desc, f.pipeline, f.reason limit %(limit)s

-- name: dead_letters
-- Dead letters one by one, the latest first; of any pipeline, of none (''), or of one.
select f.pipeline, f.key::text as key, f.reason, f.attempts, f.enqueued_at, f.died_at,
       left(f.error, %(length)s) as error
from pgembedd.dead_letters f
where (%(pipeline)s::text is null or coalesce(f.pipeline, '') = %(pipeline)s)
  and (%(reason)s::text is null or f.reason = %(reason)s)
order by f.died_at desc, f.pipeline, f.key limit %(limit)s offset %(offset)s

-- name: metrics
-- What a scrape says of the pipelines and their queues.
select pipeline, state, queued_fresh, queued_backfill, oldest_age_fresh_s, oldest_age_backfill_s, failing, dead, blank,
       truncated, rows_per_minute, demand_s
from pgembedd.metrics()

-- name: demand
-- Seconds of work that is due or leased, of these pipelines or of all.
select case when %(pipelines)s::text[] = '{}' then pgembedd.demand()
            else (select sum(pgembedd.demand(name)) from unnest(%(pipelines)s::text[]) name) end
