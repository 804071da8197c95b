-- name: due
-- The running pipelines that have jobs due in one queue and can be served; waits a while for the first.
select pipeline_id, queue from pgembedd_internal.due(
    %(names)s, %(poll_s)s, %(unserved)s, %(queue)s::text, %(idle)s, %(task)s)
where pgembedd_internal.interface({interface} => true)

-- name: claim
-- Take jobs of one pipeline under a lease.
select queue, msg_id, read_ct, id, pipeline_id, pipeline, model, fingerprint, dimensions, suspect, chunked,
       chunk_tokens, chunk_overlap_tokens, splitter, traceparent, waited_s, attempt, source,
       (select pgembedd_internal.allowed_s(%(pipeline_id)s))
from pgembedd_internal.claim(%(pipeline_id)s, %(queue)s, %(claim_size)s, %(lease_s)s)
where pgembedd_internal.interface({interface} => true)

-- name: continue_backfill
-- Queue more of a backfill that is not queued whole.
select pgembedd_internal.continue_backfill(%(pipeline_id)s)

-- name: claim_pushed
-- Claim jobs that were posted: what each is, and the job where it was claimed.
select null as subject, state, reason, (job).queue, (job).msg_id, (job).read_ct, (job).id, (job).pipeline_id,
       (job).pipeline, (job).model, (job).fingerprint, (job).dimensions, (job).suspect, (job).chunked,
       (job).chunk_tokens, (job).chunk_overlap_tokens, (job).splitter, (job).traceparent, (job).waited_s, (job).attempt,
       (job).source, pgembedd_internal.allowed_s((job).pipeline_id)
from pgembedd_internal.claim_pushed(%(posted)s::text::jsonb, %(lease_s)s::integer)
where pgembedd_internal.interface({interface} => true)

-- name: claim_changed
-- Queue and claim what a webhook tells of; the same, with the pipeline of each.
select subject, state, reason, (job).queue, (job).msg_id, (job).read_ct, (job).id, (job).pipeline_id, (job).pipeline,
       (job).model, (job).fingerprint, (job).dimensions, (job).suspect, (job).chunked, (job).chunk_tokens,
       (job).chunk_overlap_tokens, (job).splitter, (job).traceparent, (job).waited_s, (job).attempt,
       (job).source, pgembedd_internal.allowed_s((job).pipeline_id)
from pgembedd_internal.claim_changed(%(posted)s::text::jsonb, %(lease_s)s::integer)
where pgembedd_internal.interface({interface} => true)

-- name: queue_changed
-- Queue what a webhook tells of, and claim nothing.
select subject, state, reason from pgembedd_internal.claim_changed(%(posted)s::text::jsonb, null)

-- name: release_pushed
-- Put posted jobs that found no room back, due again soon.
select pgembedd_internal.release_pushed(%(posted)s::text::jsonb, %(delay_s)s)

-- name: read
-- The content of rows by key, in the order of the keys.
select state, content, hash from pgembedd_internal.read(%(pipeline_id)s, %(ids)s::text[]::jsonb[])
where pgembedd_internal.interface({interface} => true) order by n

-- name: read_chunks
-- The content of rows by key for a pipeline with an embedding table, with what its chunks need.
select state, content, hash, before, after, known
from pgembedd_internal.read_chunks(%(pipeline_id)s, %(ids)s::text[]::jsonb[])
where pgembedd_internal.interface({interface} => true) order by n

-- name: store_chunks
-- Write the chunks of rows and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd_internal.store_chunks(
    %(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(hashes)s::bytea[],
    %(dropped)s::integer[], %(chunk_jobs)s::integer[], %(chunk_indexes)s::integer[], %(chunks)s::text[],
    %(start_offsets)s::integer[], %(end_offsets)s::integer[], %(chunk_hashes)s::bytea[],
    %(embeddings)s::{vector}[], %(tokens)s::integer[], %(tokens_kept)s::integer[], %(recalled)s)
where pgembedd_internal.interface({interface} => true)

-- name: store
-- Write vectors and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd_internal.store(%(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[],
                    %(hashes)s::bytea[], %(embeddings)s::{vector}[], %(dropped)s::integer[], %(recalled)s)
where pgembedd_internal.interface({interface} => true)

-- name: fail
-- Record a failed attempt: retry later, or a dead letter.
select outcome, attempts, extract(epoch from retry_in)::float8
from pgembedd_internal.fail(
    %(queue)s, %(msg_id)s, %(read_ct)s, %(reason)s, %(error)s, %(permanent)s, %(key)s)

-- name: release
-- Give jobs back unworked; no attempt.
select pgembedd_internal.release(%(queue)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(delay_s)s, %(why)s)

-- name: blocker
-- The lock that keeps a pipeline's rows from being read and stored, with what this role may see of its holder.
select b.relation, b.pid, b.waits_for, a.application_name,
       round(extract(epoch from clock_timestamp() - a.xact_start), 1)::float8
from pgembedd_internal.blocker(%(pipeline_id)s) b left join pg_catalog.pg_stat_activity a on a.pid = b.pid

-- name: heartbeat
-- This worker lives; whether an index waits that it may build.
select pgembedd_internal.heartbeat(
    %(worker)s, %(place)s, %(sessions)s::integer[], %(tasks)s::text[], %(busy_with)s::integer[])

-- name: extend
-- Keep jobs for another lease; the ids that are still ours come back.
select pgembedd_internal.extend(%(queue)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(lease_s)s)
where pgembedd_internal.interface({interface} => true)

-- name: mark_alone
-- Note that a suspect is about to be worked alone.
select pgembedd_internal.mark_alone(%(queue)s, %(msg_id)s, %(read_ct)s)

-- name: set_idle
-- Ask the triggers to NOTIFY, or tell them not to.
select pgembedd_internal.set_idle(%(idle)s)

-- name: waiting
-- How much of a pipeline is queued, and how many workers that claim jobs answer.
select s.state, s.reason, s.queued,
       (select count(*) from pgembedd.workers() w where w.answers and 'claim' = any (w.tasks))
from pgembedd.status s where s.pipeline = %(name)s

-- name: left
-- What is queued although nothing is demanded, of these pipelines or of all, as a role may ask that may only work.
select pipeline, state, queued from pgembedd.metrics()
where queued > 0 and pipeline = any (case when %(pipelines)s::text[] = '{}' then array[pipeline] else %(pipelines)s end)
order by pipeline
