-- Writes the vectors and acknowledges the jobs in one transaction: either both or neither. Returns one outcome per
-- message:
--   written, unchanged, cleared, gone      done; the message is deleted
--   changed, rewritten, locked             released for another read, no attempt: the content changed meanwhile, the
--                                          write itself changed it, another transaction holds the row
--   refused                                a BEFORE trigger of the table kept the vector out; to be failed
--   lost                                   the lease expired and another worker has the job: nothing was done
-- `recalled` is the number of texts whose vector the worker had from before.
create or replace function pgembedd_internal.store(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[],
    embeddings @extschema:vector@.vector[],
    dropped integer[], recalled integer default null
) returns table (msg_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    held record;
    outcomes text[];
begin
    perform _keep_names(pipeline_id, cardinality(msg_ids));
    select h.* into held from _lock_jobs(queue, pipeline_id, msg_ids, read_cts) h;
    if held.msg_ids is not null then
        perform set_config('pgembedd.storing', _storing_mark(pipeline_id), true);
        execute format('select array_agg(w.outcome order by w.n) from %s($1, $2, $3) w',
            _pipeline_function(pipeline_id, 'write')) into outcomes
        using held.keys, array(select hashes[j] from unnest(held.jobs) j),
              array(select embeddings[j] from unnest(held.jobs) j);
        perform pgembedd_internal._store_words(pipeline_id, held.keys, outcomes);
        perform pgembedd_internal._check_session();
        perform set_config('pgembedd.storing', '', true);
    end if;
    return query select f.* from _finish_jobs(
        queue, pipeline_id, msg_ids, held.msg_ids, held.positions, held.keys, outcomes,
        array(select embeddings[j] is null from unnest(held.jobs) j),
        array(select dropped[j] from unnest(held.jobs) j), recalled) f;
end $$;
comment on function pgembedd_internal.store is
    'Write vectors and acknowledge their jobs, both or neither. Returns an outcome for each message.';

-- Stores rows in chunks. `chunk_jobs` says for each chunk which of the messages brings it, counted from 1; a chunk
-- without a vector has the text of one that is stored. A message that brings no chunk clears its row.
create or replace function pgembedd_internal.store_chunks(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[],
    chunk_jobs integer[], chunk_indexes integer[], chunks text[], start_offsets integer[], end_offsets integer[],
    chunk_hashes bytea[], embeddings @extschema:vector@.vector[], tokens integer[], tokens_kept integer[],
    recalled integer default null
) returns table (msg_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    held record;
    outcomes text[];
begin
    perform _keep_names(pipeline_id, cardinality(msg_ids));
    select h.* into held from _lock_jobs(queue, pipeline_id, msg_ids, read_cts) h;
    if held.msg_ids is not null then
        execute format('select array_agg(w.outcome order by w.n)
                        from %s($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) w',
            _pipeline_function(pipeline_id, 'write')) into outcomes
        using held.keys, array(select hashes[j] from unnest(held.jobs) j), held.jobs, chunk_jobs, chunk_indexes, chunks,
              start_offsets, end_offsets, chunk_hashes, embeddings, tokens, tokens_kept,
              (select p.fingerprint from pipeline p where p.id = store_chunks.pipeline_id);
        perform pgembedd_internal._store_words(pipeline_id, held.keys, outcomes);
        perform pgembedd_internal._check_session();
    end if;
    return query select f.* from _finish_jobs(
        queue, pipeline_id, msg_ids, held.msg_ids, held.positions, held.keys, outcomes,
        array(select not j = any (chunk_jobs) from unnest(held.jobs) j),
        array(select dropped[j] from unnest(held.jobs) j), recalled) f;
end $$;
comment on function pgembedd_internal.store_chunks is
    'Write the chunks of rows and acknowledge their jobs, both or neither. Returns an outcome for each message.';

-- Stores the pages of files. `states` are those of read_files(), and `pages` says of each page, in JSON, which of the
-- messages brings it as `job`, counted from 1, with page, headings, text and metadata. One that is unchanged keeps its
-- pages; one that brings no page clears its row. `file_hashes` and `validators` are of files that were fetched from
-- URIs, whose hashes `hashes` are then.
create or replace function pgembedd_internal.store_pages(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], states text[], pages json,
    parser text, file_hashes bytea[] default null, validators text[] default null
) returns table (msg_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    held record;
    outcomes text[];
begin
    perform _keep_names(pipeline_id, cardinality(msg_ids));
    select h.* into held from _lock_jobs(queue, pipeline_id, msg_ids, read_cts) h;
    if held.msg_ids is not null then
        perform set_config('pgembedd.since', _waiting_since(queue, held.msg_ids), true);
        execute format('select array_agg(w.outcome order by w.n) from %s($1, $2, $3, $4, $5, $6, $7) w',
            _pipeline_function(pipeline_id, 'write')) into outcomes
        using held.keys, array(select hashes[j] from unnest(held.jobs) j), held.jobs,
              array(select states[j] = 'unchanged' from unnest(held.jobs) j), pages, parser,
              array(select coalesce(file_hashes[j], hashes[j]) from unnest(held.jobs) j);
        perform pgembedd_internal._check_session();
        perform set_config('pgembedd.since', '', true);
        if exists (select from pipeline p where p.id = store_pages.pipeline_id and p.uri_prefixes is not null) then
            perform pgembedd_internal._note_fetched(pipeline_id, held.keys, outcomes,
                array(select hashes[j] from unnest(held.jobs) j), array(select file_hashes[j] from unnest(held.jobs) j),
                array(select validators[j] from unnest(held.jobs) j), parser);
        end if;
    end if;
    return query select f.* from _finish_jobs(
        queue, pipeline_id, msg_ids, held.msg_ids, held.positions, held.keys, outcomes,
        array(select states[j] = 'blank' from unnest(held.jobs) j), array(select 0 from unnest(held.jobs) j)) f;
end $$;
comment on function pgembedd_internal.store_pages is
    'Write the pages of files and acknowledge their jobs, both or neither. Returns an outcome for each message.';

-- Since when the first of these messages has waited, in seconds of Unix time.
create or replace function pgembedd_internal._waiting_since(queue text, msg_ids bigint[]) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    since text;
begin
    execute format('select extract(epoch from min(q.enqueued_at)) from %s q where q.msg_id = any ($1)',
        _queue_table(queue)) into since using msg_ids;
    return since;
end $$;

-- Keeps switch_model() from renaming what a pipeline writes to until the transaction ends: it locks both rows FOR
-- UPDATE. The reference in `activity` would take this lock at the end of the store anyway. Several jobs of a pipeline
-- that pauses were claimed before it was slow: they go back.
create or replace function pgembedd_internal._keep_names(pipeline_id integer, jobs integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
begin
    select p.* into one from pipeline p where p.id = $1 for key share;
    if jobs > 1 and one.slow_until > clock_timestamp() then
        raise exception 'The pipeline "%" pauses.', one.name using errcode = 'lock_not_available';
    end if;
end $$;

-- By this the triggers know the UPDATE of a store from those of others. Any role may set the setting that carries it,
-- but only a store can tell the mark of its own transaction.
create or replace function pgembedd_internal._storing_mark(pipeline_id integer) returns text
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select encode(sha256(convert_to(concat_ws(' ', i.secret, pg_current_xact_id(), $1), 'UTF8')), 'hex')
    from installation i
$$;

-- Locks the messages whose claim is still valid. Several of them may name one row, which is written once, with what the
-- latest message brings: `keys` are the rows, `jobs` says for each of them where in `of_ids` that message stands, and
-- `positions` for each of `msg_ids` where in `keys` its row stands. All null when no message is left. A standby that is
-- promoted without the primary's last transactions gives their numbers to other messages, also of other pipelines.
-- The plans are kept: to plan takes longer than to lock some jobs. Each queue has its own, as a statement over both
-- would wait for a lock on either, such as that of a REINDEX.
create or replace function pgembedd_internal._lock_jobs(
    queue text, pipeline_id integer, of_ids bigint[], read_cts integer[],
    out msg_ids bigint[], out positions integer[], out keys jsonb[], out jobs integer[]
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
-- By the index on msg_id, whatever is known of the queues: a nested loop would compare each message with each.
set enable_nestloop = off set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    held_ids bigint[];
    held_keys jsonb[];
    held_jobs bigint[];
begin
    perform _queue_table(queue);  -- no other queue
    if queue = 'pgembedd_fresh' then
        select array_agg(h.msg_id), array_agg(h.id), array_agg(h.job) into held_ids, held_keys, held_jobs
        from (select q.msg_id, q.message -> 'id' as id, c.job
              from rows from (unnest(of_ids), unnest(read_cts)) with ordinality as c(msg_id, read_ct, job)
              join pgmq.q_pgembedd_fresh q using (msg_id, read_ct)
              where q.msg_id = any (of_ids) and q.message ->> 'pipeline' = pipeline_id::text
              order by q.msg_id for update of q) h;
    else
        select array_agg(h.msg_id), array_agg(h.id), array_agg(h.job) into held_ids, held_keys, held_jobs
        from (select q.msg_id, q.message -> 'id' as id, c.job
              from rows from (unnest(of_ids), unnest(read_cts)) with ordinality as c(msg_id, read_ct, job)
              join pgmq.q_pgembedd_backfill q using (msg_id, read_ct)
              where q.msg_id = any (of_ids) and q.message ->> 'pipeline' = pipeline_id::text
              order by q.msg_id for update of q) h;
    end if;
    with ranked as (
        select h.*, dense_rank() over (order by h.id) as row_no,
               lead(true, 1, false) over (partition by h.id order by h.msg_id) as older
        from unnest(held_ids, held_keys, held_jobs) as h(msg_id, id, job))
    select array_agg(r.msg_id order by r.row_no, r.msg_id), array_agg(r.row_no order by r.row_no, r.msg_id),
           array_agg(r.id order by r.row_no) filter (where not r.older),
           array_agg(r.job order by r.row_no) filter (where not r.older)
    into msg_ids, positions, keys, jobs from ranked r;
end $$;

-- Acknowledges the messages and records the outcomes of their rows. Returns an outcome for each of `msg_ids`.
create or replace function pgembedd_internal._finish_jobs(
    queue text, pipeline_id integer, msg_ids bigint[], held_ids bigint[], positions integer[], keys jsonb[],
    outcomes text[], blank boolean[], dropped integer[], recalled integer default null
) returns table (msg_id bigint, outcome text)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    held_outcomes text[] := array(
        select outcomes[w.row_no] from unnest(positions) with ordinality as w(row_no, i) order by w.i);
    lag interval;
begin
    if held_ids is not null then
        lag := _acknowledge(queue, held_ids, held_outcomes);
        perform _record_outcomes(pipeline_id, keys, outcomes, blank, dropped, lag, recalled),
                _notify_stored(pipeline_id, queue, outcomes, lag);
        perform _stop_if_rewriting(queue, pipeline_id, held_ids, held_outcomes);
        perform _fail_nondeterministic(queue, pipeline_id, held_ids, held_outcomes);
    end if;
    return query select h.id, h.outcome from unnest(held_ids, held_outcomes) as h(id, outcome);
    if coalesce(cardinality(held_ids), 0) < cardinality(msg_ids) then
        return query select c.id, 'lost' from (select unnest(msg_ids) except select unnest(held_ids)) c(id);
    end if;
end $$;
