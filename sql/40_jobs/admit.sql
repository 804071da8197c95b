-- Returns the jobs among the messages that were just read, with what a worker has to know of their pipelines.
create or replace function pgembedd._admit(
    queue text, msg_ids bigint[], read_cts integer[], messages jsonb[], notes jsonb[], enqueued timestamptz[]
) returns setof pgembedd.job
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    job record;
    claimed pgembedd.job;
    guest record;
    refusal text;
    traced integer := 0;
begin
    for job in
        -- The usual message is ours and was never read before: it gets by without a call of a function.
        select c.*, p.id as p_id, p.name, p.model, p.fingerprint, p.dimensions, p.state, p.max_attempts,
               p.embedding_table, p.chunk_tokens, p.chunk_overlap, p.splitter,
               c.read_ct - 1 - c.attempts - c.deferrals as deaths
        from (
            select r.*,
                   case when r.message ? 'pipeline' and r.message ->> 'id' is not null then r.message ->> 'pipeline'
                        else _claimed_for(r.message)::text end as named,
                   case when r.headers is null then 0 else _note(r.headers, 'alone') end as alone,
                   case when r.headers is null then 0 else _note(r.headers, 'attempts') end as attempts,
                   case when r.headers is null then 0 else _note(r.headers, 'deferrals') end as deferrals
            from unnest(msg_ids, read_cts, messages, notes, enqueued)
                as r(msg_id, read_ct, message, headers, enqueued_at)) c
        left join pipeline p on p.id::text = c.named
        order by c.alone, c.msg_id  -- jobs that were never alone go before one that a worker died of
    loop
        if job.p_id is null then  -- a message of others may be the first of its kind
            select (g.host).*, g.refusal into guest from _guest(queue, job.message) g;
            refusal := guest.refusal;
            job.p_id := guest.id; job.name := guest.name; job.model := guest.model;
            job.fingerprint := guest.fingerprint; job.dimensions := guest.dimensions; job.state := guest.state;
            job.max_attempts := guest.max_attempts; job.splitter := guest.splitter;
            job.chunk_overlap := guest.chunk_overlap;
        end if;
        if job.p_id is null and refusal is null and job.deferrals < 100 then
            perform _release(queue, array[job.msg_id], array[job.read_ct], '2 s');
        elsif job.p_id is null then
            perform _dead_letter(queue, job.msg_id, null, 'unknown_pipeline', coalesce(refusal,
                'It could not be registered for minutes, because others held what that takes.'), job.attempts);
        elsif job.state <> 'running' then
            perform _park(queue, job.msg_id);
        elsif job.alone > 0 and job.alone + job.attempts >= job.max_attempts then
            perform _dead_letter(queue, job.msg_id, job.p_id, 'worker_died',
                'The worker died each time it worked on this job alone.', job.alone + job.attempts);
        else
            claimed := row(
                job.msg_id, job.read_ct, job.message -> 'id', job.p_id, job.name, job.model, job.fingerprint,
                job.dimensions, job.deaths >= 2, job.embedding_table is not null, job.chunk_tokens, job.chunk_overlap,
                job.splitter, null, null, job.attempts + 1);
            -- Not validated here, but by its reader. Of a hundred jobs per claim, as no trace shows more.
            if traced < 100 and job.headers ->> 'traceparent' is not null then
                claimed.traceparent := left(job.headers ->> 'traceparent', 55);
                claimed.waited_s := extract(epoch from clock_timestamp() - job.enqueued_at);
                traced := traced + 1;
            end if;
            return next claimed;
        end if;
    end loop;
end $$;

-- Our own messages name their pipeline; those of other triggers name a table and a column. Null for anything else: no
-- message in the queue may make the claim fail.
create or replace function pgembedd._pipeline_of(message jsonb) returns integer
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select p.id from pipeline p
    where coalesce(message -> 'id', 'null') <> 'null' and case when message ? 'pipeline'
        then p.id::text = message ->> 'pipeline'
        else p.embedding_column = message ->> 'embeddingColumn' and exists (
            select from pg_class c join pg_namespace n on n.oid = c.relnamespace
            -- The row trigger of a partitioned table names the partition.
            where p.source in (c.oid, pg_partition_root(c.oid))
              and c.relname = message ->> 'table' and n.nspname = message ->> 'schema') end
$$;

-- The condition that the message of `q` is a job of that pipeline: by our own name for it, or by the names that
-- another's trigger gave.
create or replace function pgembedd._is_for(pipeline_id integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('(q.message ->> ''pipeline'' = %L or not q.message ? '
                  '''pipeline'' and pgembedd._pipeline_of(q.message) = %s)',
                  pipeline_id, pipeline_id)
$$;

create or replace function pgembedd._park(queue text, msg_id bigint) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format($q$
        update %s q set vt = 'infinity', headers = pgembedd._with_notes(q.headers,
            jsonb_build_object('deferrals', pgembedd._note(q.headers, 'deferrals') + 1))
        where q.msg_id = $1 $q$, _queue_table(queue)) using msg_id;
end $$;
