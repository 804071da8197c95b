-- Refuses a request that cannot be fulfilled, before it is posted.
create or replace function pgembedd_internal._check_embed_request(
    request pgembedd_internal.embed_request, timeout interval
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if _blank(request.content) then
        raise exception using message = 'The text is blank, so it has no vector.',
            hint = 'Give pgembedd.embed() some words; NULL gives NULL.', errcode = 'invalid_parameter_value';
    elsif request.kind is null or request.kind not in ('query', 'document') then
        raise exception using
            message = format('The kind %s is not known.', coalesce(quote_literal(request.kind), 'NULL')),
            hint = 'It is ''query'' or ''document''.', errcode = 'invalid_parameter_value';
    elsif timeout is null or timeout <= '0' or timeout > '10 min' then
        raise exception using message = format('The timeout %s is not usable.', coalesce(timeout::text, 'NULL')),
            hint = 'It is more than 0 and at most 10 minutes.', errcode = 'invalid_parameter_value';
    elsif pg_is_in_recovery() then
        raise exception using message = 'pgembedd.embed() does not work on a standby, where no request can be posted.',
            hint = 'Call it on the primary; here pgembedd.search() takes the vector as embedding.',
            errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

-- Asks over the session's second connection and returns the vector as text. It stays open for the next request, unless
-- there was an error, or many sessions have one.
create or replace function pgembedd_internal._make_embed_request(
    request pgembedd_internal.embed_request, timeout interval
) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    deadline timestamptz := clock_timestamp() + timeout;
    way record := _way_to_ask();
    line text := coalesce(way.kept, 'pgembedd ' || gen_random_uuid());
    posted boolean := way.kept is not null;
    outcome record;
    failed record;
begin
    request.id := gen_random_uuid();
    begin
        if not _post_over_kept(way.dblink, way.kept, request, timeout) then
            posted := false;
            request.id := gen_random_uuid();  -- the other may have been posted nevertheless
            perform _disconnect(line);
            perform _connect(line);
            posted := true;
            perform _post(way.dblink, line, request, timeout);
        end if;
        outcome := _await(way.dblink, line, request.id, deadline);
        if way.kept is null or outcome.crowded then perform _disconnect(line); end if;
    exception when lock_not_available then
        perform _disconnect(line);
        select coalesce(_own_lock(), 'The requests of pgembedd.embed() are locked by another session.') as refusal,
            null as embedding into outcome;
    when query_canceled or others then
        perform _disconnect(line);
        if posted then
            perform _take_back(request.id);
        end if;
        raise;
    end;
    if outcome.embedding is null then
        failed := _why_no_vector(outcome.refusal, timeout);
        if failed.hint is null then
            raise exception '%', failed.message using errcode = 'insufficient_resources';
        end if;
        raise exception '%', failed.message using hint = failed.hint, errcode = 'insufficient_resources';
    end if;
    return outcome.embedding;
end $$;

-- The error of a caller who got no vector.
create or replace function pgembedd_internal._why_no_vector(
    refusal text, timeout interval, out message text, out hint text
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    present integer := cardinality(coalesce(_listeners(), '{}'));
begin
    message := coalesce(refusal, format('No vector came within %s, though %s connected.', timeout,
        case present when 1 then 'a worker is' else present || ' workers are' end));
    if refusal is null then
        hint := 'They are busy, still loading the model, or have not answered for some seconds: ask again, or start '
                'another worker. pgembedd.embed() takes a longer timeout.';
    elsif present = 0 then
        hint := 'Start one with `pgembedd run`, or `pgembedd serve` where it is only to serve embed().';
    end if;
end $$;

create or replace function pgembedd_internal._post(
    dblink text, line text, request pgembedd_internal.embed_request, timeout interval
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    execute format('select from %s.dblink($1, $2) as t(result text)', dblink)
    using line, _hidden(format('select pgembedd_internal._post_embed_request(%L, %L, %L, %L, %L, %L)',
        request.id, request.model, request.fingerprint, request.kind, request.content, timeout));
end $$;

-- False if the session has kept no connection, or the server has closed it meanwhile: both are errors of dblink, as a
-- lock on the table is.
create or replace function pgembedd_internal._post_over_kept(
    dblink text, kept text, request pgembedd_internal.embed_request, timeout interval
) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if kept is null then return false; end if;
    perform _post(dblink, kept, request, timeout);
    return true;
exception when lock_not_available then raise;
when others then
    return false;
end $$;

-- Waits for the vector of a request. Embedding and refusal are null after `deadline`.
create or replace function pgembedd_internal._await(
    dblink text, line text, id uuid, deadline timestamptz, out embedding text, out refusal text, out crowded boolean
)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    is_first boolean := true;
begin
    loop
        -- In short turns, so that a cancelled caller is not kept for long: before Postgres 17 dblink ignores signals.
        execute format('select t.* from %s.dblink($1, $2) as t(embedding text, refusal text, crowded boolean)',
            dblink) into embedding, refusal, crowded
        using line, _hidden(format('select * from pgembedd_internal._await_vector(%L, %L)', id,
            least(interval '200 ms', deadline - clock_timestamp())));
        exit when num_nonnulls(embedding, refusal) > 0;
        if is_first then refusal := _own_lock(); end if;
        exit when refusal is not null or clock_timestamp() >= deadline;
        is_first := false;
    end loop;
    if embedding is null then
        perform _run_over(line, format('select pgembedd_internal._forget_embed_request(%L)', id));
    end if;
end $$;

-- Why no vector will come to a caller whose own transaction locks what is read and written for it; null where it does
-- not. To be asked after a while, as a look at all locks takes longer than most requests.
create or replace function pgembedd_internal._own_lock() returns text
language sql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('No worker can embed the text, as this transaction holds %s on pgembedd_internal.%s: call '
                  'pgembedd.embed() before that, or in another transaction.', l.mode, c.relname)
    from pg_locks l join pg_class c on c.oid = l.relation
    where l.pid = pg_backend_pid() and l.granted
      and case when c.oid = 'embed_request'::regclass
               then l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
               else l.mode = 'AccessExclusiveLock' and c.oid in ('pipeline'::regclass, 'worker'::regclass) end
    limit 1
$$;

-- Takes the request back of a caller who does not wait for it any more, over another connection. Returns the error, or
-- null: a request that is left expires, and the next worker that looks throws it away.
create or replace function pgembedd_internal._take_back(id uuid) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    line text := 'pgembedd ' || gen_random_uuid();
    problem text;
begin
    begin
        perform _connect(line);
        perform _run_over(line, format('select pgembedd_internal._forget_embed_request(%L)', id));
    exception when query_canceled or others then
        problem := sqlerrm;
    end;
    perform _disconnect(line);
    return problem;
end $$;

-- The error with which embed() fails to connect, or to call what its role may call; null when there is none. For the
-- doctor.
create or replace function pgembedd_internal._embed_problem() returns text
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when not exists (select from loopback) or _dblink() is null then 'it is not set up'
                else _take_back(gen_random_uuid()) end
$$;
