-- The same for rows in chunks. `chunk_jobs` says for each chunk which of the messages brings it, counted from 1; a
-- chunk without a vector has the text of one that is there. A message that brings no chunk clears its row.
create or replace function pgembedd.store_chunks(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[],
    chunk_jobs integer[], chunk_nos integer[], chunks text[], start_offsets integer[], end_offsets integer[],
    chunk_hashes bytea[], embeddings vector[], tokens integer[], tokens_kept integer[]
) returns table (msg_id bigint, outcome text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
#variable_conflict use_column
declare
    held_ids bigint[];
    held_outcomes text[];
    keys jsonb[];
    row_hashes bytea[];
    jobs integer[];  -- the message that a row's chunks come with: the latest that names it
    cut integer[];
    which integer[];
    outcomes text[];
    lag interval;
begin
    perform pg_advisory_xact_lock_shared(_swap_key(pipeline_id));
    execute format($q$
        with held as materialized (
            select q.msg_id, q.message -> 'id' as id, c.hash, c.dropped, c.job
            from rows from (unnest($1), unnest($2), unnest($3), unnest($4))
                with ordinality as c(msg_id, read_ct, hash, dropped, job)
            join %s q using (msg_id, read_ct) order by q.msg_id for update of q),
        ranked as (
            select h.*, dense_rank() over (order by h.id) as row_no,
                   lead(true, 1, false) over (partition by h.id order by h.msg_id) as older
            from held h)
        select array_agg(r.msg_id order by r.row_no, r.msg_id), array_agg(r.row_no order by r.row_no, r.msg_id),
               array_agg(r.id order by r.row_no) filter (where not r.older),
               array_agg(r.hash order by r.row_no) filter (where not r.older),
               array_agg(r.job order by r.row_no) filter (where not r.older),
               array_agg(r.dropped order by r.row_no) filter (where not r.older)
        from ranked r
        $q$, _queue_table(queue)) into held_ids, which, keys, row_hashes, jobs, cut using msg_ids, read_cts, hashes, dropped;

    if held_ids is null then
        return query select c.msg_id, 'lost' from unnest(msg_ids) as c(msg_id);
        return;
    end if;

    execute format('select array_agg(w.outcome order by w.n) from %s($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) w',
        _pipeline_function(pipeline_id, 'write')) into outcomes
    using keys, row_hashes, jobs, chunk_jobs, chunk_nos, chunks, start_offsets, end_offsets, chunk_hashes, embeddings, tokens,
          tokens_kept, (select p.fingerprint from pipeline p where p.id = store_chunks.pipeline_id);
    held_outcomes := array(select outcomes[w.row_no] from unnest(which) with ordinality as w(row_no, i) order by w.i);

    lag := _acknowledge(queue, held_ids, held_outcomes);
    perform _record_outcomes(pipeline_id, keys, outcomes, array(select not j = any (chunk_jobs) from unnest(jobs) j), cut, lag),
            _notify_stored(pipeline_id, queue, outcomes, lag);
    perform _fail_nondeterministic(queue, pipeline_id, held_ids, held_outcomes);
    return query
        select c.msg_id, coalesce(h.outcome, 'lost') from unnest(msg_ids) as c(msg_id)
        left join unnest(held_ids, held_outcomes) as h(msg_id, outcome) on h.msg_id = c.msg_id;
end $$;
