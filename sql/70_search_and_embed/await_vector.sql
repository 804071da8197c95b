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

-- Waits up to `patience` for the vector, and deletes the request then; nulls when there is none yet. It polls more
-- seldom the longer it takes: polling adds a twentieth to the time at most, and fifty callers that wait for one worker
-- leave it its processor. `crowded`: more connections are open than are to be kept.
create or replace function pgembedd_internal._await_vector(
    id uuid, patience interval, out embedding text, out refusal text, out crowded boolean
)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off  -- as in take_embed_requests()
set extra_float_digits = 1  -- all digits, independent of the defaults of database and role
as $$
declare
    began timestamptz := clock_timestamp();
    hearers integer[];
    found_one record;
begin
    crowded := (select count(*) > _most_kept() from pg_stat_get_activity(null) a
                where a.usesysid = to_regrole(quote_ident(session_user)));
    loop
        select translate(q.embedding::text, '{}', '[]') as embedding, q.refusal, q.asked_at, q.taken_by
        into found_one from embed_request q where q.id = $1;
        embedding := found_one.embedding;
        refusal := case when found then found_one.refusal
                        -- A worker may have deleted it, as its time was over, before this caller saw that.
                        when clock_timestamp() < began + patience
                        then 'The request was lost: the server was restarted.' end;
        if num_nonnulls(embedding, refusal) > 0 then
            delete from embed_request q where q.id = $1;
            exit;
        elsif clock_timestamp() >= began + patience then
            hearers := _listeners();
            if hearers is null then
                refusal := case when _silent_workers() is not null then _no_listener() else
                    'The worker ended before it had embedded the text, and no other '
                    'one is connected: start one with `pgembedd run`.' end;
                delete from embed_request q where q.id = $1;
            elsif not found_one.taken_by = any (hearers) then
                perform pg_notify('pgembedd_embed_requests', '');  -- who had it is gone; let another have it
            end if;
            exit;
        end if;
        -- pg_sleep() counts whole milliseconds, and takes two for 0.001.
        perform pg_sleep(least(greatest(extract(epoch from clock_timestamp() - found_one.asked_at) / 20, 0.0009), .02));
    end loop;
end $$;

create or replace function pgembedd_internal._forget_embed_request(id uuid) returns void
language sql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ delete from embed_request q where q.id = $1 $$;
