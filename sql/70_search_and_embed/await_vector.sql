-- The functions that the second connection of embed() calls.

create or replace function pgembedd_internal._post_embed_request(
    id uuid, model text, fingerprint text, kind text, content text, timeout interval
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    insert into embed_request (id, model, fingerprint, kind, content, expires_at)
    values (id, model, fingerprint, kind, content, clock_timestamp() + timeout);
    perform pg_notify('pgembedd_embed_requests', '');
end $$;

-- How many connections of the server's the sessions keep open between their requests, at most.
create or replace function pgembedd_internal._most_kept() returns integer
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 16 $$;

-- Waits up to `patience` for the vector, and deletes the request then; nulls when there is none yet. It polls until a
-- worker has taken the request, and where that one holds no lock for it. It polls more seldom the longer it takes:
-- polling adds a twentieth to the time at most, and fifty callers that wait for one worker leave it its processor.
-- `crowded`: more connections are open than are to be kept. Whether a worker is there is looked at while one works
-- already, and at the end.
create or replace function pgembedd_internal._await_vector(
    id uuid, patience interval, out embedding text, out refusal text, out crowded boolean
)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off  -- as in take_embed_requests()
as $$
declare
    ends_at timestamptz := clock_timestamp() + patience;
    first boolean := true;
    over boolean;
    asked_at timestamptz;
    taken boolean;
begin
    crowded := (select count(*) > _most_kept() from pg_stat_get_activity(null) a
                where a.usesysid = to_regrole(quote_ident(session_user)));
    loop
        over := clock_timestamp() >= ends_at;
        delete from embed_request q where q.id = $1 and num_nonnulls(q.embedding, q.refusal) > 0
        returning q.embedding::@extschema:vector@.vector, q.refusal into embedding, refusal;
        exit when found;
        select q.asked_at, q.taken_by is not null into asked_at, taken from embed_request q where q.id = $1;
        if first or over then
            -- A worker may have deleted it, as its time was over, before this caller saw that.
            refusal := case when asked_at is not null then _no_worker_for(id)
                            when not over then 'The request was lost: the server was restarted.' end;
            exit when over or refusal is not null;
        end if;
        first := taken and _await_release(id);  -- a worker may have ended, or declined it
        continue when first;
        -- pg_sleep() counts whole milliseconds, and takes two for 0.001.
        perform pg_sleep(least(greatest(extract(epoch from clock_timestamp() - asked_at) / 20, 0.0009), .02));
    end loop;
end $$;

-- Waits until the worker that holds the lock of a request has served it or has ended; false where it takes longer, or
-- none holds the lock. Any role could hold it: that costs a caller the longest sleep.
create or replace function pgembedd_internal._await_release(request uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '20ms'
as $$
declare
    lock bigint := uuid_hash_extended(request, 0);
begin
    if pg_try_advisory_xact_lock_shared(lock) then return false; end if;
    perform pg_advisory_xact_lock_shared(lock);
    return true;
exception when lock_not_available then return false;
end $$;

-- Why no worker will embed the text of a request, which is deleted then; null where one may. Another worker is told of
-- it where the one that took it is gone.
create or replace function pgembedd_internal._no_worker_for(request uuid) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off
as $$
declare
    present integer[] := _listeners();
    taken_by integer := (select q.taken_by from embed_request q where q.id = request);
begin
    if present is null then
        delete from embed_request q where q.id = request;
        return coalesce('No worker answers that could embed the text: ' || _silent_workers() || '.', case
            when taken_by is null then 'No worker is connected that could embed the text.'
            else 'The worker ended before it had embedded the text, and no other one is connected.' end);
    elsif not taken_by = any (present) then
        perform pg_notify('pgembedd_embed_requests', '');
    end if;
    return null;
end $$;

create or replace function pgembedd_internal._forget_embed_request(id uuid) returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ delete from embed_request q where q.id = $1 $$;
