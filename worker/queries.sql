-- Every statement the worker and the command line run, by name. Loaded by queries.py.

-- name: claim
-- Take jobs from one lane under a lease.
select msg_id, read_ct, id, suspect, pipeline_id, pipeline, model, fingerprint, dimensions
from pgembedd.claim(%(queue)s, %(claim_size)s, %(lease_s)s, %(poll_s)s)

-- name: read
-- The content of rows by key, in the order of the keys.
select state, content, hash from pgembedd.read(%(pipeline_id)s, %(ids)s::jsonb[]) order by n

-- name: store
-- Write vectors and acknowledge their jobs, both or neither.
select msg_id, outcome
from pgembedd.store(%(queue)s, %(pipeline_id)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[],
                    %(hashes)s::bytea[], %(embeddings)s::{vector}[], %(dropped)s::integer[])

-- name: fail
-- Record a failed attempt: retry later, or a dead letter.
select outcome, attempts, extract(epoch from retry_in)::float8
from pgembedd.fail(%(queue)s, %(msg_id)s, %(read_ct)s, %(reason)s, %(error)s, %(permanent)s)

-- name: release
-- Give jobs back unworked; no attempt.
select pgembedd.release(%(queue)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(delay_s)s)

-- name: extend
-- Keep jobs for another lease; the ids that are still ours come back.
select pgembedd.extend(%(queue)s, %(msg_ids)s::bigint[], %(read_cts)s::integer[], %(lease_s)s)

-- name: mark_alone
-- Note that a suspect is about to be worked alone.
select pgembedd.mark_alone(%(queue)s, %(msg_id)s, %(read_ct)s)

-- name: pin_model
-- Pin a pipeline to the model that serves it first; the pinned fingerprint comes back.
select pgembedd.pin_model(%(pipeline_id)s, %(fingerprint)s)

-- name: diagnose
-- Stop a pipeline that cannot work at all; its reason, or null when nothing is wrong with it.
select pgembedd.diagnose(%(pipeline_id)s)

-- name: stop_pipeline
-- Stop a pipeline for a reason found outside the database.
select pgembedd.stop_pipeline(%(pipeline_id)s, %(reason)s)

-- name: models
-- What the running pipelines need of a model.
select pipeline_id, pipeline, model, fingerprint, dimensions from pgembedd.models()

-- name: lanes
-- The queues to serve: fresh and backfill.
select queue, backfill_queue from pgembedd.lanes()

-- name: set_idle
-- Ask the triggers to NOTIFY, or tell them not to.
select pgembedd.set_idle(%(idle)s)

-- name: tick
-- The upkeep, when it is due.
select pgembedd.tick(%(sweep_every_s)s)

-- name: vector_schema
-- Where the extension's types live.
select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
where e.extname = 'vector'
