-- name: verify_rights
-- Whether this role may verify at all: the owner of pgembedd, or a member.
select pg_catalog.has_table_privilege('pgembedd_internal.pipeline', 'select')
   and pg_catalog.has_function_privilege('pgembedd.requeue(text, jsonb[])', 'execute')

-- name: verify_targets
-- What verify needs of each pipeline.
select p.id, p.name, p.model, p.fingerprint, p.dimensions,
       p.embedding_table is not null, p.chunk_tokens, p.chunk_overlap_tokens, p.splitter = 'markdown', p.task
from pgembedd_internal.pipeline p order by p.name

-- name: verify_check
-- Raises what stands in the way of verifying a pipeline; how many rows it has, about.
select pgembedd_internal._check_verify(p), pgembedd_internal._estimated_rows(p.source)
from pgembedd_internal._pipeline(%(name)s) p

-- name: verify_sample
-- Keys at random: of rows, or of chunks that no row has.
select k::text from pgembedd_internal._sample_keys(%(name)s, %(sample)s, %(seed)s, %(orphans)s) k

-- name: verify_next
-- The keys that come after one: of rows, or of chunks that no row has.
select k::text from pgembedd_internal._next_keys(%(name)s, %(after)s::jsonb, %(at_most)s, %(orphans)s) k

-- name: verify_look
-- Rows by key as they are, in the order of the keys.
select state, content, hash, noted, embeddings, before, after, chunk_indexes, start_offsets, end_offsets, hashes, models
from pgembedd_internal._look_at(%(name)s, %(ids)s::text[]::jsonb[], %(with_queues)s) order by n

-- name: verify_noted
-- What is known of rows that cannot be read: dead, queued or nothing, in the order of the keys.
select unnest(pgembedd_internal._noted(pgembedd_internal._pipeline(%(name)s), %(ids)s::text[]::jsonb[], true))

-- name: requeue
-- Queue rows by key.
select pgembedd.requeue(%(name)s, %(keys)s::text[]::jsonb[])
