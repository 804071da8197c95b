-- The functions with which a worker serves the requests of embed().

-- Takes up to `at_most` requests; also those of a worker that is gone, and none that this one has declined, nor of
-- callers that are gone: so no role has more of them in the line than sessions. Where none waits, expired requests are
-- deleted. `known`: a pipeline has that model. A worker that `keeps_session` holds a lock for each request until it has
-- served it, or takes others: on that the caller waits. It polls where another session has the lock, or none.
create or replace function pgembedd_internal.take_embed_requests(
    at_most integer, worker integer, keeps_session boolean)
returns table (id uuid, model text, fingerprint text, known boolean, kind text, content text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off  -- an old snapshot somewhere keeps what was deleted: look at none of it
as $$
#variable_conflict use_column
declare
    at_present timestamptz := clock_timestamp();
begin
    if keeps_session then perform pg_advisory_unlock_all(); end if;  -- of those that wait for their model
    return query
        with picked as materialized (
            select f.id from embed_request f
            where f.expires_at > at_present and f.embedding is null and f.refusal is null
              and (f.taken_by is null or not f.taken_by = any (_listeners()))
              and not worker = any (f.declined_by)
              and f.asked_by in (select a.pid from pg_stat_get_activity(null) a)
            order by f.asked_at limit at_most for update skip locked)
        update embed_request q set taken_by = worker from picked
        where q.id = picked.id
          and (not keeps_session or pg_try_advisory_lock(uuid_hash_extended(picked.id, 0)) is not null)
        returning q.id, q.model, q.fingerprint, exists (select from pipeline p where p.model = q.model),
                  q.kind, q.content;
    if not found then
        perform _forget_embed_requests(at_present - interval '10 s');
    end if;
end $$;
comment on function pgembedd_internal.take_embed_requests is
    'Texts that wait in pgembedd.embed() '
    'for their vectors; at most so many.';

-- Deletes the requests that expired after `since`. An index that is broken, as the crash of a server with failing disks
-- can leave one, is made again with the table: what waits there would not be answered, and its callers ask again.
create or replace function pgembedd_internal._forget_embed_requests(since timestamptz default '-infinity') returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off
set lock_timeout = '2s'
as $$
declare
    at_present timestamptz := clock_timestamp();
begin
    delete from embed_request q using (
        select f.id from embed_request f
        where f.expires_at >= since and f.expires_at < at_present for update skip locked) f
    where q.id = f.id;
exception when index_corrupted or data_corrupted then
    truncate embed_request;
end $$;

-- Stores each request's vector, or a sentence why there is none. Returns how many were still this worker's. Its locks
-- become locks of the transaction, so that the callers wake when that is committed.
create or replace function pgembedd_internal.finish_embed_requests(
    ids uuid[], embeddings @extschema:vector@.vector[], refusals text[], worker integer, keeps_session boolean
) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off
as $$
declare
    stored integer;
begin
    update embed_request q set embedding = a.embedding, refusal = a.refusal, content = null
    from unnest(ids, embeddings, refusals) as a(id, embedding, refusal)
    where q.id = a.id and q.taken_by = worker;
    get diagnostics stored = row_count;
    if keeps_session then
        perform pg_try_advisory_xact_lock(uuid_hash_extended(served.id, 0)) from unnest(ids) as served(id);
        perform pg_advisory_unlock_all();
    end if;
    return stored;
end $$;
comment on function pgembedd_internal.finish_embed_requests is
    'Give each request its vector, or a sentence why there is none.';

-- This worker cannot serve it, but another might: it has another model, or another precision. When all that are there
-- have declined, the caller is told the last one's reason.
create or replace function pgembedd_internal.decline_embed_request(id uuid, reason text, worker integer)
returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    declined integer[];
begin
    update embed_request q set taken_by = null, declined_by = q.declined_by || worker
    where q.id = decline_embed_request.id and q.taken_by = worker returning q.declined_by into declined;
    if _listeners() <@ declined then
        update embed_request q set refusal = reason, content = null where q.id = decline_embed_request.id;
    else
        perform pg_notify('pgembedd_embed_requests', '');
    end if;
end $$;
comment on function pgembedd_internal.decline_embed_request is
    'Leave a request to another worker; the '
    'reason is the caller''s error when all have declined.';

-- The numbers of the workers that serve embed() and answer; null where there are none. The view of other sessions is
-- one of the whole transaction, unless it is cleared.
create or replace function pgembedd_internal._listeners() returns integer[]
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select pg_stat_clear_snapshot();
    select array_agg(w.id) from workers() w where w.answers and 'embed' = any (w.tasks)
$$;
