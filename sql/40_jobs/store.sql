-- Write the vectors and acknowledge, in one transaction: either both or neither. Per message one outcome:
--   written, unchanged, cleared, gone      done; the message is deleted
--   changed, rewritten, locked             released for a re-read, no attempt: the content changed meanwhile,
--                                          the write itself changed it, somebody holds the row
--   refused                                a BEFORE trigger of the table kept the vector out; to be failed
--   lost                                   the lease ran out and the job is somebody else's: nothing was done
create or replace function pgembedd.store(
    queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], embeddings vector[],
    dropped integer[]
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
    vectors embeddings%type;  -- vector[], wherever that lives
    blank boolean[];
    cut integer[];
    which integer[];
    outcomes text[];
    lag interval;
begin
    perform pg_advisory_xact_lock_shared(_swap_key(pipeline_id));
    -- The jobs that are still ours, and their rows: several messages may name one, which is written once, with what
    -- the latest of them brings. `which` says for each job where its row stands in `keys`.
    execute format($q$
        with held as materialized (
            select q.msg_id, q.message -> 'id' as id, c.hash, c.embedding, c.dropped
            from unnest($1, $2, $3, $4, $5) as c(msg_id, read_ct, hash, embedding, dropped)
            join %s q using (msg_id, read_ct) order by q.msg_id for update of q),
        ranked as (
            select h.*, dense_rank() over (order by h.id) as row_no,
                   lead(true, 1, false) over (partition by h.id order by h.msg_id) as older
            from held h)
        select array_agg(r.msg_id order by r.row_no, r.msg_id), array_agg(r.row_no order by r.row_no, r.msg_id),
               array_agg(r.id order by r.row_no) filter (where not r.older),
               array_agg(r.hash order by r.row_no) filter (where not r.older),
               array_agg(r.embedding order by r.row_no) filter (where not r.older),
               array_agg(r.embedding is null order by r.row_no) filter (where not r.older),
               array_agg(r.dropped order by r.row_no) filter (where not r.older)
        from ranked r
        $q$, _queue_table(queue)) into held_ids, which, keys, row_hashes, vectors, blank, cut
    using msg_ids, read_cts, hashes, embeddings, dropped;

    if held_ids is null then
        return query select c.msg_id, 'lost' from unnest(msg_ids) as c(msg_id);
        return;
    end if;

    execute format('select array_agg(w.outcome order by w.n) from %s($1, $2, $3) w',
        _pipeline_function(pipeline_id, 'write')) into outcomes using keys, row_hashes, vectors;
    held_outcomes := array(select outcomes[w.row_no] from unnest(which) with ordinality as w(row_no, i) order by w.i);

    lag := _acknowledge(queue, held_ids, held_outcomes);
    perform _record_outcomes(pipeline_id, keys, outcomes, blank, cut, lag), _notify_stored(pipeline_id, queue, outcomes, lag);
    perform _stop_if_rewriting(queue, pipeline_id, held_ids, held_outcomes);
    perform _fail_nondeterministic(queue, pipeline_id, held_ids, held_outcomes);
    return query
        select c.msg_id, coalesce(h.outcome, 'lost') from unnest(msg_ids) as c(msg_id)
        left join unnest(held_ids, held_outcomes) as h(msg_id, outcome) on h.msg_id = c.msg_id;
end $$;
