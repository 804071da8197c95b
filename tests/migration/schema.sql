CREATE SCHEMA pgembedd;
CREATE SCHEMA pgembedd_code;
COMMENT ON SCHEMA pgembedd_code IS 'The generated code of pipelines. For nobody but pgembedd: grant nothing on it.';
CREATE TABLE pgembedd.pipeline (
    id integer NOT NULL,
    name text NOT NULL,
    source regclass NOT NULL,
    source_name text NOT NULL,
    key_columns text[] NOT NULL,
    content_columns text[],
    content_function text,
    watch_columns text[] NOT NULL,
    embedding_column text,
    embedding_table regclass,
    embedding_table_name text,
    chunk_tokens integer,
    chunk_overlap integer DEFAULT 0 NOT NULL,
    splitter text DEFAULT 'text'::text NOT NULL,
    formatting text,
    model text NOT NULL,
    fingerprint text,
    dimensions integer NOT NULL,
    vector_type text NOT NULL,
    distance text NOT NULL,
    on_update text NOT NULL,
    queue text NOT NULL,
    backfill_queue text NOT NULL,
    max_attempts integer NOT NULL,
    search_path text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    state_reason text,
    state_since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    m integer NOT NULL,
    ef_construction integer NOT NULL,
    index_name text,
    index_due_at timestamp with time zone,
    created_indexes text[] DEFAULT '{}'::text[] NOT NULL,
    enable_always boolean DEFAULT false NOT NULL,
    own_triggers boolean DEFAULT true NOT NULL,
    triggers boolean DEFAULT true NOT NULL,
    shape text,
    sweep_due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    shadow_of integer,
    shadow text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pipeline_check CHECK ((num_nonnulls(embedding_column, embedding_table) = 1)),
    CONSTRAINT pipeline_check1 CHECK ((num_nonnulls(shadow_of, shadow) = ANY (ARRAY[0, 2]))),
    CONSTRAINT pipeline_check2 CHECK ((num_nonnulls(content_columns, content_function) = 1)),
    CONSTRAINT pipeline_chunk_overlap_check CHECK ((chunk_overlap >= 0)),
    CONSTRAINT pipeline_chunk_tokens_check CHECK ((chunk_tokens > 0)),
    CONSTRAINT pipeline_dimensions_check CHECK (((dimensions >= 1) AND (dimensions <= 16000))),
    CONSTRAINT pipeline_distance_check CHECK ((distance = ANY (ARRAY['cosine'::text, 'l2'::text, 'ip'::text]))),
    CONSTRAINT pipeline_key_columns_check CHECK ((cardinality(key_columns) > 0)),
    CONSTRAINT pipeline_max_attempts_check CHECK (((max_attempts >= 1) AND (max_attempts <= 100))),
    CONSTRAINT pipeline_name_check CHECK ((name ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$'::text)),
    CONSTRAINT pipeline_on_update_check CHECK ((on_update = ANY (ARRAY['keep'::text, 'clear'::text]))),
    CONSTRAINT pipeline_shadow_check CHECK ((shadow = ANY (ARRAY['next'::text, 'previous'::text]))),
    CONSTRAINT pipeline_splitter_check CHECK ((splitter = ANY (ARRAY['text'::text, 'markdown'::text]))),
    CONSTRAINT pipeline_state_check CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'stopped'::text]))),
    CONSTRAINT pipeline_vector_type_check CHECK ((vector_type = ANY (ARRAY['halfvec'::text, 'vector'::text])))
);
COMMENT ON TABLE pgembedd.pipeline IS 'What is embedded from where to where. Written by create_pipeline() and its like, not by hand.';
COMMENT ON COLUMN pgembedd.pipeline.embedding_table IS 'Where the vectors go, one row a chunk; null when they go to embedding_column of the source.';
COMMENT ON COLUMN pgembedd.pipeline.fingerprint IS 'The model this pipeline is pinned to; set by the first worker that serves it.';
COMMENT ON COLUMN pgembedd.pipeline.search_path IS 'The creator''s search_path: the content function and the triggers of the source run under it.';
COMMENT ON COLUMN pgembedd.pipeline.index_due_at IS 'When the HNSW index is to be built at the latest; null when there is nothing to build.';
COMMENT ON COLUMN pgembedd.pipeline.own_triggers IS 'Whether the triggers of this pipeline are ours; false when another''s send its jobs.';
COMMENT ON COLUMN pgembedd.pipeline.triggers IS 'Whether changes are noted by triggers of ours; false when webhooks tell of them.';
COMMENT ON COLUMN pgembedd.pipeline.shape IS 'What the generated code was made for: names, owners, types of the key. Where the tables differ, it is made anew.';
COMMENT ON COLUMN pgembedd.pipeline.shadow_of IS 'The pipeline beside which this one stands while a model is changed: as its next one, or as its previous one.';
CREATE FUNCTION pgembedd._abandon_index(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    item regclass;
begin
    perform pg_cancel_backend(b) from _builders(made) b;
    if _index_state(made) = 'valid' then return; end if;
    -- The frame of a partitioned one takes the parts that are attached to it along.
    for item in
        select f.index from _tables(made) t, _fitting_indexes(made, t) f
        where f.name = _index_name(made, t) and not exists (select from pg_inherits h where h.inhrelid = f.index)
    loop
        continue when not _exists(item);  -- whoever built it has just cleared it away
        execute format('drop index %s', item);
    end loop;
end $$;
CREATE FUNCTION pgembedd._acknowledge(queue text, msg_ids bigint[], outcomes text[]) RETURNS interval
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    lag interval;
begin
    execute format($q$
        with done as (
            delete from %s q using unnest($1, $2) as o(msg_id, outcome)
            where q.msg_id = o.msg_id and o.outcome in ('written', 'unchanged', 'cleared', 'gone')
            returning q.enqueued_at, o.outcome)
        select avg(clock_timestamp() - d.enqueued_at) filter (where d.outcome <> 'gone') from done d
        $q$, _queue_table(queue)) into lag using msg_ids, outcomes;
    if outcomes && array['changed', 'rewritten', 'locked'] then
        -- A row that stays locked is looked at ever less often, up to once a minute.
        execute format($q$
            update %s q set
                vt = clock_timestamp() + case o.outcome when 'locked'
                    then pgembedd.backoff(pgembedd._note(q.headers, 'deferrals') + 1, '250 ms', '1 min')
                    -- Content that is never twice the same, because it holds the time or a random number.
                    when 'changed' then case when pgembedd._note(q.headers, 'changed') >= 3
                        then pgembedd.backoff(pgembedd._note(q.headers, 'changed') - 2, '250 ms', '1 min') else '0' end
                    else '0' end,
                headers = pgembedd._with_notes(q.headers, jsonb_build_object(
                    'deferrals', pgembedd._note(q.headers, 'deferrals') + 1, 'alone', 0, 'answered', q.read_ct,
                    'changed', case o.outcome when 'changed' then pgembedd._note(q.headers, 'changed') + 1 else 0 end,
                    'rewritten', case o.outcome when 'rewritten' then pgembedd._note(q.headers, 'rewritten') + 1 else 0 end))
            from unnest($1, $2) as o(msg_id, outcome)
            where q.msg_id = o.msg_id and o.outcome in ('changed', 'rewritten', 'locked')
            $q$, _queue_table(queue)) using msg_ids, outcomes;
    end if;
    return lag;
end $_$;
CREATE FUNCTION pgembedd._admit(queue text, msg_ids bigint[], read_cts integer[], messages jsonb[], notes jsonb[], enqueued timestamp with time zone[]) RETURNS TABLE(msg_id bigint, read_ct integer, id jsonb, pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer, suspect boolean, chunked boolean, chunk_tokens integer, chunk_overlap integer, splitter text, traceparent text, waited_s double precision, attempt integer)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    job record;
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
            from unnest(msg_ids, read_cts, messages, notes, enqueued) as r(msg_id, read_ct, message, headers, enqueued_at)) c
        left join pipeline p on p.id::text = c.named
        order by c.alone, c.msg_id  -- whoever was in company only goes before the one that kills
    loop
        if job.p_id is null then  -- a message of others may be the first of its kind
            select (g.host).*, g.refusal into guest from _guest(queue, job.message) g;
            refusal := guest.refusal;
            job.p_id := guest.id; job.name := guest.name; job.model := guest.model; job.fingerprint := guest.fingerprint;
            job.dimensions := guest.dimensions; job.state := guest.state; job.max_attempts := guest.max_attempts;
            job.splitter := guest.splitter; job.chunk_overlap := guest.chunk_overlap;
        end if;
        if job.p_id is null and refusal is null and job.deferrals < 100 then
            perform _release(queue, array[job.msg_id], array[job.read_ct], '2 s');
        elsif job.p_id is null then
            perform _bury(queue, job.msg_id, null, 'unknown_pipeline', coalesce(refusal,
                'It could not be registered for minutes, because others held what that takes.'), job.attempts);
        elsif job.state <> 'running' then
            perform _park(queue, job.msg_id);
        elsif job.alone > 0 and job.alone + job.attempts >= job.max_attempts then
            perform _bury(queue, job.msg_id, job.p_id, 'worker_died',
                'The worker died each time it worked on this job alone.', job.alone + job.attempts);
        else
            msg_id := job.msg_id; read_ct := job.read_ct; id := job.message -> 'id'; pipeline_id := job.p_id;
            pipeline := job.name; model := job.model; fingerprint := job.fingerprint;
            dimensions := job.dimensions; suspect := job.deaths >= 2;
            chunked := job.embedding_table is not null; chunk_tokens := job.chunk_tokens;
            chunk_overlap := job.chunk_overlap; splitter := job.splitter;
            attempt := job.attempts + 1;
            -- Whatever is there; who reads it judges it. Of a hundred jobs a claim: nobody looks at more.
            traceparent := case when traced < 100 then left(job.headers ->> 'traceparent', 55) end;
            traced := traced + (traceparent is not null)::integer;
            waited_s := case when traceparent is not null then extract(epoch from clock_timestamp() - job.enqueued_at) end;
            return next;
        end if;
    end loop;
end $$;
CREATE FUNCTION pgembedd._adopt_column(made pgembedd.pipeline, adopt boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if adopt or not _holds_vectors(made, made.source) then
        return;
    elsif adopt is null then
        perform _choose(format('%s.%I', made.source, made.embedding_column), made.model);
    end if;
    perform _empty_column(made);
end $$;
CREATE FUNCTION pgembedd._adopt_table(made pgembedd.pipeline, adopt boolean) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    named text[] := _table_name(made);
    relation regclass := to_regclass(format('%I.%I', named[1], named[2]));
    taken text := (select p.name from pipeline p where p.embedding_table = relation);
begin
    if relation is null then
        return null;
    elsif taken is not null then
        perform _refuse(format('%s is filled by the pipeline "%s" already.', relation, taken), 'Name another embedding_table.');
    elsif _layout_problem(made, relation) is not null then
        perform _refuse(format('%s is there already, and is no embedding table of %s: %s.', relation, made.source, _layout_problem(made, relation)),
            'Name another embedding_table: it is created.');
    elsif adopt is null and _holds_vectors(made, relation) then
        perform _choose(relation::text, made.model);
    elsif not adopt then
        execute format('truncate %s', relation);
    end if;
    return relation;
end $$;
CREATE FUNCTION pgembedd._agreement(a pgembedd.pipeline, b pgembedd.pipeline, keys jsonb[], k integer) RETURNS numeric
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select round(avg(_share(_near(a, s.key, k, true), _near(b, s.key, k, true))), 3) from unnest(keys) as s(key)
$$;
CREATE FUNCTION pgembedd._agrees(posted jsonb, message jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select posted -> 'id' is not distinct from message -> 'id' and not exists (
        select from unnest('{schema,table,contentFunction,embeddingColumn,pipeline}'::text[]) as f(name)
        where posted ->> f.name is not null and posted -> f.name is distinct from message -> f.name)
$$;
CREATE FUNCTION pgembedd._any_queued(queue text, msg_ids bigint[]) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    there boolean := false;
begin
    if cardinality(msg_ids) > 0 and to_regclass(_queue_table(queue)) is not null then
        execute format('select exists (select from %s q where q.msg_id = any ($1))', _queue_table(queue)) into there using msg_ids;
    end if;
    return there;
end $_$;
CREATE FUNCTION pgembedd._around(formatting text, alias text, after boolean) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    with pieces as (
        select p.*, (select min(c.nth) from _formatting_pieces(formatting) c where c.name = 'chunk') as chunk
        from _formatting_pieces(formatting) p)
    select coalesce('pg_catalog.concat(' || string_agg(
        case when p.name is null then quote_literal(p.literal) else format('%s.%I', alias, p.name) end, ', ' order by p.nth) || ')',
        '''''::pg_catalog.text')
    from pieces p where case when after then p.nth > p.chunk else p.nth < p.chunk end
$$;
CREATE FUNCTION pgembedd._ask(pipeline pgembedd.pipeline, statement text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    answer jsonb;
begin
    execute format('select a from %s($1) as a', _pipeline_function(pipeline.id, 'as_owner')) into answer using statement;
    return answer;
end $_$;
CREATE FUNCTION pgembedd._ask_once(made pgembedd.pipeline, statement text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    signature text := format('pgembedd_code.pipeline_0_once_%s()', pg_backend_pid());
    answer jsonb;
begin
    execute format('create function %s returns jsonb language plpgsql security definer set row_security = off as %L', signature,
        format('declare answer pg_catalog.jsonb; begin execute %L into answer; return answer; end', statement));
    perform _run_as_owner(made, signature);
    execute format('select %s', signature) into answer;
    execute format('drop function %s', signature);
    return answer;
end $$;
CREATE FUNCTION pgembedd._attach(pipeline pgembedd.pipeline) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    relation regclass;
    item record;
    attached integer := 0;
    prefix text := format('pgembedd_%s_', pipeline.id);
begin
    if not (pipeline.own_triggers and pipeline.triggers) then return 0; end if;
    for relation in
        select pipeline.source union
        select t.relid from pg_partition_tree(pipeline.source) t join pg_class c on c.oid = t.relid where c.relkind in ('r', 'p')
    loop
        continue when (
            select bool_and(exists (select from pg_trigger g where g.tgrelid = relation and g.tgname = prefix || t.verb))
            from _triggers(pipeline) t);
        for item in select t.verb, t.event from _triggers(pipeline) t loop
            if exists (select from pg_trigger g where g.tgrelid = relation and g.tgname = prefix || item.verb) then
                execute format('drop trigger %I on %s', prefix || item.verb, relation);
            end if;
            execute format('create trigger %I %s for each statement execute function %s()', prefix || item.verb,
                format(item.event, relation), _pipeline_function(pipeline.id, 'on_' || item.verb));
        end loop;
        attached := attached + 1;
    end loop;
    -- A row trigger on the root is Postgres's to clone to the partitions.
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null and not exists (
        select from pg_trigger where tgrelid = pipeline.source and tgname = prefix || 'clear')
    then
        execute format('create trigger %I before update on %s for each row when (%s operator(pg_catalog.*<>) %s)
                        execute function %s()',
            prefix || 'clear', pipeline.source, _record(pipeline.watch_columns, 'new'),
            _record(pipeline.watch_columns, 'old'), _pipeline_function(pipeline.id, 'clear'));
    end if;
    perform _attach_replica(pipeline);
    return attached;
end $$;
CREATE FUNCTION pgembedd._attach_index(frame regclass, part regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
begin
    execute format('alter index %s attach partition %s', frame, part);
end $$;
CREATE FUNCTION pgembedd._attach_replica(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    prefix text := format('pgembedd_%s_', pipeline.id);
    item record;
begin
    if not pipeline.enable_always then return; end if;
    if not exists (select from pg_trigger where tgrelid = pipeline.source and tgname = prefix || 'row') then
        execute format('create trigger %I after insert or update %s on %s for each row execute function %s()', prefix || 'row',
            case when pipeline.embedding_table is not null then 'or delete' else '' end, pipeline.source,
            _pipeline_function(pipeline.id, 'on_row'));
    end if;
    for item in
        select g.tgrelid::regclass as relation, g.tgname as name, w.mode
        from pg_trigger g
        join (values (prefix || 'row', 'R', 'replica'), (prefix || 'truncate', 'A', 'always'), (prefix || 'clear', 'A', 'always'))
            as w(name, enabled, mode) on w.name = g.tgname and w.enabled::"char" <> g.tgenabled
        where g.tgrelid in (select pipeline.source union select t.relid from pg_partition_tree(pipeline.source) t)
        order by g.tgrelid = pipeline.source desc
    loop
        execute format('alter table %s enable %s trigger %I', item.relation, item.mode, item.name);
    end loop;
end $$;
CREATE FUNCTION pgembedd._await_answer(id uuid, patience interval, OUT embedding text, OUT refusal text) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET extra_float_digits TO '1'
    AS $_$
declare
    began timestamptz := clock_timestamp();
    hearers integer[];
    found_one record;
begin
    loop
        select translate(q.embedding::text, '{}', '[]') as embedding, q.refusal, q.asked_at, q.taken_by
        into found_one from question q where q.id = $1;
        embedding := found_one.embedding;
        refusal := case when not found then 'The question was lost: the server was restarted, or its timeout was over.' else found_one.refusal end;
        if num_nonnulls(embedding, refusal) > 0 then
            delete from question q where q.id = $1;
            exit;
        elsif clock_timestamp() >= began + patience then
            hearers := _hearers();
            if hearers is null then
                refusal := 'The worker ended before it answered, and no other one is connected: start one with `pgembedd run`.';
                delete from question q where q.id = $1;
            elsif not found_one.taken_by = any (hearers) then
                perform pg_notify('pgembedd_questions', '');  -- who had it is gone; let another have it
            end if;
            exit;
        end if;
        perform pg_sleep(least(greatest(extract(epoch from clock_timestamp() - found_one.asked_at) / 20, 0.001), 0.02));
    end loop;
end $_$;
CREATE FUNCTION pgembedd._await_free(relation regclass, mode text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
begin
    execute format('lock table %s in %s mode', relation, mode);
    raise exception using errcode = 'PGE01';
exception when lock_not_available or deadlock_detected or sqlstate 'PGE01' then
    null;
end $$;
CREATE FUNCTION pgembedd._await_vectors(current pgembedd.pipeline, beside pgembedd.pipeline, patience interval DEFAULT '00:00:05'::interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    began_at timestamptz := clock_timestamp();
    behind bigint;
begin
    loop
        execute format($q$
            select count(*) from (
                select q.message -> 'id' from (select b.enqueued_at, b.message from %1$s b union all select b.enqueued_at, b.message from %2$s b) q
                where %3$s and q.enqueued_at <= $1
                except select q.message -> 'id' from %4$s q where %6$s
                except select q.message -> 'id' from %5$s q where %6$s) r$q$,
            _queue_table(beside.queue), _queue_table(beside.backfill_queue), _is_for(beside.id),
            _queue_table(current.queue), _queue_table(current.backfill_queue), _is_for(current.id))
        into behind using began_at;
        exit when behind = 0;
        if clock_timestamp() > began_at + patience then
            perform _refuse(format('%s rows of "%s" are up to date, but still queued for "%s".', behind, current.name, beside.name),
                format('Call pgembedd.wait_for(%L), and see that a worker runs. force => true shows their old vectors until then.', beside.name));
        end if;
        perform pg_sleep(0.1);
    end loop;
end $_$;
CREATE FUNCTION pgembedd._backfill(pipeline pgembedd.pipeline, force boolean, at_most bigint DEFAULT NULL::bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    keys text := format('%s(%L) with ordinality as k(id, n)', _pipeline_function(pipeline.id, 'as_owner'), format('select %s from %s s where %s',
        _key_json(pipeline.source, 's'), pipeline.source, case when force then 'true' else _waits(pipeline) end));
    queued bigint;
begin
    if force then
        execute _enqueue(pipeline, pipeline.backfill_queue, 'k.id', keys);
        get diagnostics queued = row_count;
        -- What is there stays, but no chunk is taken over for its text any more. Only now, with a hold on the source:
        -- who empties that waits there, and not for our rows here. What somebody writes at this moment is new anyway.
        if pipeline.embedding_table is not null then
            perform _distrust(pipeline);
        end if;
    else
        execute _enqueue(pipeline, pipeline.backfill_queue, 'w.id', format($q$(
            select k.id from %1$s
            where not exists (
                select from pgembedd.row_state r where r.pipeline_id = %2$s and r.state in ('blank', 'dead') and r.key = k.id)
              and not exists (
                select from (select q.message -> 'id' as id from %3$s q where %6$s
                             union all select q.message -> 'id' from %4$s q where %6$s) queued
                where queued.id = k.id)
            order by k.n limit %5$s) w$q$,
            keys, pipeline.id, _queue_table(pipeline.queue),
            _queue_table(pipeline.backfill_queue), coalesce(at_most::text, 'all'), _is_for(pipeline.id)));
        get diagnostics queued = row_count;
    end if;
    if queued > 0 then perform _wake(pipeline.backfill_queue); end if;
    return queued;
end $_$;
CREATE FUNCTION pgembedd._backfilled(made pgembedd.pipeline) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$
declare
    done boolean;
begin
    execute format('select not exists (select from %s q where %s)', _queue_table(made.backfill_queue), _is_for(made.id)) into done;
    return done and _ask(made, format('select pg_catalog.to_jsonb(exists (select from %s s where s.%I is not null))',
                                      _target(made), _vector_column(made)))::boolean;
end $$;
CREATE FUNCTION pgembedd._base_type(type oid) RETURNS oid
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    with recursive t(oid, base) as (
        select p.oid, p.typbasetype from pg_type p where p.oid = type
        union all select p.oid, p.typbasetype from t join pg_type p on p.oid = t.base)
    select t.oid from t where t.base = 0
$$;
CREATE FUNCTION pgembedd._beside(name text, suffix text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select _cut(name, 54) || '_' || suffix $$;
CREATE FUNCTION pgembedd._blank(content text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(content, '') !~ '[^\s\u0085\u00a0\u1680\u180e\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]'
$$;
CREATE FUNCTION pgembedd._brittle(source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select coalesce(bool_or(not starts_with(equals, 'operator(pg_catalog.') or compared <> ''), false) from _key_columns(source)
$$;
CREATE FUNCTION pgembedd._builders(made pgembedd.pipeline) RETURNS SETOF integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select b.pid from pg_stat_progress_create_index b where b.index_relid in (select i from _unfinished_indexes(made) i)
$$;
CREATE FUNCTION pgembedd._bury(queue text, msg_id bigint, pipeline_id integer, reason text, error text, attempts integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    job record;
begin
    execute format('delete from %s q where q.msg_id = $1 returning *', _queue_table(queue)) into job using msg_id;
    insert into dead_letter (pipeline_id, queue, key, message, reason, error, attempts, history, enqueued_at)
    values (pipeline_id, queue, job.message -> 'id', coalesce(job.message, 'null'), reason, error, attempts,
            coalesce(job.headers -> 'pgembedd' -> 'history', '[]'), job.enqueued_at)
    on conflict on constraint dead_letter_pipeline_id_key_key do update
    set queue = excluded.queue, message = excluded.message, reason = excluded.reason, error = excluded.error,
        attempts = excluded.attempts, history = excluded.history, enqueued_at = excluded.enqueued_at,
        died_at = excluded.died_at;
    if pipeline_id is not null and job.message ? 'id' then
        insert into row_state (pipeline_id, key, state) values (pipeline_id, job.message -> 'id', 'dead')
        on conflict on constraint row_state_pkey do update
        set state = 'dead', dropped_tokens = null, since = clock_timestamp();
    end if;
    perform _tell('dead_letter', pipeline_id, jsonb_build_object(
        'queue', queue, 'msg_id', msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts));
end $_$;
CREATE FUNCTION pgembedd._check_change(current pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    beside pgembedd.pipeline := _shadow(current);
begin
    if current.shadow_of is not null then
        perform _refuse(format('"%s" stands beside another pipeline itself.', current.name), 'Name that one.');
    elsif not current.own_triggers then
        perform _refuse(format('"%s" is a guest: the triggers that send its jobs fill one column only.', current.name),
            'Let a pipeline take its place: pgembedd import supabase, or pgembedd.create_pipeline() for that column.');
    elsif beside.id is not null then
        perform _refuse(format('"%s" has "%s" beside it already.', current.name, beside.name),
            format('Remove that first: select pgembedd.drop_pipeline(%L, drop_vectors => true).', beside.name));
    elsif _problem(current) is not null then
        perform _refuse(format('The model of "%s" cannot be changed: %s', current.name, _problem(current)));
    end if;
end $$;
CREATE FUNCTION pgembedd._check_columns(made pgembedd.pipeline, columns text[], option text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    missing text;
begin
    select string_agg(format('"%s"', c), ', ') into missing from unnest(columns) as c
    where c is null or not exists (
        select from pg_attribute a where a.attrelid = made.source and a.attname = c and a.attnum > 0 and not a.attisdropped);
    if missing is not null then
        perform _refuse(format('%s has no column %s, named in %s.', made.source, missing, option),
            format('It has: %s.', (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
                                   where a.attrelid = made.source and a.attnum > 0 and not a.attisdropped)));
    end if;
end $$;
CREATE FUNCTION pgembedd._check_consent(wanted pgembedd.pipeline, given text, function regprocedure) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    owner oid := (select relowner from pg_class where oid = wanted.source);
    author oid := (select proowner from pg_proc where oid = function);
begin
    if not exists (select from _triggers_of_others(wanted.source, given, wanted.embedding_column)) then
        perform _refuse(format('No trigger on %s has the arguments (%L, %L), so its owner did not ask for this.',
                wanted.source, given, wanted.embedding_column),
            'Make one that sends its jobs, or register the table with pgembedd.create_pipeline().');
    elsif function is null then
        perform _refuse(format('There is no function %s(%s), neither beside the table nor in public.', given, wanted.source),
            'Create it; it takes one row of the table and returns text.');
    elsif author <> owner and author <> (select nspowner from pg_namespace where nspname = 'pgembedd')
          and not (select rolsuper from pg_roles where oid = author) then
        perform _refuse(format('%s belongs to %s, but would run as %s, who owns the table.', function, author::regrole, owner::regrole),
            format('If its code may do that, run ALTER FUNCTION %s OWNER TO %s.', function, owner::regrole));
    end if;
end $$;
CREATE FUNCTION pgembedd._check_formatting(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    if made.formatting is not null then
        if (select count(*) from _formatting_pieces(made.formatting) p where p.name = 'chunk') <> 1 then
            perform _refuse(format('The formatting %s does not hold $chunk once.', quote_literal(made.formatting)),
                'It says what is put around each chunk: for example formatting => ''$title: $chunk''.');
        end if;
        perform _check_columns(made, _formatting_columns(made.formatting), 'formatting');
    end if;
end $_$;
CREATE FUNCTION pgembedd._check_guest_key(wanted pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if cardinality(wanted.key_columns) > 1 then
        perform _refuse(format('%s has a key of %s columns, but its trigger sends one value.', wanted.source, cardinality(wanted.key_columns)),
            'Register it with pgembedd.create_pipeline(), whose triggers send the whole key.');
    elsif wanted.key_columns <> '{id}' and exists (
        select from pg_attribute a where a.attrelid = wanted.source and a.attname = 'id' and not a.attisdropped) then
        perform _refuse(format('%s has a column id, but its primary key is "%s": which of them its trigger sends is not known.',
                wanted.source, wanted.key_columns[1]),
            'Register it with pgembedd.create_pipeline(), whose triggers send the primary key.');
    end if;
end $$;
CREATE FUNCTION pgembedd._check_history(since interval, bucket interval) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if bucket is null or not isfinite(bucket) or bucket < interval '1 s' or extract(year from bucket) > 0 or extract(month from bucket) > 0 then
        perform _refuse(format('bucket => %s cannot be counted in.', coalesce(quote_literal(bucket), 'NULL')),
            'Take a second or more, in seconds, minutes, hours or days.');
    elsif since is null or not isfinite(since) or since < bucket or extract(epoch from since) / extract(epoch from bucket) > 10000 then
        perform _refuse(format('since => %s makes no history in buckets of %s.', coalesce(quote_literal(since), 'NULL'), bucket),
            'It is as long as one bucket at least, and as 10,000 at most; samples are kept for a day.');
    end if;
end $$;
CREATE FUNCTION pgembedd._check_options(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if num_nonnulls(made.content_columns, made.content_function) <> 1 or made.content_columns = '{}' then
        perform _refuse('Say what is to be embedded: content_columns or content_function, one of the two.',
            'For example content_columns => array[''title'', ''content''].');
    elsif coalesce(made.vector_type, '') not in ('halfvec', 'vector') then
        perform _refuse(format('vector_type %s is not known.', coalesce(quote_literal(made.vector_type), 'NULL')), 'Take halfvec or vector.');
    elsif coalesce(made.distance, '') not in ('cosine', 'l2', 'ip') then
        perform _refuse(format('distance %s is not known.', coalesce(quote_literal(made.distance), 'NULL')), 'Take cosine, l2 or ip.');
    elsif coalesce(made.on_update, '') not in ('keep', 'clear') then
        perform _refuse(format('on_update %s is not known.', coalesce(quote_literal(made.on_update), 'NULL')),
            'keep leaves the old vector in place until the new one is there; clear empties it at once.');
    elsif not made.triggers and (made.on_update = 'clear' or made.enable_always) then
        perform _refuse(format('%s is done by triggers, and this pipeline is to have none.',
                case when made.enable_always then 'enable_always' else 'on_update => ''clear''' end),
            'Leave out triggers => false, or this option.');
    elsif made.dimensions is null or made.dimensions not between 1 and (case made.vector_type when 'halfvec' then 4000 else 2000 end) then
        perform _refuse(format('%s dimensions cannot be indexed as %s.', coalesce(made.dimensions::text, 'NULL'), made.vector_type),
            'HNSW takes up to 4000 for halfvec and 2000 for vector.');
    elsif made.max_attempts is null or made.max_attempts not between 1 and 100 then
        perform _refuse(format('max_attempts %s is out of range.', coalesce(made.max_attempts::text, 'NULL')), 'Take 1 to 100.');
    elsif coalesce(made.model, '') = '' then
        perform _refuse('The pipeline needs a model.', 'Leave it out for gte-small, or see `pgembedd model list`.');
    elsif made.queue = 'embedding_backfill' or made.queue like '%\_backfill' then
        perform _refuse(format('The queue %s would be another one''s backfill lane.', quote_literal(made.queue)), 'Take a name that does not end with _backfill.');
    elsif made.embedding_column = '' then
        perform _refuse('The pipeline needs an embedding_column.', 'It is created when missing.');
    elsif octet_length(made.embedding_column) > 63 then
        perform _refuse(format('The embedding_column "%s" is longer than a name can be.', made.embedding_column), 'Take at most 63 bytes.');
    elsif exists (select from pg_attribute a where a.attrelid = made.source and a.attname = made.embedding_column and a.attnum < 0) then
        perform _refuse(format('"%s" is a system column of every table.', made.embedding_column), 'Name another embedding_column.');
    elsif made.m is null or made.m not between 2 and 100
       or made.ef_construction is null or made.ef_construction not between greatest(4, 2 * made.m) and 1000 then
        perform _refuse(format('m = %s and ef_construction = %s do not make an HNSW index.',
                coalesce(made.m::text, 'NULL'), coalesce(made.ef_construction::text, 'NULL')),
            'm goes from 2 to 100, ef_construction from twice m to 1000.');
    elsif made.embedding_column = any (made.content_columns || made.watch_columns || made.key_columns) then
        perform _refuse(format('The column "%s" cannot be content or key and hold the vector, too.', made.embedding_column));
    end if;
end $$;
CREATE FUNCTION pgembedd._check_owner(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    source_owner regrole := (select relowner from pg_class where oid = made.source);
begin
    if not pg_has_role(current_user, source_owner, 'usage') then
        perform _refuse(format('%s belongs to %s, and %s may not act for that role.', made.source, source_owner, quote_ident(current_user)),
            format('Run this as %s or as a superuser, or GRANT %s TO %s.', source_owner, source_owner, quote_ident(current_user)));
    elsif _hidden_from_owner(made.source) is not null then
        perform _refuse(_hidden_from_owner(made.source));
    end if;
end $$;
CREATE UNLOGGED TABLE pgembedd.question (
    id uuid NOT NULL,
    model text NOT NULL,
    fingerprint text,
    kind text NOT NULL,
    content text,
    asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    taken_by integer,
    declined_by integer[] DEFAULT '{}'::integer[] NOT NULL,
    embedding real[],
    refusal text,
    CONSTRAINT question_kind_check CHECK ((kind = ANY (ARRAY['query'::text, 'document'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');
COMMENT ON TABLE pgembedd.question IS 'Texts that wait in embed() for their vectors, each until its caller has the answer.';
COMMENT ON COLUMN pgembedd.question.taken_by IS 'The process id of the session of the worker that answers it.';
CREATE FUNCTION pgembedd._check_question(question pgembedd.question, timeout interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if _blank(question.content) then
        perform _refuse('The text is blank, so it has no vector.', 'Give pgembedd.embed() some words; NULL gives NULL.');
    elsif octet_length(question.content) > 1000000 then
        perform _refuse(format('The text has %s bytes, and pgembedd.embed() takes 1,000,000.', octet_length(question.content)),
            'No model reads so much: give it the beginning, or store the text in a table with a pipeline.');
    elsif question.kind is null or question.kind not in ('query', 'document') then
        perform _refuse(format('The kind %s is not known.', coalesce(quote_literal(question.kind), 'NULL')), 'It is ''query'' or ''document''.');
    elsif timeout is null or timeout <= '0' or timeout > '10 min' then
        perform _refuse(format('The timeout %s is not usable.', coalesce(timeout::text, 'NULL')), 'It is more than 0 and at most 10 minutes.');
    elsif pg_is_in_recovery() then
        perform _refuse('pgembedd.embed() does not work on a standby, where no question can be posted.', 'Call it on the primary.');
    end if;
    if not exists (select from loopback) or _dblink() is null then
        perform _refuse('pgembedd.embed() is not set up in this database.', _embed_remedy());
    elsif _hearers() is null then
        raise exception 'No worker is connected that could embed the text.' using errcode = 'object_not_in_prerequisite_state',
            hint = 'Start one with `pgembedd run`, or `pgembedd serve` where only questions are to be answered.';
    end if;
end $$;
CREATE FUNCTION pgembedd._check_room(current pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    suffix text;
    taken record;
begin
    if length(current.name) > 54 then
        perform _refuse(format('The name "%s" is too long: with ".previous" behind it, which the old side is called after a switch, it '
            'would have more than 63 characters.', current.name),
            'Drop the pipeline, and create it again under a name of at most 54 characters with adopt => true; the vectors stay.');
    end if;
    foreach suffix in array array['next', 'previous'] loop
        if exists (select from pipeline p where p.name = current.name || '.' || suffix) then
            perform _refuse(format('There is a pipeline "%s.%s" already.', current.name, suffix),
                format('Remove it first: select pgembedd.drop_pipeline(%L).', current.name || '.' || suffix));
        end if;
        for taken in
            select format('%s has a column %I', current.source, a.attname) as what,
                   format('ALTER TABLE %s DROP COLUMN %I', current.source, a.attname) as remedy
            from pg_attribute a
            where a.attrelid = current.source and a.attname = _beside(current.embedding_column, suffix) and not a.attisdropped
            union all
            select format('There is a relation %s', c.oid::regclass),
                   format('DROP %s %s', case c.relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'i' then 'INDEX' else 'TABLE' end, c.oid::regclass)
            from pg_class e join pg_class c on c.relnamespace = e.relnamespace
            where e.oid = current.embedding_table
              and c.relname in (_beside(e.relname, suffix), _cut(_beside(e.relname, suffix), 58) || '_view')
            order by 2 desc
        loop
            perform _refuse(format('%s already, which is where vectors would go.', taken.what),
                format('Rename it, or drop it if nothing needs it: %s.', taken.remedy));
        end loop;
    end loop;
end $$;
CREATE FUNCTION pgembedd._check_source(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    kind "char" := (select relkind from pg_class where oid = made.source);
begin
    if made.name is null or made.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' then
        perform _refuse(format('The pipeline name %s is not usable.', coalesce(quote_literal(made.name), 'NULL')),
            'Take letters, digits, "_", "-" and ".", at most 63, not starting with "-" or ".".');
    elsif exists (select from pipeline p where p.name = made.name) then
        perform _refuse(format('There is a pipeline "%s" already.', made.name),
            format('Choose another name, or remove it with select pgembedd.drop_pipeline(%L).', made.name));
    elsif made.source is null then
        perform _refuse(format('There is no table %s.', coalesce(made.source_name, 'NULL')),
            'Name it with its schema, and quote it as in SQL where it needs quoting: ''my_schema."My Table"''.');
    elsif _space(made.source) in ('pgembedd', 'pgembedd_code', 'pgmq', 'pg_catalog', 'information_schema') then
        perform _refuse(format('%s is not a table of yours.', made.source), 'What pgembedd or Postgres itself writes to cannot be embedded.');
    elsif exists (select from pipeline p where p.embedding_table = made.source) then
        perform _refuse(format('%s is the embedding table of a pipeline.', made.source), 'Register the table that the texts are in.');
    elsif kind not in ('r', 'p') then
        perform _refuse(format('%s is %s, not a table.', made.source, case kind
            when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table'
            when 'i' then 'an index' when 'S' then 'a sequence' else 'no ordinary relation' end),
            'Register the table that the rows are written to.');
    elsif _inherits(made.source) then
        perform _refuse(format('%s takes part in table inheritance, or is one partition of a table.', made.source),
            'Register the partitioned table itself; tables with inheritance children are not supported.');
    elsif (select relpersistence from pg_class where oid = made.source) = 't' then
        perform _refuse(format('%s is a temporary table.', made.source), 'The worker could not see its rows; register a permanent table.');
    elsif exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
                  where i.indrelid = made.source and i.indisprimary and a.amname <> 'btree') then
        perform _refuse(format('%s has a primary key WITHOUT OVERLAPS.', made.source),
            'The queue names a row by a value that stays the same; a table with an ordinary primary key can be registered.');
    elsif not exists (select from _key_columns(made.source)) then
        perform _refuse(format('%s has no primary key.', made.source),
            'The queue names rows by their primary key: add one with ALTER TABLE ... ADD PRIMARY KEY.');
    end if;
end $_$;
CREATE FUNCTION pgembedd._check_swap(current pgembedd.pipeline, beside pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$
declare
    missing bigint;
    problem text := coalesce(_problem(beside), case when beside.state <> 'running' then beside.state_reason end);
begin
    if problem is not null then
        perform _refuse(format('"%s" is not fit to take over: %s', beside.name, problem));
    elsif _index_state(current) = 'valid' and _index_state(beside) <> 'valid' then
        perform _refuse(format('The index of "%s" is not there yet (%s).', beside.name, _index_state(beside)),
            format('Wait for it, or build it: pgembedd index %s. force => true does without.', beside.name));
    end if;
    missing := _ask(current, format('select pg_catalog.to_jsonb(pg_catalog.count(*)) from %s s where (%s) and not (%s)',
        current.source, _waits(beside), _waits(current)));
    if missing > 0 then
        perform _refuse(format('%s rows of "%s" have no vector in "%s" yet.', missing, current.name, beside.name),
            format('See pgembedd.status, and pgembedd.failures for rows that cannot be embedded; call pgembedd.wait_for(%L). '
                   'force => true does without them.', beside.name));
    end if;
end $$;
CREATE FUNCTION pgembedd._check_table_options(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    option text;
begin
    if made.embedding_table_name is null then
        option := case when made.chunk_tokens is not null then 'chunk_tokens' when made.chunk_overlap is not null then 'chunk_overlap'
                       when made.splitter <> 'text' then 'splitter' when made.formatting is not null then 'formatting' end;
        if option is not null then
            perform _refuse(format('%s needs an embedding_table: a column of the source holds one vector a row.', option),
                format('For example embedding_table => %L.', (select relname from pg_class where oid = made.source) || '_embeddings'));
        end if;
        return;
    elsif made.embedding_column is not null then
        perform _refuse('Say where the vectors are to go: embedding_column or embedding_table, one of the two.',
            'embedding_table holds one row a chunk, embedding_column one vector a row.');
    elsif _table_name(made) is null then
        perform _refuse(format('The embedding_table %s is no name of a table.', quote_literal(made.embedding_table_name)),
            'Quote it as in SQL where it needs quoting: ''my_schema."My Embeddings"''.');
    elsif coalesce(made.splitter, '') not in ('text', 'markdown') then
        perform _refuse(format('splitter %s is not known.', coalesce(quote_literal(made.splitter), 'NULL')), 'Take text or markdown.');
    elsif made.chunk_tokens not between 16 and 100000 then
        perform _refuse(format('chunk_tokens %s is out of range.', made.chunk_tokens),
            'Take 16 or more; without it, a chunk is as long as the model reads.');
    elsif made.chunk_overlap < 0 or made.chunk_overlap > 0 and made.chunk_tokens is null then
        perform _refuse(format('chunk_overlap %s does not go without chunk_tokens.', made.chunk_overlap),
            'Say how long a chunk is, too: for example chunk_tokens => 256, chunk_overlap => 32.');
    elsif made.chunk_overlap * 2 > made.chunk_tokens then
        perform _refuse(format('Chunks of %s tokens cannot overlap by %s.', made.chunk_tokens, made.chunk_overlap),
            'chunk_overlap is at most half of chunk_tokens.');
    end if;
    select k into option from unnest(made.key_columns) as k where k = any (_chunk_columns());
    if option is not null then
        perform _refuse(format('The key column "%s" of %s is called like a column of the embedding table.', option, made.source),
            'Rename it, or take an embedding_column.');
    end if;
    perform _check_formatting(made);
end $$;
CREATE FUNCTION pgembedd._check_verify(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if _problem(made) is not null then
        perform _refuse(format('The pipeline "%s" cannot be verified: %s', made.name, _problem(made)));
    end if;
    perform _check_owner(made);
end $$;
CREATE FUNCTION pgembedd._check_webhook(change jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    missing text;
begin
    if jsonb_typeof(change) is distinct from 'object' then
        perform _refuse('The webhook is not an object.', 'It has type, schema, table, record and old_record.');
    elsif jsonb_typeof(change -> 'schema') is distinct from 'string' or jsonb_typeof(change -> 'table') is distinct from 'string' then
        perform _refuse('The webhook does not name its table.', 'It has schema and table, both strings.');
    elsif coalesce(change ->> 'type', '') not in ('INSERT', 'UPDATE', 'DELETE') then
        perform _refuse('The type of the webhook is none of INSERT, UPDATE and DELETE.');
    end if;
    select string_agg(format('"%s"', r.name), ', ') into missing
    from (values ('record', 'DELETE'), ('old_record', 'INSERT')) as r(name, without)
    where r.without <> change ->> 'type' and jsonb_typeof(change -> r.name) is distinct from 'object';
    if missing is not null then
        perform _refuse(format('A webhook of type %s has %s, an object.', change ->> 'type', missing));
    end if;
end $$;
CREATE FUNCTION pgembedd._check_when(index_when text, index_within interval) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if index_when not in ('auto', 'now', 'later') then
        perform _refuse(format('index_when %s is not known.', quote_literal(index_when)),
            'now makes the index at once, later after the backfill, auto decides by the size of the table.');
    elsif index_within is null or index_within < interval '0' then
        perform _refuse(format('index_within %s is no time to build an index in.', coalesce(quote_literal(index_within), 'NULL')),
            'It is how long the backfill may put the index off; one day unless given.');
    end if;
end $$;
CREATE FUNCTION pgembedd._choose(what text, model text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _refuse(format('%s holds vectors already.', what),
        format('Say adopt => true to keep them and embed what is missing, if they are of the model %s; or adopt => false '
               'to have every row embedded anew.', model));
end $$;
CREATE FUNCTION pgembedd._chunk_columns() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array['chunk_no', 'chunk', 'start_offset', 'end_offset', 'embedding', 'content_hash', 'model', 'tokens',
                 'tokens_kept', 'embedded_at']
$$;
CREATE FUNCTION pgembedd._chunk_key_problem(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select format('%1$s.%2$I is %3$s now, and %4$s.%2$I still %5$s. Run ALTER TABLE %4$s ALTER COLUMN %2$I TYPE %3$s (the view is made '
                  'again: drop it first), then call pgembedd.resume(%6$L).', pipeline.source, k.name,
                  format_type(s.atttypid, s.atttypmod), pipeline.embedding_table, format_type(e.atttypid, e.atttypmod), pipeline.name)
    from _key_columns(pipeline.source) k
    join pg_attribute s on s.attrelid = pipeline.source and s.attname = k.name
    join pg_attribute e on e.attrelid = pipeline.embedding_table and e.attname = k.name
    where (s.atttypid, s.atttypmod) is distinct from (e.atttypid, e.atttypmod)
    order by k.nth limit 1
$_$;
CREATE FUNCTION pgembedd._claim_for_push(places integer, lease_s integer) RETURNS SETOF jsonb
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    lane record;
    left_over integer := places;
    ids bigint[];
    wanted integer;
begin
    for lane in
        select r.round, case r.round when 2 then l.backfill_queue else l.queue end as queue
        from lanes() l cross join generate_series(1, 3) as r(round)
        where to_regclass(_queue_table(case r.round when 2 then l.backfill_queue else l.queue end)) is not null
        order by r.round, random()
    loop
        wanted := left_over - case lane.round when 1 then places / 4 else 0 end;
        continue when wanted <= 0;
        ids := array(select c.msg_id from claim(lane.queue, wanted, lease_s) c);
        return query execute format($q$
            update %1$s q set headers = pgembedd._with_notes(q.headers, jsonb_build_object(
                'sent', q.read_ct, 'deferrals', pgembedd._note(q.headers, 'deferrals') + 1))
            where q.msg_id = any ($1)
            returning q.message || jsonb_build_object('jobId', q.msg_id, 'queue', %2$L, 'readCt', q.read_ct)
            $q$, _queue_table(lane.queue), lane.queue) using ids;
        left_over := left_over - cardinality(ids);
    end loop;
end $_$;
CREATE FUNCTION pgembedd._claimed_for(message jsonb) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select p.id from pipeline p
    where p.id = _pipeline_of(message)
      and (p.own_triggers or message ? 'pipeline' or message ->> 'contentFunction' is null
           or p.content_function like '%.' || replace(replace(replace(
                quote_ident(regexp_replace(message ->> 'contentFunction', '^.*\.', '')), '\', '\\'), '_', '\_'), '%', '\%'))
$$;
CREATE FUNCTION pgembedd._connect(line text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    through pgembedd.loopback := (select l from loopback l);
    problem text;
begin
    execute format('select %s.dblink_connect($1, $2)', _dblink()) using line, _conninfo(through);
exception when others then
    get stacked diagnostics problem = pg_exception_detail;
    raise exception 'pgembedd.embed() cannot connect to its own database as %: %', through.username,
        coalesce(nullif(regexp_replace(btrim(problem), '\s*\n.*', ''), ''), sqlerrm) using errcode = sqlstate,
        hint = 'pgembedd.embed_through() says where and as whom it connects; `pgembedd doctor` tries it.';
end $_$;
CREATE TABLE pgembedd.loopback (
    only_row boolean DEFAULT true NOT NULL,
    host text,
    port integer,
    username text NOT NULL,
    password text,
    options text,
    secret uuid DEFAULT gen_random_uuid() NOT NULL,
    CONSTRAINT loopback_only_row_check CHECK (only_row)
);
COMMENT ON TABLE pgembedd.loopback IS 'One row: where and as whom embed() connects to its own database. Written by embed_through().';
CREATE FUNCTION pgembedd._conninfo(through pgembedd.loopback) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select string_agg(format('%s=''%s''', o.name, replace(replace(o.value, '\', '\\'), '''', '\''')), ' ') || ' ' || coalesce(through.options, '')
    from (values
        ('dbname', current_database()::text),
        ('host', coalesce(through.host, _own_host())),
        ('port', coalesce(through.port::text, current_setting('port'))),
        ('user', through.username),
        ('password', through.password),
        ('application_name', 'pgembedd ask'),
        ('connect_timeout', '5'),
        ('gssencmode', 'disable'),
        -- Encrypting what does not leave the machine would be most of what a connection costs.
        ('sslmode', case when through.host is null then 'allow' else 'prefer' end),
        -- Nobody else's defaults: every look must see what was committed before it.
        ('options', '-c default_transaction_isolation=read\ committed -c default_transaction_read_only=off -c statement_timeout=0 '
            -- However a line was left open (its caller cancelled twice, say), it does not stay.
            '-c idle_session_timeout=10s')
    ) as o(name, value) where o.value is not null
$$;
CREATE FUNCTION pgembedd._content(pipeline pgembedd.pipeline, alias text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when pipeline.content_function is not null
                -- s.* and not s, which would be the column of that name where there is one
                then format('%s(%s.*)::pg_catalog.text', pipeline.content_function, alias)
                else format('pg_catalog.concat_ws(E''\n\n'', %s)',
                            (select string_agg(format('%s.%I', alias, c), ', ')
                             from unnest(pipeline.content_columns) as c)) end
$$;
CREATE FUNCTION pgembedd._content_function(function regprocedure, given text, source text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if function is null then
        perform _refuse(format('There is no function %s(%s).', given, source),
            'content_function takes one row of the source and returns text.');
    elsif not exists (select from pg_proc f where f.oid = function and f.prokind = 'f' and not f.proretset) then
        perform _refuse(format('%s(%s) is no function that returns one value.', given, source),
            'content_function takes one row of the source and returns text.');
    end if;
    return (select format('%I.%I', n.nspname, f.proname)
            from pg_proc f join pg_namespace n on n.oid = f.pronamespace where f.oid = function);
end $$;
CREATE FUNCTION pgembedd._copy_rights(source regclass, from_column text, to_column text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    item record;
begin
    for item in
        select case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee, x.privilege_type as allowed,
               x.is_grantable, t.attname = from_column as wanted
        from pg_attribute t, aclexplode(t.attacl) x
        where t.attrelid = source and t.attname in (from_column, to_column) and not t.attisdropped
        order by wanted, x.is_grantable  -- what is there goes first
    loop
        execute format(case when item.wanted then 'grant %s (%I) on %s to %s' else 'revoke %s (%I) on %s from %s cascade' end
            || case when item.wanted and item.is_grantable then ' with grant option' else '' end,
            item.allowed, to_column, source, item.grantee);
    end loop;
end $$;
CREATE FUNCTION pgembedd._coverage(pipeline pgembedd.pipeline, waiting bigint) RETURNS numeric
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '100ms'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $$
declare
    percent double precision;
    blanks boolean := exists (select from row_state r where r.pipeline_id = pipeline.id and r.state = 'blank');
    answer jsonb;
    seen bigint;
    lacking bigint;
    total double precision;
begin
    -- Many pages rather than many rows: what is done and what is not tends to lie together.
    percent := _percent(pipeline.source, (select least(1000, greatest(300, 30000 / coalesce(max(l.density), 30)))::integer
                                          from _leaves(pipeline.source) l));
    answer := _ask(pipeline, format('select pg_catalog.jsonb_build_array(pg_catalog.count(*), %s filter (where %s)) from %s s %s',
        case when blanks then format('pg_catalog.jsonb_agg(%s)', _key_json(pipeline.source, 's')) else 'pg_catalog.count(*)' end,
        _waits(pipeline), pipeline.source, _sample(percent)));
    seen := answer -> 0;
    lacking := case when blanks then (
            select count(*) from jsonb_array_elements(nullif(answer -> 1, 'null')) as k(key) where not exists (
                select from row_state r where r.pipeline_id = pipeline.id and r.state = 'blank' and r.key = k.key))
        else (answer -> 1)::bigint end;
    total := _rows(pipeline.source, seen, percent);
    if total = 0 then return (waiting = 0)::integer; end if;
    -- Rows without a vector are mostly those that are queued or dead, so they are not added up.
    return greatest(0, floor(10000 * (1 - greatest(waiting, total * lacking / greatest(seen, 1)) / total)) / 10000);
exception when others then
    return null;
end $$;
CREATE FUNCTION pgembedd._create_pipeline(made pgembedd.pipeline, backfill boolean, index_when text, index_within interval, adopt boolean DEFAULT NULL::boolean) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    queued bigint;
begin
    perform _dismiss_guest(made.source, made.embedding_column);
    perform _check_source(made);
    made.source_name := made.source::text;
    made.key_columns := array(select k.name from _key_columns(made.source) k);
    perform _check_options(made);
    perform _check_columns(made, made.content_columns, 'content_columns');
    perform _check_columns(made, made.watch_columns, 'watch_columns');
    made.watch_columns := _written_columns(made.source,
        coalesce(made.watch_columns,
                 case when made.content_function is null then made.content_columns || _formatting_columns(made.formatting) end,
                 _watchable_columns(made.source)));
    perform _check_table_options(made);
    made.backfill_queue := case made.queue when 'embedding_jobs' then 'embedding_backfill' else made.queue || '_backfill' end;
    perform _ensure_queue(made.queue), _ensure_queue(made.backfill_queue);
    perform _check_owner(made);
    if made.embedding_table_name is null then
        perform _ensure_column(made), _adopt_column(made, adopt);
    else
        made.embedding_table := coalesce(_adopt_table(made, adopt), _ensure_table(made));
        made.embedding_table_name := made.embedding_table::text;
    end if;
    if index_when is not null then
        perform _check_when(index_when, index_within);
        made := _ensure_indexes(made, index_when, index_within);
    end if;
    insert into pipeline (
        name, source, source_name, key_columns, content_columns, content_function, watch_columns, embedding_column,
        embedding_table, embedding_table_name, chunk_tokens, chunk_overlap, splitter, formatting,
        model, dimensions, vector_type, distance, on_update, queue, backfill_queue, max_attempts, search_path,
        m, ef_construction, index_name, index_due_at, created_indexes, enable_always, own_triggers, triggers)
    values (
        made.name, made.source, made.source_name, made.key_columns, made.content_columns, made.content_function,
        made.watch_columns, made.embedding_column, made.embedding_table, made.embedding_table_name, made.chunk_tokens,
        coalesce(made.chunk_overlap, 0), made.splitter, made.formatting, made.model, made.dimensions, made.vector_type, made.distance,
        made.on_update, made.queue, made.backfill_queue, made.max_attempts, made.search_path,
        made.m, made.ef_construction, made.index_name, made.index_due_at, coalesce(made.created_indexes, '{}'),
        made.enable_always, coalesce(made.own_triggers, true), coalesce(made.triggers, true))
    returning * into made;
    perform _regenerate(made);
    perform _propose_chunks(made);
    queued := case when not backfill then 0
                   when adopt and made.embedding_table is not null then _look_at_all(made)
                   else _backfill(made, false) end;
    perform _tell_created(made, queued);
    return queued;
end $$;
CREATE FUNCTION pgembedd._cut(name text, bytes integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select left(name, (select max(n) from generate_series(0, bytes) n where octet_length(left(name, n)) <= bytes)) $$;
CREATE FUNCTION pgembedd._dblink() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'dblink'
$$;
CREATE FUNCTION pgembedd._deal(queue text, qty integer, lease_s integer) RETURNS TABLE(msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET enable_sort TO 'off'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $_$
declare
    at timestamptz := clock_timestamp();  -- a value, because no index is searched for clock_timestamp()
    places integer := qty;
    dealt integer;
    parties text[];
begin
    while places > 0 loop
        parties := _waiting_parties(queue, at);
        exit when parties is null;
        return query execute _take(queue, format($q$
            select d.msg_id from unnest($2) with ordinality as party(name, nth)
            cross join lateral (
                select q.msg_id from %2$s q
                -- Of equal party; but an equality would let the planner take pgmq's index by vt alone.
                where (%1$s, q.vt) >= (party.name, '-infinity') and (%1$s, q.vt) <= (party.name, $4)
                order by %1$s, q.vt
                limit $3 / cardinality($2) + (party.nth <= $3 %% cardinality($2))::integer
                for update skip locked) d
            $q$, _party(), _queue_table(queue))) using make_interval(secs => lease_s), parties, places, at;
        get diagnostics dealt = row_count;
        exit when dealt = 0;  -- others hold what there is
        places := places - dealt;
    end loop;
end $_$;
CREATE FUNCTION pgembedd._dealt(queue text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select i.indisvalid
       -- Postgres itself leaves an index alone that does not hold what an older snapshot may see.
       and (not i.indcheckxmin or age(i.xmin) > age(pg_snapshot_xmin(pg_current_snapshot())::xid))
    from pg_index i
    where i.indexrelid = to_regclass(format('pgmq.%I', _sharing_index_name(queue)))
      and i.indrelid = to_regclass(_queue_table(queue))
$$;
CREATE FUNCTION pgembedd._deep(threshold integer) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    queue text;
    depth bigint;
begin
    for queue in select l.queue from lanes() l union select l.backfill_queue from lanes() l loop
        continue when to_regclass(_queue_table(queue)) is null;
        execute format('select count(*) from (select from %s limit %s) q', _queue_table(queue), threshold) into depth;
        if depth >= threshold then return true; end if;
    end loop;
    return false;
end $$;
CREATE FUNCTION pgembedd._disconnect(line text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    open text[];
begin
    loop
        begin
            execute format('select %s.dblink_get_connections()', _dblink()) into open;
            if line = any (open) then
                execute format('select %s.dblink_disconnect($1)', _dblink()) using line;
            end if;
            return;
        exception when query_canceled then null;
        end;
    end loop;
end $_$;
CREATE FUNCTION pgembedd._dismiss_guest(source regclass, embedding_column text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    guest pgembedd.pipeline;
    item text;
begin
    select p.* into guest from pipeline p
    where p.source = _dismiss_guest.source and p.embedding_column = _dismiss_guest.embedding_column and not p.own_triggers;
    if guest.id is null then return; end if;
    foreach item in array array[guest.queue, guest.backfill_queue] loop
        perform _unpark(item, guest.id);
        if to_regclass(_queue_table(item)) is not null then
            execute format('update %s q set message = q.message - ''pipeline'' where q.message ->> ''pipeline'' = %L',
                _queue_table(item), guest.id);
        end if;
    end loop;
    for item in
        select f.oid::regprocedure::text from pg_proc f
        where f.pronamespace = 'pgembedd_code'::regnamespace and f.proname like format('pipeline\_%s\_%%', guest.id)
    loop
        execute format('drop function %s', item);
    end loop;
    delete from pipeline p where p.id = guest.id;
    perform _tell('dropped', guest.id, name => guest.name);
end $$;
CREATE FUNCTION pgembedd._distrust(pipeline pgembedd.pipeline, ids jsonb[] DEFAULT NULL::jsonb[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    perform _ask(pipeline, format($q$
        with held as materialized (
            select c.ctid as place from %1$s c where c.content_hash operator(pg_catalog.<>) '' and %2$s for update of c skip locked),
        u as (update %1$s e set content_hash = '' from held h where e.ctid operator(pg_catalog.=) h.place returning 1)
        select pg_catalog.to_jsonb(pg_catalog.count(*)) from u $q$, pipeline.embedding_table,
        case when ids is null then 'true' else format('exists (select from pg_catalog.unnest(%L::pg_catalog.jsonb[]) as i(id) cross join lateral %s where %s)',
            ids, _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'c', 'k')) end));
end $_$;
CREATE FUNCTION pgembedd._drop_unfinished(pipeline_id integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
declare
    one pgembedd.pipeline;
    item record;
    dropped integer := 0;
begin
    select p.* into one from pipeline p where p.id = pipeline_id;
    for item in
        select u as index, i.indrelid::regclass as relation
        from _unfinished_indexes(one) u join pg_index i on i.indexrelid = u
    loop
        execute format('lock table only %s in share update exclusive mode nowait', item.relation);
        if exists (select from pg_index i where i.indexrelid = item.index and not i.indisvalid) then
            execute format('drop index %s', item.index);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;
CREATE FUNCTION pgembedd._embed_problem() RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    line text := 'pgembedd ' || gen_random_uuid();
begin
    if not exists (select from loopback) or _dblink() is null then
        return 'it is not set up';
    end if;
    perform _connect(line);
    begin
        -- What it is there for: it may call the functions.
        execute format('select * from %s.dblink($1, $2) as t(forgotten text)', _dblink())
        using line, format('select pgembedd._forget_question(%L)', gen_random_uuid());
    exception when others then
        perform _disconnect(line);
        return sqlerrm;
    end;
    perform _disconnect(line);
    return null;
exception when others then
    return sqlerrm;
end $_$;
CREATE FUNCTION pgembedd._embed_remedy() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when _dblink() is null
        then 'It needs the extension dblink, which comes with Postgres: as an administrator, create extension dblink; then, as the owner of pgembedd, select pgembedd.embed_through();'
        else 'As the owner of pgembedd: select pgembedd.embed_through();' end
$$;
CREATE FUNCTION pgembedd._empty_column(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    perform _ask_once(made, format(
        'with u as (update %1$s set %2$I = null where %2$I is not null returning 1) select pg_catalog.to_jsonb(pg_catalog.count(*)) from u',
        made.source, made.embedding_column));
end $_$;
CREATE FUNCTION pgembedd._enqueue(pipeline pgembedd.pipeline, queue text, key text, rows text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    -- jsonb_set into a constant is the cheapest way to make 100,000 messages that differ in one value. The trace context
    -- is asked for once a statement, as a subquery of nothing; a backfill is nobody's trace.
    select format($q$insert into %s (vt, message%s) select clock_timestamp(), pg_catalog.jsonb_set(%L::jsonb, '{id}', %s)%s from %s$q$,
        _queue_table(queue),
        case when queue <> pipeline.backfill_queue then ', headers' else '' end,
        jsonb_strip_nulls(jsonb_build_object(
            'id', 0, 'pipeline', pipeline.id, 'schema', n.nspname, 'table', c.relname,
            'contentFunction', pipeline.content_function, 'embeddingColumn', pipeline.embedding_column)),
        key,
        case when queue <> pipeline.backfill_queue then ', ' || _trace_headers() else '' end,
        rows)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = pipeline.source
$_$;
CREATE FUNCTION pgembedd._ensure_column(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    wanted text := format('%s(%s)', _vector_type(made.vector_type), made.dimensions);
    actual text;
    taken text := (select p.name from pipeline p where p.source = made.source and p.embedding_column = made.embedding_column);
    generated "char";
begin
    if taken is not null then
        perform _refuse(format('%s.%s is filled by the pipeline "%s" already.', made.source, quote_ident(made.embedding_column), taken),
            'Two pipelines cannot share a column: name another embedding_column.');
    end if;
    select format_type(a.atttypid, a.atttypmod), a.attgenerated into actual, generated from pg_attribute a
    where a.attrelid = made.source and a.attname = made.embedding_column and a.attnum > 0 and not a.attisdropped;
    if actual is null then
        execute format('alter table %s add column %I %s', made.source, made.embedding_column, wanted);
    elsif actual <> wanted then
        perform _refuse(format('%s.%s is %s, but this pipeline writes %s.', made.source, quote_ident(made.embedding_column),
            replace(actual, 'character varying', 'varchar'), wanted),
            'Name another embedding_column (it is created when missing), or give the vector_type and dimensions that the column has.');
    elsif generated <> '' then
        perform _refuse(format('%s.%s is a generated column; nobody can write to it.', made.source, quote_ident(made.embedding_column)),
            'Name another embedding_column.');
    end if;
end $$;
CREATE FUNCTION pgembedd._ensure_indexes(made pgembedd.pipeline, index_when text, index_within interval) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    target regclass := _target(made);
    missing text;
    planned text := _free_name(target, _index_base(target, _vector_column(made)) || '_hnsw');
begin
    made.created_indexes := '{}';
    if made.embedding_table is null then
        missing := _free_name(target, _index_base(target, made.embedding_column) || '_missing');
        made.created_indexes := array[format('%I.%I', _space(target), missing)];
    end if;
    if not exists (select from _fitting_indexes(made, target) f where f.valid) then
        made.index_name := planned;
        made.created_indexes := format('%I.%I', _space(target), planned) || made.created_indexes;
        if index_when = 'later'
           or index_when = 'auto' and _has_rows(made, _many_rows()) and _has_builder(made.source)
        then
            made.index_due_at := clock_timestamp() + index_within;
            perform _index_frame(made);
        else
            execute format('create index %I on %s %s', planned, target, _hnsw(made));
        end if;
    end if;
    if missing is not null then
        execute format('create index %I on %s (%s) where %I is null', missing, target,
            (select string_agg(quote_ident(k), ', ') from unnest(made.key_columns) as k), made.embedding_column);
    end if;
    return made;
end $$;
CREATE FUNCTION pgembedd._ensure_queue(queue text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    missing text;
begin
    if to_regclass(_queue_table(queue)) is null then
        begin
            perform pgmq.create(queue);
        exception when insufficient_privilege then
            -- Before 1.6, pgmq makes each queue part of the extension, which only the extension's owner may do.
            raise exception 'the role % may not create the queue "%" (%)', quote_ident(current_user), queue, sqlerrm
                using errcode = 'insufficient_privilege', hint = format(
                    'Have an administrator run: select pgmq.create(%L); grant select, insert, update, delete on pgmq.q_%s to %I;',
                    queue, queue, current_user);
        end;
        update installation set created_queues = created_queues || queue where not queue = any (created_queues);
    end if;
    select string_agg(c.name, ', ') into missing
    from unnest(array['msg_id', 'read_ct', 'enqueued_at', 'vt', 'message', 'headers']) as c(name)
    where not exists (
        select from pg_attribute a
        where a.attrelid = to_regclass(_queue_table(queue)) and a.attname = c.name and not a.attisdropped);
    if missing is not null then
        raise exception 'the pgmq queue "%" has no column %', queue, missing using errcode = 'feature_not_supported',
            hint = 'pgembedd needs pgmq 1.5.1 or newer: update pgmq.';
    end if;
end $$;
CREATE FUNCTION pgembedd._ensure_table(made pgembedd.pipeline) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    named text[] := _table_name(made);
    table_name text := format('%I.%I', named[1], named[2]);
    owner regrole := (select relowner from pg_class where oid = made.source);
begin
    if to_regnamespace(quote_ident(named[1])) is null then
        perform _refuse(format('There is no schema %I for the embedding_table.', named[1]), format('CREATE SCHEMA %I, or name another.', named[1]));
    end if;
    execute format(
        'create table %s (
            %s,
            chunk_no integer not null, chunk text not null, start_offset integer not null, end_offset integer not null,
            embedding %s(%s) not null, content_hash bytea not null, model text not null,
            tokens integer not null, tokens_kept integer not null,
            embedded_at timestamptz not null default clock_timestamp(), primary key (%s, chunk_no))',
        table_name, _key_definitions(made.source), _vector_type(made.vector_type), made.dimensions,
        (select string_agg(quote_ident(k), ', ') from unnest(made.key_columns) as k));
    execute format('comment on table %s is %L', table_name,
        format('Chunks of %s with their vectors, kept in step by the pipeline "%s".', made.source, made.name));
    if owner <> current_user::regrole then
        execute format('alter table %s owner to %s', table_name, owner);
    end if;
    return table_name::regclass;
end $$;
CREATE FUNCTION pgembedd._ensure_view(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    invoker boolean := current_setting('server_version_num')::integer >= 150000;
    source_columns text := (select string_agg(format('s.%I', c), ', ') from unnest(_watchable_columns(pipeline.source)) as c);
    columns text;
    owner regrole := (select relowner from pg_class where oid = pipeline.source);
begin
    if to_regclass(_view_name(pipeline)) is not null and _view(pipeline) is null then
        raise notice '% is there already, so there is no view that joins % and its chunks.', _view_name(pipeline), pipeline.source;
    end if;
    if to_regclass(_view_name(pipeline)) is not null
       or not invoker and (select relrowsecurity from pg_class where oid = pipeline.source) then return; end if;
    select string_agg(format('e.%I as %I', c, (
        select n from unnest(array[c, 'embedding_' || c, 'pgembedd_' || c, 'pgembedd_embedding_' || c]) with ordinality as t(n, nth)
        where n <> all (_watchable_columns(pipeline.source)) and (n = c or n <> all (_chunk_columns())) order by nth limit 1)), ', ')
    into columns from unnest(_chunk_columns()) as c;
    execute format('create view %s %s as select %s, %s from %s s join %s e on %s', _view_name(pipeline),
        case when invoker then 'with (security_invoker = true)' else '' end, source_columns, columns, pipeline.source, pipeline.embedding_table,
        _key_match(pipeline.source, 's', 'e'));
    if owner <> current_user::regrole then
        execute format('alter view %s owner to %s', _view_name(pipeline), owner);
    end if;
end $$;
CREATE FUNCTION pgembedd._estimated_rows(source regclass) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    plan json;
begin
    execute format('explain (format json) select from %s', source) into plan;
    return (plan -> 0 -> 'Plan' ->> 'Plan Rows')::numeric;
end $$;
CREATE FUNCTION pgembedd._exists(source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select exists (select from pg_class where oid = source) $$;
CREATE FUNCTION pgembedd._fitting_indexes(made pgembedd.pipeline, relation regclass) RETURNS TABLE(index regclass, name text, kind "char", method text, valid boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select i.indexrelid::regclass, c.relname::text, c.relkind, a.amname::text, i.indisvalid
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    join pg_opclass o on o.oid = i.indclass[0]
    join pg_attribute k on k.attrelid = i.indrelid and k.attnum = i.indkey[0]
    where i.indrelid = relation and k.attname = _vector_column(made) and i.indpred is null
      and a.amname in ('hnsw', 'ivfflat') and o.opcname = format('%s_%s_ops', made.vector_type, made.distance)
$$;
CREATE FUNCTION pgembedd._follow(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '2s'
    AS $$
declare
    problem text := _problem(pipeline);
    known text;
begin
    if problem is not null or pipeline.shape is not distinct from _shape(pipeline) then
        return problem;
    end if;
    -- Several workers stumble at once; whoever comes second finds it done.
    select p.shape into known from pipeline p where p.id = _follow.pipeline.id for no key update;
    if known is distinct from _shape(pipeline) then
        -- Writers queue behind whoever waits to create a trigger, so that must not be long.
        perform set_config('lock_timeout', '100ms', true), _regenerate(pipeline), set_config('lock_timeout', '2s', true);
    end if;
    return 'followed';
exception when insufficient_privilege then
    return format('The table %s is now %s of %s, which may not be followed without asking (%s). Call pgembedd.resume(%L) as a role '
        'that may act for %s.', pipeline.source_name, pipeline.source, _owner(pipeline.source), sqlerrm, pipeline.name, _owner(pipeline.source));
end $$;
CREATE FUNCTION pgembedd._foretell_return(gone pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    triggers text;
begin
    if gone.own_triggers then return; end if;
    select string_agg(quote_ident(t.tgname), ', ' order by t.tgname) into triggers from _guest_triggers(gone) t;
    if triggers is not null then
        raise notice 'The pipeline "%" was made by jobs of the triggers % on %, and the next one makes it again: drop them, or keep the pipeline and call pgembedd.pause().',
            gone.name, triggers, gone.source;
    end if;
end $$;
CREATE FUNCTION pgembedd._forget_jobs(queue text, pipeline_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if to_regclass(_queue_table(queue)) is not null then
        execute format('delete from %s q where %s', _queue_table(queue), _is_for(pipeline_id));
    end if;
end $$;
CREATE FUNCTION pgembedd._forget_old(pipeline pgembedd.pipeline, first_key text, compared text[]) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select format($q$
    select array_agg(%s) into gone from %s o left join %s n on %s where n.%I is null%s;
    if gone is not null then perform %s(gone); end if;
    $q$, _key_json(pipeline.source, 'o'), _rows(pipeline, 'old_rows'), _rows(pipeline, 'new_rows'),
        _key_match(pipeline.source, 'n', 'o'), first_key,
        case when pipeline.on_update = 'clear'
             then format(' or %s operator(pg_catalog.*<>) %s', _record(compared, 'n'), _record(compared, 'o')) else '' end,
        _pipeline_function(pipeline.id, 'forget'))
$_$;
CREATE FUNCTION pgembedd._forget_question(id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$ delete from question q where q.id = $1 $_$;
CREATE FUNCTION pgembedd._forget_questions(since timestamp with time zone DEFAULT '-infinity'::timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    at_present timestamptz := clock_timestamp();
begin
    delete from question q using (
        select f.id from question f where f.expires_at >= since and f.expires_at < at_present for update skip locked) f
    where q.id = f.id;
end $$;
CREATE FUNCTION pgembedd._forgiven(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format($q$
exception
    when syntax_error_or_access_rule_violation or data_exception or feature_not_supported or invalid_schema_name then
        raise warning 'pgembedd could not note this change for the pipeline "%%": %%', %L, sqlerrm;$q$, pipeline.name)
$_$;
CREATE FUNCTION pgembedd._formatting_columns(formatting text) RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select array_agg(distinct p.name) from _formatting_pieces(formatting) p where p.name <> 'chunk'
$$;
CREATE FUNCTION pgembedd._formatting_pieces(formatting text) RETURNS TABLE(nth bigint, literal text, name text)
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select m.nth, case when m.parts[1] is not null then m.parts[1] when m.parts[2] is not null then '$' end,
           coalesce(m.parts[3], m.parts[4])
    from regexp_matches(formatting, '([^$]+|\$(?![$A-Za-z_{])|\$(?=\{)(?!\{[^{}]+\}))|(\$\$)|\$([A-Za-z_][A-Za-z0-9_]*)|\$\{([^{}]+)\}', 'g')
        with ordinality as m(parts, nth)
$_$;
CREATE FUNCTION pgembedd._free_name(source regclass, wished text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    name text := wished;
    tries integer := 1;
begin
    while to_regclass(format('%I.%I', _space(source), name)) is not null loop
        tries := tries + 1;
        name := wished || tries;
    end loop;
    return name;
end $$;
CREATE FUNCTION pgembedd._generate(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _generate_as_owner(pipeline);
    if pipeline.embedding_table is null then
        perform _generate_read(pipeline), _generate_write(pipeline);
    else
        perform _generate_chunks_read(pipeline), _generate_chunks_write(pipeline), _generate_chunks_forget(pipeline);
        perform _ensure_view(pipeline), _mirror_rights(pipeline);
    end if;
    if pipeline.own_triggers and pipeline.triggers then
        perform _generate_triggers(pipeline);
        if pipeline.enable_always then perform _generate_on_row(pipeline); end if;
        perform _attach(pipeline);
    end if;
    update pipeline p
    set shape = _shape(p), source_name = p.source::text, embedding_table_name = p.embedding_table::text
    where p.id = _generate.pipeline.id;
end $$;
CREATE FUNCTION pgembedd._generate_as_owner(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    as_owner text := _pipeline_function(pipeline.id, 'as_owner');
    gone text := _pipeline_function(pipeline.id, 'gone');
begin
    execute format('create or replace function %s(statement text) returns setof jsonb language plpgsql security definer
                    set row_security = off %s as %L', as_owner, _key_settings(pipeline.source),
        'begin return query execute statement; end');
    -- Which of these keys no row has. Where one cannot even be a key they are tried one by one, and that one is left out.
    execute format('create or replace function %s(ids jsonb[]) returns setof jsonb language plpgsql security definer
                    set row_security = off %s as %L', gone, _key_settings(pipeline.source), format($body$
declare
    id jsonb;
begin
    begin
        return query execute %1$L using ids;
        return;
    exception when data_exception or integrity_constraint_violation then null;
    end;
    foreach id in array ids loop
        begin
            return query execute %1$L using array[id];
        exception when data_exception or integrity_constraint_violation then null;
        end;
    end loop;
end $body$, format('select i.id from pg_catalog.unnest($1) as i(id) cross join lateral %s where not exists (select from %s s where %s)',
            _key_record(pipeline.source, 'i.id'), pipeline.source, _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, as_owner || '(pg_catalog.text)'), _run_as_owner(pipeline, gone || '(pg_catalog.jsonb[])');
end $_$;
CREATE FUNCTION pgembedd._generate_chunks_forget(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    forget text := _pipeline_function(pipeline.id, 'forget');
    on_delete text := _pipeline_function(pipeline.id, 'on_delete');
    on_truncate text := _pipeline_function(pipeline.id, 'on_truncate');
    tidy text := _pipeline_function(pipeline.id, 'tidy');
begin
    execute format('create or replace function %s(ids jsonb[]) returns void language plpgsql security definer
                    set row_security = off as %L', forget,
        _if_there(pipeline, format(
            'delete from %s e using pg_catalog.unnest($1) i(id) cross join lateral %s where %s', pipeline.embedding_table,
            _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'e', 'k')), 'using ids', ''));
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set row_security = off as %L', on_delete,
        _if_there(pipeline, format(
            'delete from %s e using old_rows o where %s', pipeline.embedding_table, _key_match(pipeline.source, 'e', 'o')),
            '', 'return null;'));
    -- One partition alone may have been emptied, so what is left decides.
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set row_security = off as %L', on_truncate, format($body$
declare
    emptied boolean;
begin
    if pg_catalog.to_regclass(%1$L) is null then return null; end if;
    execute %2$L into emptied;
    if emptied then execute %3$L; else execute %4$L; end if;
    return null;%5$s return null;
end $body$, pipeline.embedding_table, format('select not exists (select from %s)', pipeline.source),
            format('truncate %s', pipeline.embedding_table),
            format('delete from %s e where not exists (select from %s s where %s)', pipeline.embedding_table,
                pipeline.source, _key_match(pipeline.source, 's', 'e')), _forgiven(pipeline)));
    execute format('create or replace function %s() returns void language plpgsql security definer
                    set row_security = off as %L', tidy, format('begin delete from %s e where not exists (select from %s s where %s); end',
        pipeline.embedding_table, pipeline.source, _key_match(pipeline.source, 's', 'e')));
    perform _run_as_owner(pipeline, forget || '(pg_catalog.jsonb[])'), _run_as_owner(pipeline, on_delete || '()'),
            _run_as_owner(pipeline, on_truncate || '()'), _run_as_owner(pipeline, tidy || '()');
end $_$;
CREATE FUNCTION pgembedd._generate_chunks_read(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    read text := _pipeline_function(pipeline.id, 'read');
    signature text := read || '(pg_catalog.jsonb[], pg_catalog.text)';
begin
    if to_regprocedure(signature) is not null then
        execute format('drop function %s', signature);
    end if;
    execute format('create function %s(ids jsonb[], fingerprint text)
                    returns table (n bigint, content text, hash bytea, before text, after text, known bytea[])
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', read,
        format('begin return query execute %L using ids, fingerprint; end', format($q$
        select r.n, r.content, %1$s, r.before, r.after, r.known
        from (
            select i.n, %2$s as content, %3$s as before, %4$s as after,
                   array(select e.content_hash from %5$s e
                         where %6$s and e.model operator(pg_catalog.=) $2) as known
            from pg_catalog.unnest($1) with ordinality as i(id, n)
            cross join lateral %7$s
            join %8$s s on %9$s) r $q$,
            _row_hash(pipeline, 'r.content', 'r.before', 'r.after'), _content(pipeline, 's'),
            _around(pipeline.formatting, 's', false), _around(pipeline.formatting, 's', true),
            pipeline.embedding_table, _key_match(pipeline.source, 'e', 's'),
            _key_record(pipeline.source, 'i.id'), pipeline.source, _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, signature);
end $_$;
CREATE FUNCTION pgembedd._generate_chunks_write(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    write text := _pipeline_function(pipeline.id, 'write');
    source regclass := pipeline.source;
    keys text := (select string_agg(quote_ident(k), ', ') from unnest(pipeline.key_columns) as k);
    numbered text := (select string_agg('i.key_' || n, ', ') from generate_subscripts(pipeline.key_columns, 1) n);
    due_keys text := (select string_agg('d.key_' || n, ', ') from generate_subscripts(pipeline.key_columns, 1) n);
    signature text := format('%s(pg_catalog.jsonb[], pg_catalog.bytea[], int4[], int4[], int4[], pg_catalog.text[], int4[], int4[],
                              pg_catalog.bytea[], %s[], int4[], int4[], pg_catalog.text)', write, _vector_type('vector'));
begin
    if to_regprocedure(signature) is not null then
        execute format('drop function %s', signature);
    end if;
    execute format('create function %s(
                        ids jsonb[], hashes bytea[], jobs integer[], chunk_jobs integer[], chunk_nos integer[], chunks text[],
                        start_offsets integer[], end_offsets integer[], chunk_hashes bytea[], embeddings %s[],
                        tokens integer[], tokens_kept integer[], fingerprint text)
                    returns table (n bigint, outcome text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', write, _vector_type('vector'),
        format($body$
begin
    return query execute %L
    using ids, hashes, jobs, chunk_jobs, chunk_nos, chunks, start_offsets, end_offsets, chunk_hashes, embeddings,
          tokens, tokens_kept, fingerprint;
end $body$, format($q$
        with input as materialized (
            select i.n, i.hash, i.job, %1$s
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, job, n)
            cross join lateral %2$s),
        locked as materialized (
            select i.n, %3$s operator(pg_catalog.=) i.hash as current
            from input i join %4$s s on %5$s
            for no key update of s skip locked),
        had as materialized (
            select i.n, e.chunk_no, e.chunk, e.start_offset, e.end_offset, e.content_hash, e.embedding, e.model, e.tokens,
                   e.tokens_kept
            from input i join locked l on l.n operator(pg_catalog.=) i.n join %6$s e on %7$s
            where l.current),
        new as materialized (
            select %8$s, i.n, c.chunk_no, c.chunk, c.start_offset, c.end_offset, c.content_hash,
                   coalesce(c.tokens, o.tokens) as tokens, coalesce(c.tokens_kept, o.tokens_kept) as tokens_kept,
                   coalesce(c.embedding::%9$s, o.embedding) as embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            join rows from (pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7),
                            pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10), pg_catalog.unnest($11),
                            pg_catalog.unnest($12))
                as c(job, chunk_no, chunk, start_offset, end_offset, content_hash, embedding, tokens, tokens_kept)
                on c.job operator(pg_catalog.=) i.job
            left join lateral (
                select h.embedding, h.tokens, h.tokens_kept from had h
                where h.n operator(pg_catalog.=) i.n and h.content_hash operator(pg_catalog.=) c.content_hash
                  and h.model operator(pg_catalog.=) $13 limit 1) o on c.embedding is null
            where l.current),
        short as materialized (select distinct w.n from new w where w.embedding is null),
        due as materialized (
            select w.* from new w
            where not exists (select from short x where x.n operator(pg_catalog.=) w.n) and not exists (
                select from had h
                where h.n operator(pg_catalog.=) w.n
                  and row(h.chunk_no, h.chunk, h.start_offset, h.end_offset, h.content_hash, h.embedding, h.model, h.tokens,
                          h.tokens_kept)::pg_catalog.record operator(pg_catalog.*=)
                      row(w.chunk_no, w.chunk, w.start_offset, w.end_offset, w.content_hash, w.embedding, $13, w.tokens,
                          w.tokens_kept)::pg_catalog.record)),
        removed as (
            delete from %6$s e using input i left join locked l on l.n operator(pg_catalog.=) i.n
            where %7$s and case
                when l.n is null then not exists (select from %4$s s where %5$s)
                else l.current and not exists (select from short x where x.n operator(pg_catalog.=) i.n)
                     and not exists (select from new w where w.n operator(pg_catalog.=) i.n
                                     and w.chunk_no operator(pg_catalog.=) e.chunk_no) end
            returning i.n),
        put as (
            insert into %6$s (%10$s, chunk_no, chunk, start_offset, end_offset, embedding, content_hash, model, tokens, tokens_kept)
            select %11$s, d.chunk_no, d.chunk, d.start_offset, d.end_offset, d.embedding, d.content_hash, $13, d.tokens, d.tokens_kept
            from due d
            on conflict (%10$s, chunk_no) do update set
                chunk = excluded.chunk, start_offset = excluded.start_offset, end_offset = excluded.end_offset,
                embedding = excluded.embedding, content_hash = excluded.content_hash, model = excluded.model,
                tokens = excluded.tokens, tokens_kept = excluded.tokens_kept, embedded_at = excluded.embedded_at)
        select i.n, case
            when l.n is null and exists (select from %4$s s where %5$s) then 'locked'
            when l.n is null then 'gone'
            when not l.current or exists (select from short x where x.n operator(pg_catalog.=) i.n) then 'changed'
            when exists (select from due d where d.n operator(pg_catalog.=) i.n) then 'written'
            when not exists (select from removed r where r.n operator(pg_catalog.=) i.n) then 'unchanged'
            when not exists (select from new w where w.n operator(pg_catalog.=) i.n) then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n $q$,
            _key_numbered(source), _key_record(source, 'i.id'),
            _row_hash(pipeline, _content(pipeline, 's'), _around(pipeline.formatting, 's', false), _around(pipeline.formatting, 's', true)),
            source, _key_match_numbered(source, 's', 'i'), pipeline.embedding_table, _key_match_numbered(source, 'e', 'i'),
            numbered, format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions), keys, due_keys)));
    perform _run_as_owner(pipeline, signature);
end $_$;
CREATE FUNCTION pgembedd._generate_on_row(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    on_row text := _pipeline_function(pipeline.id, 'on_row');
    compared text[] := array_remove(pipeline.key_columns || pipeline.watch_columns || pipeline.embedding_column, null);
    gone text := case when pipeline.on_update = 'clear' then 'true' else format('%s operator(pg_catalog.*<>) %s',
        _record(pipeline.key_columns, 'new'), _record(pipeline.key_columns, 'old')) end;
begin
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_row, _key_settings(pipeline.source), format($body$
declare
    changed_key jsonb;
    gone_key jsonb;
begin
    -- An error would stop the replication. This block writes nothing, so that its subtransaction costs no number.
    begin
        if tg_op = 'INSERT' then
            changed_key := %1$s;
        elsif tg_op = 'DELETE' then
            gone_key := %2$s;
        elsif %3$s operator(pg_catalog.*<>) %4$s then
            changed_key := %1$s;
            if %5$s then gone_key := %2$s; end if;
        end if;
    exception when others then
        raise warning 'pgembedd could not note this change for the pipeline "%%": %%', %6$L, sqlerrm;
        return null;
    end;
    %7$s
    if changed_key is not null and to_regclass(%8$L) is not null then
        %9$s;
        if (select last_value from pgembedd.worker_idle) = 1 then perform pg_notify('pgembedd', %10$L); end if;
    end if;
    return null;
end $body$,
        _key_json(pipeline.source, 'new'), _key_json(pipeline.source, 'old'), _record(compared, 'new'), _record(compared, 'old'),
        gone, pipeline.name,
        case when pipeline.embedding_table is not null then format('if gone_key is not null then perform %s(array[gone_key]); end if;',
            _pipeline_function(pipeline.id, 'forget')) else '' end,
        _queue_table(pipeline.queue),
        _enqueue(pipeline, pipeline.queue, 'i.id', '(select changed_key as id) i'), pipeline.queue));
    perform _own(on_row || '()', (select nspowner::regrole from pg_namespace where nspname = 'pgembedd'));
end $_$;
CREATE FUNCTION pgembedd._generate_read(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    read text := _pipeline_function(pipeline.id, 'read');
begin
    execute format('create or replace function %s(ids jsonb[]) returns table (n bigint, content text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', read,
        format('begin return query execute %L using ids; end', format($q$
        select i.n, %s from pg_catalog.unnest($1) with ordinality as i(id, n)
        cross join lateral %s
        join %s s on %s $q$,
            _content(pipeline, 's'), _key_record(pipeline.source, 'i.id'), pipeline.source,
            _key_match(pipeline.source, 's', 'k'))));
    perform _run_as_owner(pipeline, read || '(pg_catalog.jsonb[])');
end $_$;
CREATE FUNCTION pgembedd._generate_triggers(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    on_insert text := _pipeline_function(pipeline.id, 'on_insert');
    on_update text := _pipeline_function(pipeline.id, 'on_update');
    clear text := _pipeline_function(pipeline.id, 'clear');
    installer regrole := (select nspowner from pg_namespace where nspname = 'pgembedd');
    first_key text := (select name from _key_columns(pipeline.source) limit 1);
    compared text[] := array_remove(pipeline.watch_columns || pipeline.embedding_column, null);
    new_rows text := _rows(pipeline, 'new_rows');
    old_rows text := _rows(pipeline, 'old_rows');
begin
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_insert, _key_settings(pipeline.source),
        _trigger_body(pipeline, '', _key_json(pipeline.source, 'n'), new_rows || ' n', ''));
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set search_path = pg_catalog, pg_temp %s as %L', on_update, _key_settings(pipeline.source),
        _trigger_body(pipeline,
            -- Most updates touch one row, and nothing of ours in it: they must get by with one look. Of several rows
            -- some pair differs in any case, at least in its key, so a statement that has no pair has nothing to do.
            -- Our own store fires this trigger too; what a user's trigger changes during it (depth > 1) still counts.
            -- plpgsql would keep the nested-loop plan of single-row updates for a statement over 20,000 rows.
            format($before$
    select true into something from %4$s n left join %5$s o on true where %1$s operator(pg_catalog.*<>) %2$s;
    if something is null then return null; end if;
    if current_setting('pgembedd.storing', true) = %3$L and pg_trigger_depth() = 1 then return null; end if;
    nestloop := current_setting('enable_nestloop');
    perform set_config('enable_nestloop', 'off', true);$before$,
                _record(pipeline.key_columns || compared, 'n'), _record(pipeline.key_columns || compared, 'o'), pipeline.id,
                new_rows, old_rows),
            _key_json(pipeline.source, 'n'),
            -- Images are compared, not values: = does not exist for json, and no operator of a user's may run here.
            format('%s n left join %s o on %s where o.%I is null or %s operator(pg_catalog.*<>) %s', new_rows, old_rows,
                _key_match(pipeline.source, 'n', 'o'), first_key, _record(compared, 'n'), _record(compared, 'o')),
            case when pipeline.embedding_table is not null then _forget_old(pipeline, first_key, compared) else '' end
            || 'perform set_config(''enable_nestloop'', nestloop, true);'));
    perform _own(on_insert || '()', installer), _own(on_update || '()', installer);
    if pipeline.on_update = 'clear' and pipeline.embedding_column is not null then
        execute format('create or replace function %s() returns trigger language plpgsql
                        set search_path = pg_catalog, pg_temp as %L', clear,
            -- Assigning to a column that was renamed would fail; a name that is not there is passed over here.
            format('begin return pg_catalog.jsonb_populate_record(new, %L); end', jsonb_build_object(pipeline.embedding_column, null)));
        perform _own(clear || '()', installer);
    end if;
end $_$;
CREATE FUNCTION pgembedd._generate_write(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    write text := _pipeline_function(pipeline.id, 'write');
    vectors text := format('%s[]', _vector_type('vector'));
begin
    execute format('create or replace function %s(ids jsonb[], hashes bytea[], embeddings %s)
                    returns table (n bigint, outcome text)
                    language plpgsql security definer
                    set row_security = off set lock_timeout = ''2s'' as %L', write, vectors,
        format($body$
begin
    perform pg_catalog.set_config('pgembedd.storing', %L, true);
    return query execute %L using ids, hashes, embeddings;
    perform pg_catalog.set_config('pgembedd.storing', '', true);
end $body$, pipeline.id, format($q$
        with input as materialized (
            select i.n, i.hash, i.embedding::%1$s as embedding, %7$s
            from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
                with ordinality as i(id, hash, embedding, n)
            cross join lateral %2$s),
        locked as materialized (
            select i.n, %3$s operator(pg_catalog.=) i.hash as current,
                   row(s.%6$I)::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record as differs
            from input i join %4$s s on %5$s
            for no key update of s skip locked),
        written as (
            update %4$s s set %6$I = i.embedding
            from input i join locked l on l.n operator(pg_catalog.=) i.n
            where l.current and %5$s
              and row(s.%6$I)::pg_catalog.record operator(pg_catalog.*<>) row(i.embedding)::pg_catalog.record
            returning i.n, %3$s operator(pg_catalog.=) i.hash as current,
                      s.%6$I is null and i.embedding is not null as emptied)
        select i.n, case
            when l.n is null and exists (select from %4$s s where %5$s) then 'locked'
            when l.n is null then 'gone'
            when not l.current then 'changed'
            when w.emptied or w.n is null and l.differs then 'refused'
            when w.n is null then 'unchanged'
            when not w.current then 'rewritten'
            when i.embedding is null then 'cleared'
            else 'written' end
        from input i left join locked l on l.n operator(pg_catalog.=) i.n
        left join written w on w.n operator(pg_catalog.=) i.n $q$,
            format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions),
            _key_record(pipeline.source, 'i.id'), _hash(_content(pipeline, 's')), pipeline.source,
            _key_match_numbered(pipeline.source, 's', 'i'), pipeline.embedding_column,
            _key_numbered(pipeline.source))));
    perform _run_as_owner(pipeline, format('%s(pg_catalog.jsonb[], pg_catalog.bytea[], %s)', write, vectors));
end $_$;
CREATE FUNCTION pgembedd._give_up_unsteady(queue text, pipeline_id integer, msg_ids bigint[], outcomes text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    one pgembedd.pipeline;
    job record;
    version text;
    same integer;
begin
    if not outcomes && array['changed'] then return; end if;
    for job in execute format($q$
        select q.msg_id, q.message -> 'id' as key, q.headers from %s q
        where q.msg_id = any ($1) and pgembedd._note(q.headers, 'changed') > 3 order by q.msg_id
        $q$, _queue_table(queue)) using msg_ids
    loop
        if one.id is null then select p.* into one from pipeline p where p.id = _give_up_unsteady.pipeline_id; end if;
        version := _row_version(one, job.key);
        same := case when job.headers -> 'pgembedd' ->> 'version' = version and _note(job.headers, 'changed') > 4
                     then _note(job.headers, 'same') + 1 else 0 end;
        if same >= 16 then
            perform _bury(queue, job.msg_id, one.id, 'unsteady_content',
                'The content was another one each of 20 times that it was embedded, though the row stayed as it was: '
                'it must not hold the time or random numbers.', _note(job.headers, 'attempts'));
        else
            execute format('update %s q set headers = pgembedd._with_notes(q.headers, $2) where q.msg_id = $1', _queue_table(queue))
            using job.msg_id, jsonb_build_object('version', version, 'same', same);
        end if;
    end loop;
end $_$;
CREATE FUNCTION pgembedd._grant_ask(username text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    execute format('grant usage on schema pgembedd to %I', username);
    execute format('grant execute on function pgembedd._post_question, pgembedd._await_answer, pgembedd._forget_question to %I', username);
end $$;
CREATE FUNCTION pgembedd._guest(queue text, message jsonb, OUT host pgembedd.pipeline, OUT refusal text) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '1s'
    AS $$
declare
    wanted pgembedd.pipeline;
    hint text;
begin
    refusal := 'No pipeline writes where this job points.';
    if message ? 'pipeline' or coalesce(message -> 'id', 'null') = 'null'
       or jsonb_typeof(message -> 'schema') is distinct from 'string' or jsonb_typeof(message -> 'table') is distinct from 'string'
       or jsonb_typeof(message -> 'contentFunction') is distinct from 'string'
       or jsonb_typeof(message -> 'embeddingColumn') is distinct from 'string' then
        return;
    end if;
    -- Registered a moment ago, by a message of the same claim?
    select p.* into host from pipeline p where p.id = _claimed_for(message);
    if host.id is not null then
        refusal := null;
        return;
    elsif not pg_try_advisory_xact_lock(hashtextextended('pgembedd.guest', 0)) then
        refusal := null;  -- another claim is at it
        return;
    end if;
    select p.* into host from pipeline p where p.id = _pipeline_of(message);
    -- A job that names what no trigger names any more is older than that change.
    if host.id is not null and not exists (
        select from _triggers_of_others(host.source, message ->> 'contentFunction', host.embedding_column)) then
        refusal := null;
        return;
    end if;
    wanted := _guest_wanted(queue, message);
    if host.id is null then
        host := _register_guest(wanted);
    elsif not host.own_triggers and host.content_function <> wanted.content_function then
        host := _guest_with(host, wanted.content_function);
    end if;
    refusal := null;
exception
    -- Two at once: locks, but also the same name twice, and an internal error where both grant a right.
    when lock_not_available or transaction_rollback or insufficient_resources or unique_violation or internal_error then
        host := null; refusal := null;
    when others then
        get stacked diagnostics refusal = message_text, hint = pg_exception_hint;
        host := null;
        refusal := concat_ws(' ', refusal, nullif(hint, ''), 'Then call pgembedd.retry_failed().');
end $$;
CREATE FUNCTION pgembedd._guest_function(source regclass, given text) RETURNS regprocedure
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select to_regprocedure(format('%I.%I(%s)', s.name, regexp_replace(given, '^.*\.', ''), source))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    cross join lateral unnest(case when given like '%.%' then array[substring(given from '^(.*)\.')]
                                   else array[n.nspname::text, 'public'] end) with ordinality as s(name, nth)
    where c.oid = source
      and to_regprocedure(format('%I.%I(%s)', s.name, regexp_replace(given, '^.*\.', ''), source)) is not null
    order by s.nth limit 1
$$;
CREATE FUNCTION pgembedd._guest_name(source regclass, embedding_column text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when n.nth = 1 then b.base else b.base || '-' || n.nth end
    from (select coalesce(nullif(ltrim(left(regexp_replace(coalesce((select relname from pg_class where oid = source), 'guest')
            || '.' || embedding_column, '[^A-Za-z0-9_.-]+', '_', 'g'), 50), '.-'), ''), 'guest') as base) b
    cross join generate_series(1, (select count(*) + 1 from pipeline)) as n(nth)
    where not exists (select from pipeline p where p.name = case when n.nth = 1 then b.base else b.base || '-' || n.nth end)
    order by n.nth limit 1
$$;
CREATE FUNCTION pgembedd._guest_triggers(host pgembedd.pipeline) RETURNS SETOF pg_trigger
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select t.* from pg_proc f join pg_namespace n on n.oid = f.pronamespace
    cross join lateral unnest(array[f.proname::text, n.nspname || '.' || f.proname]) as given(name)
    cross join lateral _triggers_of_others(host.source, given.name, host.embedding_column) t
    where f.oid = to_regprocedure(format('%s(%s)', host.content_function, host.source))
$$;
CREATE FUNCTION pgembedd._guest_wanted(queue text, message jsonb) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    wanted pgembedd.pipeline;
    named text := format('%I.%I', message ->> 'schema', message ->> 'table');
    function regprocedure;
begin
    wanted.embedding_column := message ->> 'embeddingColumn';
    -- The triggers of a partitioned table fire with the name of the partition.
    wanted.source := coalesce(pg_partition_root(to_regclass(named)), to_regclass(named));
    wanted.source_name := named;
    wanted.name := _guest_name(wanted.source, wanted.embedding_column);
    perform _check_source(wanted);
    wanted.source_name := wanted.source::text;
    wanted.key_columns := array(select k.name from _key_columns(wanted.source) k);
    function := _guest_function(wanted.source, message ->> 'contentFunction');
    perform _check_guest_key(wanted), _check_consent(wanted, message ->> 'contentFunction', function);
    wanted.content_function := _content_function(function, message ->> 'contentFunction', wanted.source_name);
    perform _check_owner(wanted);
    select l.queue, l.backfill_queue into wanted.queue, wanted.backfill_queue
    from lanes() l where _guest_wanted.queue in (l.queue, l.backfill_queue) order by l.queue <> 'embedding_jobs' limit 1;
    return wanted;
end $$;
CREATE FUNCTION pgembedd._guest_with(host pgembedd.pipeline, content_function text) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if exists (select from _guest_triggers(host)) then
        perform _refuse(format('Triggers on %s fill "%s" by two functions, %s and %s.', host.source, host.embedding_column,
            host.content_function, content_function), 'Leave one of them.');
    end if;
    update pipeline p set content_function = _guest_with.content_function where p.id = host.id returning * into host;
    perform _generate_read(host), _generate_write(host);
    return host;
end $$;
CREATE FUNCTION pgembedd._has_builder(source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select exists (select from pg_namespace n
                   where n.nspname = 'pgembedd' and _has_cron(n.nspowner) and _may_index(n.nspowner, source))
        or exists (select from pg_stat_activity a
                   where a.datname = current_database() and a.application_name = 'pgembedd index'
                     and _may_index(a.usesysid, source))
$$;
CREATE FUNCTION pgembedd._has_cron(role oid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when schedule is null then false
                else has_schema_privilege(role, 'cron', 'usage') and has_function_privilege(role, schedule, 'execute') end
    from to_regprocedure('cron.schedule(text, text, text)') schedule
$$;
CREATE FUNCTION pgembedd._has_rows(made pgembedd.pipeline, many bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    -- Counted, because the estimate of a table that was just loaded is that of an empty one.
    return _ask_once(made, format('select pg_catalog.to_jsonb(pg_catalog.count(*) operator(pg_catalog.>=) %1$s) from (select from %2$s limit %1$s) r', many, made.source))::boolean;
end $_$;
CREATE FUNCTION pgembedd._hash(content text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select format('pg_catalog.sha256(pg_catalog.convert_to(coalesce(%s, ''''), ''UTF8''))', content) $$;
CREATE FUNCTION pgembedd._hearers() RETURNS integer[]
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select array_agg(l.pid) from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1885824356 and l.objid = 0 and l.objsubid = 2 and l.granted
      and l.mode = 'ShareLock' and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;
CREATE FUNCTION pgembedd._hidden_from_owner(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('Row level security is forced on %s, so that %s, who owns it, would not see every row. Have an administrator '
                  'run ALTER ROLE %s BYPASSRLS, or ALTER TABLE %s NO FORCE ROW LEVEL SECURITY.',
                  source, c.relowner::regrole, c.relowner::regrole, source)
    from pg_class c join pg_roles r on r.oid = c.relowner
    where c.oid = source and c.relrowsecurity and c.relforcerowsecurity and not (r.rolsuper or r.rolbypassrls)
$$;
CREATE FUNCTION pgembedd._hmac(key bytea, message bytea) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
begin
    for i in 0 .. length(key) - 1 loop
        inner_pad := set_byte(inner_pad, i, get_byte(key, i) # 54);
        outer_pad := set_byte(outer_pad, i, get_byte(key, i) # 92);
    end loop;
    return sha256(outer_pad || sha256(inner_pad || message));
end $$;
CREATE FUNCTION pgembedd._hnsw(made pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select format('using hnsw (%I %I.%I) with (m = %s, ef_construction = %s)', _vector_column(made), n.nspname,
                  format('%s_%s_ops', made.vector_type, made.distance), made.m, made.ef_construction)
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
$$;
CREATE FUNCTION pgembedd._holds_vectors(made pgembedd.pipeline, relation regclass) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select _ask_once(made, format('select pg_catalog.to_jsonb(exists (select from %s where %I is not null))', relation, _vector_column(made)))::boolean
$$;
CREATE FUNCTION pgembedd._if_there(pipeline pgembedd.pipeline, statement text, given text, ending text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select format('begin if pg_catalog.to_regclass(%L) is not null then execute %L %s; end if; %s %s %s end', pipeline.embedding_table,
                  statement, given, ending, _forgiven(pipeline), ending)
$$;
CREATE FUNCTION pgembedd._import_chunks(name text, chunks regclass, pending regclass, fingerprint text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $_$
declare
    one pgembedd.pipeline := _pipeline(name);
    keys text := (select string_agg(format('%I', k), ', ') from unnest(one.key_columns) as k);
    taken bigint;
begin
    execute format($q$
        with found as materialized (
            select %2$s, e.chunk_seq, e.chunk as embedded, e.embedding, c.piece, strpos(c.content, c.piece) as at,
                   bool_and(c.piece is not null and strpos(c.content, c.piece) > 0) over (partition by %2$s) as whole
            from %3$s s
            join %4$s e on %5$s
            cross join lateral (select %6$s as before, %7$s as after, %8$s as content) a
            cross join lateral (select a.content, case when starts_with(e.chunk, a.before)
                    and right(e.chunk, length(a.after)) = a.after and length(e.chunk) >= length(a.before) + length(a.after)
                then substr(e.chunk, length(a.before) + 1, length(e.chunk) - length(a.before) - length(a.after)) end as piece) c
            where not %9$s),
        copied as (
            insert into %1$s (%10$s, chunk_no, chunk, start_offset, end_offset, embedding, content_hash, model, tokens, tokens_kept)
            select %11$s, f.chunk_seq, f.piece, f.at - 1, f.at - 1 + length(f.piece), f.embedding::%12$s,
                   sha256(convert_to(f.embedded, 'UTF8')), $1, 0, 0
            from found f where f.whole
            returning %10$s)
        select count(*) from (select distinct %10$s from copied) d
        $q$,
        one.embedding_table, (select string_agg(format('s.%I', k), ', ') from unnest(one.key_columns) as k), one.source, chunks,
        _key_match(one.source, 's', 'e'),
        case when one.formatting is null then quote_literal('') else _around(one.formatting, 's', false) end,
        case when one.formatting is null then quote_literal('') else _around(one.formatting, 's', true) end,
        _content(one, 's'), _pending(one, pending, 's'), keys,
        (select string_agg(format('f.%I', k), ', ') from unnest(one.key_columns) as k),
        format('%s(%s)', _vector_type(one.vector_type), one.dimensions)) into taken using fingerprint;
    perform pin_model(one.id, fingerprint);
    return taken;
end $_$;
CREATE FUNCTION pgembedd._import_pending(name text, pending regclass) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $$
declare
    one pgembedd.pipeline := _pipeline(name);
    queued bigint;
begin
    execute _enqueue(one, one.backfill_queue, _key_json(one.source, 's'),
        format('%s s where %s and not %s', one.source, _pending(one, pending, 's'), _waits(one)));
    get diagnostics queued = row_count;
    return queued;
end $$;
CREATE FUNCTION pgembedd._index_base(relation regclass, embedding_column text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select _cut(c.relname, 20) || '_' || _cut(embedding_column, 20) from pg_class c where c.oid = relation $$;
CREATE FUNCTION pgembedd._index_frame(made pgembedd.pipeline) RETURNS regclass
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    frame regclass;
    inner_table regclass;
begin
    if (select relkind from pg_class where oid = _target(made)) <> 'p' then return null; end if;
    select f.index into frame from _fitting_indexes(made, _target(made)) f where f.method = 'hnsw';
    if frame is null then
        execute format('create index %I on only %s %s', made.index_name, _target(made), _hnsw(made));
        frame := format('%I.%I', _space(_target(made)), made.index_name)::regclass;
    end if;
    for inner_table in
        select t.relid from pg_partition_tree(_target(made)) t where not t.isleaf and t.level > 0 order by t.level
    loop
        continue when _index_within(frame, inner_table) is not null;
        execute format('create index %I on only %s %s', _index_name(made, inner_table), inner_table, _hnsw(made));
        perform _attach_index(
            _index_within(frame, (select i.inhparent from pg_inherits i where i.inhrelid = inner_table)),
            format('%I.%I', _space(inner_table), _index_name(made, inner_table))::regclass);
    end loop;
    return frame;
end $$;
CREATE FUNCTION pgembedd._index_name(made pgembedd.pipeline, relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when relation = _target(made) then made.index_name
                else _index_base(relation, _vector_column(made)) || '_hnsw_' || relation::oid end
$$;
CREATE FUNCTION pgembedd._index_state(made pgembedd.pipeline) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    key bigint := hashtextextended('pgembedd.index', 0);
    unfinished boolean := exists (select from _unfinished_indexes(made));
begin
    if not _exists(_target(made)) then
        return null;
    elsif exists (select from _fitting_indexes(made, _target(made)) f where f.valid) then
        return 'valid';
    -- The lock as well, because what another role does is not for everybody to see.
    elsif unfinished and (exists (select from _builders(made)) or exists (
        select from pg_locks l join pg_database d on d.oid = l.database
        where d.datname = current_database() and l.locktype = 'advisory' and l.granted
          and (l.classid::bigint << 32 | l.objid::bigint) = key and l.objsubid = 1))
    then
        return 'building';
    elsif unfinished then
        return 'invalid';
    elsif made.index_due_at is null then
        return 'none';
    end if;
    return case when made.index_due_at <= clock_timestamp() then 'due' else 'deferred' end;
end $$;
CREATE FUNCTION pgembedd._index_statements(made pgembedd.pipeline) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    frame regclass;
    leaf regclass;
    part text;
begin
    if exists (select from _unfinished_indexes(made)) then
        return next format('select pgembedd._drop_unfinished(%s)', made.id);
    end if;
    frame := _index_frame(made);
    if frame is null then
        return next format('create index concurrently %I on %s %s', made.index_name, _target(made), _hnsw(made));
        return;
    end if;
    for leaf in select t.relid from pg_partition_tree(_target(made)) t where t.isleaf order by t.relid loop
        continue when _index_within(frame, leaf) is not null;
        select f.index::text into part from _fitting_indexes(made, leaf) f
        where f.valid and f.method = 'hnsw' and not exists (select from pg_inherits h where h.inhrelid = f.index) limit 1;
        if part is null then
            return next format('create index concurrently %I on %s %s', _index_name(made, leaf), leaf, _hnsw(made));
            part := format('%I.%I', _space(leaf), _index_name(made, leaf));
        end if;
        return next format('select pgembedd._attach_index(%L, %L)',
            _index_within(frame, (select i.inhparent from pg_inherits i where i.inhrelid = leaf)), part);
    end loop;
end $$;
CREATE FUNCTION pgembedd._index_within(frame regclass, relation regclass) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.relid from pg_partition_tree(frame) t join pg_index i on i.indexrelid = t.relid where i.indrelid = relation
$$;
CREATE FUNCTION pgembedd._indexed_distance(source regclass, embedding_column text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce((
        select case when o.opcname like '%\_l2\_ops' then 'l2' when o.opcname like '%\_ip\_ops' then 'ip' end
        from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        join pg_opclass o on o.oid = i.indclass[0]
        where i.indrelid = source and a.attname = embedding_column
        order by o.opcname not like '%cosine%' desc, i.indexrelid limit 1), 'cosine')
$$;
CREATE FUNCTION pgembedd._inherits(source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from pg_inherits i join pg_class c on c.oid = i.inhparent
                   where (i.inhrelid = source or i.inhparent = source) and not (c.relkind = 'p' and i.inhparent = source))
$$;
CREATE FUNCTION pgembedd._is_for(pipeline_id integer) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('(q.message ->> ''pipeline'' = %L or not q.message ? ''pipeline'' and pgembedd._pipeline_of(q.message) = %s)',
                  pipeline_id, pipeline_id)
$$;
CREATE FUNCTION pgembedd._job_count(pipeline pgembedd.pipeline) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    lane text;
    jobs bigint;
    total bigint := 0;
begin
    foreach lane in array array[pipeline.queue, pipeline.backfill_queue] loop
        continue when to_regclass(_queue_table(lane)) is null;
        execute format('select count(*) from %s q where %s', _queue_table(lane), _is_for(pipeline.id)) into jobs;
        total := total + jobs;
    end loop;
    return total;
end $$;
CREATE FUNCTION pgembedd._key_columns(source regclass) RETURNS TABLE(nth bigint, name text, type text, equals text, base oid, compared text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select k.nth, a.attname, _qualified_type(t.oid), format('operator(%I.%s)', n.nspname, o.oprname),
           _base_type(t.oid), case when t.typtype = 'd' and o.oprleft <> _base_type(t.oid) then '::' || _qualified_type(_base_type(t.oid)) else '' end
    from pg_index i
    cross join lateral unnest(i.indkey::int2[], i.indclass::oid[]) with ordinality as k(attnum, opclass, nth)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    join pg_type t on t.oid = a.atttypid
    join pg_opclass c on c.oid = k.opclass and c.opcmethod = (select a.oid from pg_am a where a.amname = 'btree')
    join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = 3
                  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where i.indrelid = source and i.indisprimary and k.nth <= i.indnkeyatts
    order by k.nth
$$;
CREATE FUNCTION pgembedd._key_definitions(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select string_agg(format('%I %s%s not null', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attcollation <> t.typcollation then format(' collate %I.%I', n.nspname, l.collname) else '' end), ', ' order by k.nth)
    from _key_columns(source) k
    join pg_attribute a on a.attrelid = source and a.attname = k.name
    join pg_type t on t.oid = a.atttypid
    left join pg_collation l on l.oid = a.attcollation
    left join pg_namespace n on n.oid = l.collnamespace
$$;
CREATE FUNCTION pgembedd._key_from_text(pipeline pgembedd.pipeline, id text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if cardinality(pipeline.key_columns) = 1 and not exists (
        select from _key_columns(pipeline.source) k where k.base = 'jsonb'::regtype)
    then
        return to_jsonb(id);
    end if;
    return id::jsonb;
exception when invalid_text_representation then
    perform _refuse(format('%s cannot be the key of a row of %s: it is no JSON.', quote_literal(id), pipeline.source),
        _key_in_words(pipeline));
end $$;
CREATE FUNCTION pgembedd._key_in_words(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when count(*) = 1 then format('A row is named by its key, %s.', min(k.words))
                else format('A row is named by its key as a JSON object: %s.', string_agg(k.words, ', ' order by k.nth)) end
    from (select c.nth, format('%s (%s)', c.name, format_type(a.atttypid, a.atttypmod)) as words
          from unnest(pipeline.key_columns) with ordinality as c(name, nth)
          join pg_attribute a on a.attrelid = pipeline.source and a.attname = c.name) k
$$;
CREATE FUNCTION pgembedd._key_json(source regclass, alias text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when count(*) = 1 then min(value)
                else format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, %s', name, value), ', ')) end
    from (select name, case when base < 16384 then format('pg_catalog.to_jsonb(%s.%I)', alias, name)
                            else format('pg_catalog.to_jsonb(pg_catalog.format(''%%s'', %s.%I))', alias, name) end
          from _key_columns(source)) as k(name, value)
$$;
CREATE FUNCTION pgembedd._key_match(source regclass, a text, b text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select string_agg(format('%1$s.%3$I%5$s %4$s %2$s.%3$I%5$s', a, b, name, equals, compared), ' and ')
    from _key_columns(source)
$_$;
CREATE FUNCTION pgembedd._key_match_numbered(source regclass, a text, b text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select string_agg(format('%1$s.%2$I%6$s %3$s %4$s.key_%5$s%6$s', a, name, equals, b, nth, compared), ' and ')
    from _key_columns(source)
$_$;
CREATE FUNCTION pgembedd._key_numbered(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select string_agg(format('k.%I as key_%s', name, nth), ', ') from _key_columns(source) $$;
CREATE FUNCTION pgembedd._key_operator(source regclass, nth bigint, strategy integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select format('operator(%I.%s)', n.nspname, o.oprname)
    from pg_index i
    join pg_opclass c on c.oid = (i.indclass::oid[])[nth - 1]
    join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy = strategy
                  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where i.indrelid = source and i.indisprimary
$$;
CREATE FUNCTION pgembedd._key_record(source regclass, id text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select format('pg_catalog.jsonb_to_record(%s) as k(%s)',
                  case when count(*) = 1 then format('pg_catalog.jsonb_build_object(%L, %s)', min(name), id) else id end,
                  string_agg(format('%I %s', name, type), ', '))
    from _key_columns(source)
$$;
CREATE FUNCTION pgembedd._key_settings(source regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when bool_and(base = any ('{int2,int4,int8,numeric,uuid,text,varchar,bpchar,name,bool,date,timestamp}'
                                          ::regtype[])) then ''
                else 'set datestyle = ''ISO'' set intervalstyle = ''postgres'' set extra_float_digits = ''1'' set timezone = ''UTC''' end
    from _key_columns(source)
$$;
CREATE FUNCTION pgembedd._last_job(pipeline pgembedd.pipeline) RETURNS TABLE(lane text, msg_id bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    foreach lane in array array[pipeline.queue, pipeline.backfill_queue] loop
        continue when to_regclass(_queue_table(lane)) is null;
        execute format('select q.msg_id from %s q where %s order by q.msg_id desc limit 1', _queue_table(lane), _is_for(pipeline.id))
        into msg_id;
        if msg_id is not null then return next; return; end if;
    end loop;
end $$;
CREATE FUNCTION pgembedd._layout_problem(made pgembedd.pipeline, relation regclass) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    problem text;
begin
    select case when a.attname is null then format('it has no column %I', w.name)
                else format('its column %I is %s, not %s', w.name, a.type, w.type) end into problem
    from (
        select k.nth, k.name, format_type(s.atttypid, s.atttypmod) as type from _key_columns(made.source) k
        join pg_attribute s on s.attrelid = made.source and s.attname = k.name
        union all
        select 1000 + c.nth, c.name, case
            when c.name in ('chunk', 'model') then 'text' when c.name = 'content_hash' then 'bytea'
            when c.name = 'embedding' then format('%s(%s)', _vector_type(made.vector_type), made.dimensions)
            when c.name = 'embedded_at' then 'timestamp with time zone' else 'integer' end
        from unnest(_chunk_columns()) with ordinality as c(name, nth)) w
    left join lateral (
        select s.attname, format_type(s.atttypid, s.atttypmod) as type from pg_attribute s
        where s.attrelid = relation and s.attname = w.name and not s.attisdropped) a on true
    where a.type is distinct from w.type order by w.nth limit 1;
    if problem is null and (select relkind from pg_class where oid = relation) <> 'r' then
        problem := 'it is no ordinary table';
    elsif problem is null and array(select k.name from _key_columns(relation) k) <> made.key_columns || 'chunk_no'::text then
        problem := format('its primary key is not (%s)', array_to_string(made.key_columns || 'chunk_no'::text, ', '));
    end if;
    return problem;
end $$;
CREATE FUNCTION pgembedd._leaves(source regclass) RETURNS TABLE(relation regclass, pages bigint, density double precision)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- The size is the present one; how many rows go on a page is as of the last ANALYZE, and null before that.
    select c.oid::regclass, pg_relation_size(c.oid) / current_setting('block_size')::bigint,
           nullif(greatest(c.reltuples, 0), 0) / nullif(c.relpages, 0)
    from (select source as oid union select t.relid from pg_partition_tree(source) t) leaf
    join pg_class c on c.oid = leaf.oid
    where c.relkind = 'r'
$$;
CREATE FUNCTION pgembedd._look_at(name text, ids jsonb[], with_queues boolean) RETURNS TABLE(n bigint, state text, content text, hash bytea, noted text, embeddings real[], before text, after text, chunk_nos integer[], start_offsets integer[], end_offsets integer[], hashes bytea[], models text[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
declare
    one pgembedd.pipeline := _pipeline(name);
    noted text[] := _noted(one, ids, with_queues);
begin
    return query execute format($q$
        with living as (
            select array_agg(i.id order by i.n) as ids, array_agg(i.n order by i.n) as ns
            from unnest($1, $2) with ordinality as i(id, noted, n) where i.noted is distinct from 'dead')
        select i.n, r.state, r.content, r.hash, i.noted, s.embeddings, r.before, r.after, s.chunk_nos, s.start_offsets,
               s.end_offsets, s.hashes, s.models
        from unnest($1, $2) with ordinality as i(id, noted, n)
        left join (select l.ns[r.n] as n, r.state, r.content, r.hash, %1$s from living l, pgembedd.%2$s(%3$s, l.ids) r) r
            on r.n = i.n
        left join lateral (select %4$s from %5$s, %6$s s where %7$s) s on true
        order by i.n
        $q$,
        case when one.embedding_table is null then 'null::text as before, null::text as after' else 'r.before, r.after' end,
        case when one.embedding_table is null then 'read' else 'read_chunks' end, one.id, _stored(one),
        _key_record(one.source, 'i.id'), _target(one), _key_match(one.source, 's', 'k')) using ids, noted;
end $_$;
CREATE FUNCTION pgembedd._look_at_all(made pgembedd.pipeline) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $$
declare
    queued bigint;
begin
    execute _enqueue(made, made.backfill_queue, 'k.id', format('%s(%L) as k(id)', _pipeline_function(made.id, 'as_owner'),
        format('select %s from %s s', _key_json(made.source, 's'), made.source)));
    get diagnostics queued = row_count;
    if queued > 0 then perform _wake(made.backfill_queue); end if;
    return queued;
end $$;
CREATE FUNCTION pgembedd._many_rows() RETURNS bigint
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select 20000::bigint $$;
CREATE FUNCTION pgembedd._may_index(role oid, source regclass) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select pg_has_role(role, c.relowner, 'usage') and has_schema_privilege(role, c.relnamespace, 'create')
    from pg_class c where c.oid = source
$$;
CREATE FUNCTION pgembedd._mirror_all_rights() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    one pgembedd.pipeline;
begin
    for one in select p.* from pipeline p where p.embedding_table is not null order by p.id loop
        continue when not _exists(one.source) or not _exists(one.embedding_table);
        begin
            perform set_config('lock_timeout', '100ms', true), _mirror_rights(one);
        exception when others then
            raise warning 'the rights on % are left as they are: %', one.embedding_table, sqlerrm;
        end;
    end loop;
    perform set_config('lock_timeout', '2s', true);
end $$;
CREATE FUNCTION pgembedd._mirror_rights(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    secured boolean := (select relrowsecurity from pg_class where oid = pipeline.source);
    named text := (select quote_ident(relname) from pg_class where oid = pipeline.embedding_table);
    alias text := case when named = 's' then 't' else 's' end;
    relation regclass;
    item record;
begin
    if secured and not exists (select from pg_policy where polrelid = pipeline.embedding_table and polname = 'pgembedd_source') then
        -- Within it the embedding table has its own name only, which the alias must not hide.
        execute format('create policy pgembedd_source on %s for select using (exists (select from %s %s where %s))',
            pipeline.embedding_table, pipeline.source, alias, _key_match(pipeline.source, alias, named));
    end if;
    if secured <> (select relrowsecurity from pg_class where oid = pipeline.embedding_table) then
        execute format('alter table %s %s row level security', pipeline.embedding_table, case when secured then 'enable' else 'disable' end);
    end if;
    -- Before PostgreSQL 15 a view reads with the rights of its owner, whom the policies do not concern.
    if secured and current_setting('server_version_num')::integer < 150000 and _view(pipeline) is not null then
        execute format('drop view %s', _view(pipeline));
    end if;
    foreach relation in array array[pipeline.embedding_table, _view(pipeline)] loop
        -- What default privileges gave beside it: TRUNCATE, above all, asks no policy.
        for item in
            select distinct a.grantee, a.privilege_type from pg_class c, aclexplode(c.relacl) a
            where c.oid = relation and a.grantee <> c.relowner and a.privilege_type <> 'SELECT'
        loop
            execute format('revoke %s on %s from %s cascade', item.privilege_type, relation,
                case item.grantee when 0 then 'public' else item.grantee::regrole::text end);
        end loop;
        for item in
            select coalesce(given.grantee, has.grantee) as grantee, given.grantee is not null as wanted
            from (select distinct grantee from _readers(pipeline.source)) given
            full join (select distinct grantee from _readers(relation)) has using (grantee)
            where relation is not null and (given.grantee is null or has.grantee is null)
        loop
            execute format(case when item.wanted then 'grant select on %s to %s' else 'revoke select on %s from %s cascade' end, relation,
                case item.grantee when 0 then 'public' else item.grantee::regrole::text end);
        end loop;
    end loop;
end $$;
CREATE FUNCTION pgembedd._model_asked(pipeline text, model text, OUT wanted_model text, OUT wanted_fingerprint text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    one pgembedd.pipeline;
    models text[];
    fingerprints text[];
begin
    if pipeline is not null then
        one := _pipeline(pipeline);
        if model is not null and model <> one.model then
            perform _refuse(format('The pipeline "%s" has the model %s, not %s.', one.name, one.model, model),
                'Name the pipeline or the model, not both.');
        end if;
        wanted_model := one.model;
        wanted_fingerprint := one.fingerprint;
        return;
    end if;
    -- While a model is being changed the next one is there, too, and afterwards the previous one: not what is searched.
    select array_agg(distinct p.model), array_agg(distinct p.fingerprint) filter (where p.fingerprint is not null)
    into models, fingerprints
    from pipeline p where case when _model_asked.model is null then p.shadow_of is null else p.model = _model_asked.model end;
    wanted_model := coalesce(model, models[1]);
    wanted_fingerprint := fingerprints[1];
    if wanted_model is null then
        perform _refuse('There is no pipeline, so nothing says which model is meant.',
            'Name one with model => ''gte-small'', or make a pipeline with pgembedd.create_pipeline().');
    elsif cardinality(models) > 1 then
        perform _refuse(format('The pipelines have several models: %s.', array_to_string(models, ', ')),
            'Name the one that you search, with pipeline => ''…''.');
    elsif cardinality(fingerprints) > 1 then
        perform _refuse(format('Pipelines hold vectors of several states of %s: %s.', wanted_model, array_to_string(fingerprints, ', ')),
            'Name the one that you search, with pipeline => ''…''.');
    end if;
end $$;
CREATE FUNCTION pgembedd._near(pipeline pgembedd.pipeline, key jsonb, k integer, exact boolean) RETURNS jsonb[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    found_ones jsonb[];
    indexscan text := current_setting('enable_indexscan');
    seqscan text := current_setting('enable_seqscan');
begin
    perform set_config('enable_indexscan', case when exact then 'off' else 'on' end, true),
            set_config('enable_seqscan', case when exact then 'on' else 'off' end, true);
    execute 'select ' || _nearest(pipeline, k) into found_ones using key;
    perform set_config('enable_indexscan', indexscan, true), set_config('enable_seqscan', seqscan, true);
    return found_ones;
end $$;
CREATE FUNCTION pgembedd._nearest(pipeline pgembedd.pipeline, k integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select format($q$array(
        select %1$s from %2$s n where n.%3$I is not null
        order by n.%3$I operator(%4$I.%5$s) (
            select o.%3$I from %2$s o, %6$s where %7$s and o.%3$I is not null limit 1)
        limit %8$s)$q$,
        _key_json(pipeline.source, 'n'), _target(pipeline), _vector_column(pipeline), n.nspname,
        case pipeline.distance when 'cosine' then '<=>' when 'l2' then '<->' else '<#>' end,
        _key_record(pipeline.source, '$1'), _key_match(pipeline.source, 'o', 'k'), k)
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
$_$;
CREATE FUNCTION pgembedd._net_is_here() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select exists (
        select from pg_proc f join pg_roles r on r.oid = f.proowner
        where f.oid = to_regprocedure('net.http_post(text, jsonb, jsonb, jsonb, integer)')
          and (r.rolsuper or r.rolname = current_user or exists (
               select from pg_depend d join pg_extension e on e.oid = d.refobjid
               where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.refclassid = 'pg_extension'::regclass
                 and d.deptype = 'e' and e.extname = 'pg_net')))
$$;
CREATE FUNCTION pgembedd._next_keys(name text, after jsonb, at_most integer, orphans boolean DEFAULT false) RETURNS SETOF jsonb
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    one pgembedd.pipeline := _pipeline(name);
    later text;
    by_key text;
begin
    with columns as (
        select k.nth, format('s.%I%s', k.name, k.compared) as ours, format('k.%I%s', k.name, k.compared) as theirs, k.equals,
               _key_operator(one.source, k.nth, 1) as less, _key_operator(one.source, k.nth, 5) as greater,
               _key_operator(one.source, k.nth, 4) as not_less
        from _key_columns(one.source) k)
    select string_agg(format('%s using %s', c.ours, c.less), ', ' order by c.nth),
           -- The first column alone once more, outside of the OR, where the index can use it.
           format('%s and (%s)', min(format('%s %s %s', c.ours, c.not_less, c.theirs)) filter (where c.nth = 1),
               string_agg(concat_ws(' and ',
                   (select string_agg(format('%s %s %s', b.ours, b.equals, b.theirs), ' and ') from columns b where b.nth < c.nth),
                   format('%s %s %s', c.ours, c.greater, c.theirs)), ' or ' order by c.nth))
    into by_key, later from columns c;
    return query execute format('select %s from %s s%s where %s and %s order by %s limit %s',
        _key_json(one.source, 's'), case when orphans then one.embedding_table else one.source end,
        case when after is not null then ', ' || _key_record(one.source, '$1') else '' end,
        case when after is not null then later else 'true' end,
        case when orphans then format('not exists (select from %s x where %s)', one.source, _key_match(one.source, 'x', 's'))
             else 'true' end,
        by_key, at_most) using after;
end $_$;
CREATE FUNCTION pgembedd._note(headers jsonb, field text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- Others may write headers, too: what is no count counts nothing, and never stops a claim.
    select case when jsonb_typeof(headers -> 'pgembedd' -> field) = 'number'
                then least(greatest((headers -> 'pgembedd' ->> field)::numeric, 0), 1000000)::integer else 0 end
$$;
CREATE FUNCTION pgembedd._note_outcomes(pipeline_id integer, keys jsonb[], outcomes text[], blank boolean[], dropped integer[], lag interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
#variable_conflict use_column
begin
    delete from row_state r using unnest(keys, outcomes) as o(key, outcome)
    where r.pipeline_id = _note_outcomes.pipeline_id and r.key = o.key
      and o.outcome in ('written', 'unchanged', 'cleared', 'gone');
    delete from dead_letter d using unnest(keys, outcomes) as o(key, outcome)
    where d.pipeline_id = _note_outcomes.pipeline_id and d.key = o.key
      and o.outcome in ('written', 'unchanged', 'cleared', 'gone');
    insert into row_state (pipeline_id, key, state, dropped_tokens)
    select _note_outcomes.pipeline_id, o.key, case when o.blank then 'blank' else 'truncated' end, nullif(o.dropped, 0)
    from unnest(keys, outcomes, blank, dropped) as o(key, outcome, blank, dropped)
    where o.outcome in ('written', 'unchanged', 'cleared') and (o.blank or o.dropped > 0)
    on conflict on constraint row_state_pkey do update
    set state = excluded.state, dropped_tokens = excluded.dropped_tokens, since = excluded.since;
    insert into activity (pipeline_id, written, cleared, unchanged, gone, lag)
    select _note_outcomes.pipeline_id,
           count(*) filter (where o.outcome = 'written'), count(*) filter (where o.outcome = 'cleared'),
           count(*) filter (where o.outcome = 'unchanged'), count(*) filter (where o.outcome = 'gone'), lag
    from unnest(outcomes) as o(outcome)
    having count(*) filter (where o.outcome in ('written', 'cleared', 'unchanged', 'gone')) > 0;
end $$;
CREATE FUNCTION pgembedd._note_triggers(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    warning text := _trigger_warning(pipeline);
begin
    if warning is not distinct from pipeline.state_reason then return; end if;
    update pipeline p set state_reason = warning where p.id = _note_triggers.pipeline.id and p.state = 'running';
    if warning is null and pipeline.embedding_table is not null then  -- rows were deleted, perhaps, and their chunks were not
        execute format('select %s()', _pipeline_function(pipeline.id, 'tidy'));
    end if;
end $$;
CREATE FUNCTION pgembedd._noted(made pgembedd.pipeline, ids jsonb[], with_queues boolean) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    queue text;
    here jsonb[];
    queued jsonb[] := '{}';
begin
    if with_queues then
        foreach queue in array array[made.queue, made.backfill_queue] loop
            execute format('select array_agg(q.message -> ''id'') from %s q where q.message -> ''id'' = any ($1) and %s',
                _queue_table(queue), _is_for(made.id)) into here using ids;
            queued := queued || here;
        end loop;
    end if;
    return array(
        select case when i.id = any (queued) then 'queued' when r.state = 'dead' then 'dead' end
        from unnest(ids) with ordinality as i(id, n)
        left join row_state r on r.pipeline_id = made.id and r.key = i.id
        order by i.n);
end $_$;
CREATE FUNCTION pgembedd._own(signature text, owner regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    execute format('revoke all on function %s from public', signature);
    if (select proowner from pg_proc where oid = signature::regprocedure) <> owner then
        execute format('alter function %s owner to %s', signature, owner);
    end if;
end $$;
CREATE FUNCTION pgembedd._own_host() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when a.addresses && array['*', '0.0.0.0', 'localhost', '127.0.0.1'] then '127.0.0.1'
                when a.addresses && array['::', '::1'] then '::1'
                else nullif(a.addresses[1], '') end
    from (select regexp_split_to_array(btrim(current_setting('listen_addresses')), '\s*,\s*') as addresses) a
$$;
CREATE FUNCTION pgembedd._owner(relation regclass) RETURNS regrole
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select relowner::regrole from pg_class where oid = relation $$;
CREATE FUNCTION pgembedd._park(queue text, msg_id bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    execute format($q$
        update %s q set vt = 'infinity', headers = pgembedd._with_notes(q.headers,
            jsonb_build_object('deferrals', pgembedd._note(q.headers, 'deferrals') + 1))
        where q.msg_id = $1 $q$, _queue_table(queue)) using msg_id;
end $_$;
CREATE FUNCTION pgembedd._party() RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select $q$"left"(coalesce(q.message ->> 'pipeline', 'table ' || (q.message ->> 'table'), ''), 63) collate "C"$q$
$_$;
CREATE FUNCTION pgembedd._pending(pipeline pgembedd.pipeline, pending regclass, alias text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when pending is null then 'false'
                else format('exists (select from %s q where %s)', pending, _key_match(pipeline.source, 'q', alias)) end
$$;
CREATE FUNCTION pgembedd._percent(source regclass, pages integer) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select case when sum(l.pages) > 2 * $2 then 100.0 * $2 / sum(l.pages) else 100 end from _leaves(source) l
$_$;
CREATE FUNCTION pgembedd._pipeline(name text) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    found_one pgembedd.pipeline;
begin
    select p.* into found_one from pipeline p where p.name = $1;
    if found_one.id is null then
        perform _refuse(format('There is no pipeline "%s".', name),
            coalesce('There are: ' || (select string_agg(p.name, ', ' order by p.name) from pipeline p) || '.',
                     'There is none at all; pgembedd.create_pipeline() makes one.'));
    end if;
    return found_one;
end $_$;
CREATE FUNCTION pgembedd._pipeline_function(id integer, verb text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select format('pgembedd_code.pipeline_%s_%s', id, verb) $$;
CREATE FUNCTION pgembedd._pipeline_of(message jsonb) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select p.id from pipeline p
    where coalesce(message -> 'id', 'null') <> 'null' and case when message ? 'pipeline'
        then p.id::text = message ->> 'pipeline'
        else p.embedding_column = message ->> 'embeddingColumn' and exists (
            select from pg_class c join pg_namespace n on n.oid = c.relnamespace
            -- The row trigger of a partitioned table names the partition.
            where p.source in (c.oid, pg_partition_root(c.oid))
              and c.relname = message ->> 'table' and n.nspname = message ->> 'schema') end
$$;
CREATE FUNCTION pgembedd._post_question(id uuid, model text, fingerprint text, kind text, content text, timeout interval) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    insert into question (id, model, fingerprint, kind, content, expires_at)
    values (id, model, fingerprint, kind, content, clock_timestamp() + timeout);
    perform pg_notify('pgembedd_questions', '');
end $$;
CREATE FUNCTION pgembedd._posted(jobs jsonb) RETURNS TABLE(n bigint, job jsonb, queue text, msg_id bigint, read_ct integer, problem text)
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select j.n, j.job, coalesce(j.job ->> 'queue', 'embedding_jobs'), _whole(j.job -> 'jobId', 9223372036854775807),
           case when coalesce(j.job -> 'readCt', 'null') <> 'null' then coalesce(_whole(j.job -> 'readCt', 2147483647), -1)::integer end,
           case when _whole(j.job -> 'jobId', 9223372036854775807) is null
                then 'This is no job: it has no jobId, or one that is no whole number.' end
    from jsonb_array_elements(jobs) with ordinality as j(job, n)
$$;
CREATE FUNCTION pgembedd._problem(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    missing text;
    actual text;
begin
    if not _exists(pipeline.source) then
        return format('The table %s was dropped. Remove the pipeline with pgembedd.drop_pipeline(%L)%s.', pipeline.source_name, pipeline.name,
            case when to_regclass(pipeline.source_name) is not null then ', then create it again for the new table of that name' else '' end);
    end if;
    if _inherits(pipeline.source) then
        return format('%s takes part in table inheritance, or is one partition of a table, by now. Undo that, or drop the pipeline "%s" '
            'and register the partitioned table.', pipeline.source, pipeline.name);
    end if;
    select string_agg(distinct format('"%s"', c), ', ') into missing
    from unnest(pipeline.content_columns || pipeline.watch_columns || pipeline.embedding_column
                || _formatting_columns(pipeline.formatting)) as c
    where c is not null and not exists (select from pg_attribute a where a.attrelid = pipeline.source and a.attname = c and not a.attisdropped);
    if missing is not null then
        return format('%s has no column %s any more. Rename it back, or drop the pipeline "%s" and create it again.', pipeline.source, missing, pipeline.name);
    end if;
    if pipeline.key_columns is distinct from array(select k.name from _key_columns(pipeline.source) k) then
        return format('The primary key of %s changed. Drop the pipeline "%s" and create it again; the vectors stay.', pipeline.source, pipeline.name);
    end if;
    if pipeline.content_function is not null
       and to_regprocedure(format('%s(%s)', pipeline.content_function, pipeline.source)) is null then
        return format('The content function %s(%s) is gone. Create it again, then call pgembedd.resume(%L).', pipeline.content_function, pipeline.source, pipeline.name);
    end if;
    if _hidden_from_owner(pipeline.source) is not null then
        return _hidden_from_owner(pipeline.source);
    end if;
    select format_type(a.atttypid, a.atttypmod) into actual from pg_attribute a
    where a.attrelid = pipeline.source and a.attname = pipeline.embedding_column;
    if actual <> format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions) then
        return format('%s.%I is %s now, but the pipeline writes %s(%s). Change the type back, or drop the pipeline "%s" and create it again.',
            pipeline.source, pipeline.embedding_column, actual, pipeline.vector_type, pipeline.dimensions, pipeline.name);
    end if;
    return case when pipeline.embedding_table is not null then _table_problem(pipeline) end;
end $$;
CREATE FUNCTION pgembedd._propose_chunks(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    started timestamptz := clock_timestamp();
    keys jsonb[];
    seen bigint := 0;
    long bigint := 0;
    these record;
begin
    if made.embedding_table is not null then return; end if;
    keys := array(select jsonb_array_elements(nullif(_ask(made, format(
        'select pg_catalog.jsonb_agg(k.id) from (select %s as id from %s s %s order by pg_catalog.random() limit 200) k',
        _key_json(made.source, 's'), made.source, _sample(_percent(made.source, 50)))), 'null')));
    for n in 1 .. coalesce(cardinality(keys), 0) by 10 loop
        exit when clock_timestamp() > started + interval '1 second';  -- a slow content function, or texts of megabytes
        execute format('select count(*) as seen, count(*) filter (where pgembedd._tokens(r.content) > 512) as long from %s($1) r',
            _pipeline_function(made.id, 'read')) into these using keys[n : n + 9];
        seen := seen + these.seen;
        long := long + these.long;
    end loop;
    if long * 20 > seen then
        raise notice '% of % rows of % that were looked at seem to be longer than 512 tokens, which is about what goes into one vector: the rest of their text would not be found.',
            long, seen, made.source
            using hint = format('Drop the pipeline and create it with embedding_table => %L instead of an embedding_column: '
                                'then long texts are cut into chunks, each with a vector of its own. The lengths are estimates.',
                                (select relname from pg_class where oid = made.source) || '_embeddings');
    end if;
exception when others then
    raise notice 'The content of % could not be looked at: %', made.source, sqlerrm;
end $_$;
CREATE FUNCTION pgembedd._pushed_state(queue text, msg_id bigint, posted jsonb, taken boolean, OUT state text, OUT reason text) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    one record;
begin
    execute format('select q.vt, q.read_ct, q.message, q.headers from %s q where q.msg_id = $1', _queue_table(queue))
        into one using msg_id;
    state := 'failed';
    if one.vt is null then
        if exists (select from dead_letter d where d.queue = _pushed_state.queue and d.key is not distinct from posted -> 'id'
                   and _agrees(posted, d.message)) then
            reason := 'It was given up: see pgembedd.failures.';
        else
            state := 'done';  -- somebody did it, or nobody wants it any more
        end if;
    elsif not _agrees(posted, one.message) then
        reason := 'The message of this jobId is about something else than what was posted.';
    elsif one.vt = 'infinity' then
        reason := 'Its pipeline does not run; the job waits in the queue for pgembedd.resume().';
    elsif _note(one.headers, 'answered') = one.read_ct and one.read_ct > 0 then
        reason := 'It waits in the queue for its next attempt.';
    elsif taken then
        state := 'claimed';
    elsif one.read_ct = 0 then
        reason := 'It is not due yet.';
    else
        reason := 'Another request or worker has claimed it.';
    end if;
end $_$;
CREATE FUNCTION pgembedd._put_question(question pgembedd.question, timeout interval) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    deadline timestamptz := clock_timestamp() + timeout;
    line text := 'pgembedd ' || gen_random_uuid();
    posted boolean := false;
    answer record;
begin
    question.id := gen_random_uuid();
    begin
        perform _connect(line);
        posted := true;
        execute format('select * from %s.dblink($1, $2) as t(posted text)', _dblink()) using line, _unseen(format(
            'select pgembedd._post_question(%L, %L, %L, %L, %L, %L)',
            question.id, question.model, question.fingerprint, question.kind, question.content, timeout));
        loop
            -- In short turns, so that a cancelled caller is not kept for long: before Postgres 17 dblink hears nothing.
            execute format('select * from %s.dblink($1, $2) as t(embedding text, refusal text)', _dblink()) into answer
            using line, _unseen(format('select embedding, refusal from pgembedd._await_answer(%L, %L)',
                question.id, least(interval '200 ms', deadline - clock_timestamp())));
            exit when num_nonnulls(answer.embedding, answer.refusal) > 0 or clock_timestamp() >= deadline;
        end loop;
        if num_nonnulls(answer.embedding, answer.refusal) = 0 then
            execute format('select * from %s.dblink($1, $2) as t(forgotten text)', _dblink())
            using line, _unseen(format('select pgembedd._forget_question(%L)', question.id));
        end if;
        perform _disconnect(line);
    exception when query_canceled or others then
        perform _disconnect(line);
        if posted then
            perform _take_back(question.id);
        end if;
        raise;
    end;
    if answer.refusal is not null then
        raise exception '%', answer.refusal using errcode = 'object_not_in_prerequisite_state';
    elsif answer.embedding is null then
        raise exception 'No answer came within %, though % connected.', timeout,
            case cardinality(coalesce(_hearers(), '{}')) when 1 then 'a worker is' else cardinality(coalesce(_hearers(), '{}')) || ' workers are' end
            using errcode = 'object_not_in_prerequisite_state',
            hint = 'They are busy, or still loading the model: ask again, give it longer with timeout => …, or start another worker.';
    end if;
    return answer.embedding;
end $_$;
CREATE FUNCTION pgembedd._qualified_type(type oid) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select format('%I.%I', n.nspname, t.typname)
    from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = type
$$;
CREATE FUNCTION pgembedd._queue_bytes(queue text) RETURNS bigint
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select coalesce(sum(pg_relation_size(t.relid)), pg_relation_size(_queue_table(queue)))::bigint
    from pg_partition_tree(_queue_table(queue)) t  -- has no rows where there are no partitions
$$;
CREATE FUNCTION pgembedd._queue_table(queue text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    -- pgmq folds to lower case and adds prefixes; a strict name needs no quoting anywhere.
    if queue is null or queue !~ '^[a-z_][a-z0-9_]{0,39}$' then
        raise exception 'The queue name % is not usable: take lower-case letters, digits and _, at most 40.',
            coalesce(quote_literal(queue), 'NULL') using errcode = 'invalid_parameter_value';
    end if;
    return 'pgmq.q_' || queue;
end $_$;
CREATE FUNCTION pgembedd._queued() RETURNS TABLE(pipeline_id integer, lane text, queued bigint, failing bigint, oldest timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    lane record;
begin
    for lane in
        select l.queue as name, 'fresh' as kind from lanes() l union all select l.backfill_queue, 'backfill' from lanes() l
    loop
        continue when to_regclass(_queue_table(lane.name)) is null;
        return query execute format($q$
            select pgembedd._pipeline_of(coalesce(q.other, jsonb_build_object('id', 0, 'pipeline', q.named))), %L,
                   sum(q.n)::bigint, sum(q.failing)::bigint, min(q.oldest)
            from (select q.message ->> 'pipeline' as named,
                         case when not q.message ? 'pipeline' then q.message || '{"id": 0}' end as other,
                         count(*) as n, min(q.enqueued_at) as oldest,
                         count(*) filter (where q.headers is not null and pgembedd._note(q.headers, 'attempts') > 0) as failing
                  from %s q group by 1, 2) q
            group by 1 $q$, lane.kind, _queue_table(lane.name));
    end loop;
end $_$;
CREATE FUNCTION pgembedd._read_queue(queue text, qty integer, lease_s integer, poll_s integer) RETURNS TABLE(msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if _dealt(queue) then
        return query select r.* from _deal(queue, qty, lease_s) r;
    else
        return query select r.* from _take_oldest(queue, qty, lease_s) r;
    end if;
    if not found and poll_s > 0 then
        return query select r.msg_id, r.read_ct, r.message, r.headers, r.enqueued_at
        from pgmq.read_with_poll(queue_name => queue, vt => lease_s, qty => qty, max_poll_seconds => poll_s) r;
    end if;
end $$;
CREATE FUNCTION pgembedd._readers(relation regclass) RETURNS TABLE(grantee oid)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select a.grantee from pg_class c, aclexplode(c.relacl) a
    where c.oid = relation and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
$$;
CREATE FUNCTION pgembedd._recall(pipeline pgembedd.pipeline, keys jsonb[], k integer) RETURNS numeric
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select round(avg(_share(_near(pipeline, s.key, k, true), _near(pipeline, s.key, k, false))), 3) from unnest(keys) as s(key)
$$;
CREATE FUNCTION pgembedd._record(columns text[], alias text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select format('row(%s)::pg_catalog.record', string_agg(format('%s.%I', alias, c), ', ')) from unnest(columns) as c $$;
CREATE FUNCTION pgembedd._refuse(message text, remedy text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if remedy is null then
        raise exception using message = message, errcode = 'invalid_parameter_value';
    end if;
    raise exception using message = message, hint = remedy, errcode = 'invalid_parameter_value';
end $$;
CREATE FUNCTION pgembedd._refuse_dead(pipeline pgembedd.pipeline, key jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    letter pgembedd.dead_letter;
begin
    select d.* into letter from dead_letter d
    where d.pipeline_id = pipeline.id and (d.key = _refuse_dead.key or d.key #>> '{}' = _refuse_dead.key #>> '{}')
    order by d.died_at desc limit 1;
    if letter.id is not null then
        raise exception 'The row % of the pipeline "%" was given up (%): %', key, pipeline.name, letter.reason, letter.error
            using errcode = 'object_not_in_prerequisite_state', hint = format(
                'See pgembedd.failures; when the cause is gone, call pgembedd.retry_failed(%L).', pipeline.name);
    end if;
end $$;
CREATE FUNCTION pgembedd._refuse_to_wait_for_ever(timeout interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if timeout is null then
        perform _refuse('The timeout is NULL: wait_for would never give up.', 'Give an interval, for example ''1 minute''.');
    end if;
end $$;
CREATE FUNCTION pgembedd._refuse_to_wait_unseen() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if pg_current_xact_id_if_assigned() is not null then
        raise exception 'wait_for cannot wait inside a transaction that has written: no worker sees its rows yet.'
            using errcode = 'active_sql_transaction', hint = 'COMMIT first.';
    end if;
end $$;
CREATE FUNCTION pgembedd._regenerate(pipeline pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    owner regrole := _owner(pipeline.source);
    relation regclass;
    item record;
begin
    -- A partition that was detached is nothing to us any more.
    for item in
        select g.tgname as name, g.tgrelid::regclass as relation from pg_trigger g join pg_proc f on f.oid = g.tgfoid
        where f.pronamespace = 'pgembedd_code'::regnamespace and starts_with(f.proname, format('pipeline_%s_', pipeline.id))
          and g.tgparentid = 0 and g.tgrelid <> pipeline.source
          and not exists (select from pg_partition_tree(pipeline.source) t where t.relid = g.tgrelid)
    loop
        execute format('drop trigger %I on %s', item.name, item.relation);
    end loop;
    if pipeline.embedding_table is not null then
        foreach relation in array array[pipeline.embedding_table, _view(pipeline)] loop
            if _owner(relation) <> owner then
                execute format('alter table %s owner to %s', relation, owner);
            end if;
        end loop;
    end if;
    perform _generate(pipeline);
    if pipeline.embedding_table is not null then
        execute format('select %s()', _pipeline_function(pipeline.id, 'tidy'));
    end if;
end $$;
CREATE FUNCTION pgembedd._register_guest(wanted pgembedd.pipeline) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    typmod integer;
    namespace text := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = wanted.source);
begin
    select t.typname, a.atttypmod into wanted.vector_type, typmod
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = wanted.source and a.attname = wanted.embedding_column and a.attnum > 0 and not a.attisdropped
      and a.attgenerated = '' and t.oid in (to_regtype(_vector_type('halfvec')), to_regtype(_vector_type('vector')));
    if wanted.vector_type is null then
        perform _refuse(format('%s has no column "%s" of the type halfvec or vector.', wanted.source, wanted.embedding_column),
            format('Add it with ALTER TABLE %s ADD COLUMN %I halfvec(384).', wanted.source, wanted.embedding_column));
    end if;
    wanted.dimensions := case when typmod > 0 then typmod else 384 end;
    wanted.state_reason := case
        when typmod <= 0 then format('%s.%I has no dimensions. Run ALTER TABLE %s ALTER COLUMN %I TYPE %s(384), then call pgembedd.resume(%L).',
            wanted.source, wanted.embedding_column, wanted.source, wanted.embedding_column, _vector_type(wanted.vector_type), wanted.name)
        when typmod <> 384 then format('%s.%I has %s dimensions, gte-small makes 384. If these vectors are of another model that '
            'pgembedd has, call pgembedd.drop_pipeline(%L) and pgembedd.create_pipeline(..., adopt => true, model => ..., dimensions => %s).',
            wanted.source, wanted.embedding_column, typmod, wanted.name, typmod) end;
    insert into pipeline (
        name, source, source_name, key_columns, content_function, watch_columns, embedding_column, model, dimensions,
        vector_type, distance, on_update, queue, backfill_queue, max_attempts, search_path, m, ef_construction,
        own_triggers, state, state_reason)
    values (
        wanted.name, wanted.source, wanted.source_name, wanted.key_columns, wanted.content_function, '{}',
        wanted.embedding_column, 'gte-small', wanted.dimensions, wanted.vector_type,
        _indexed_distance(wanted.source, wanted.embedding_column), 'keep', wanted.queue, wanted.backfill_queue, 5,
        -- Where a hosted project's own connections look things up: its table's schema, public, and that of extensions.
        (select string_agg(quote_ident(s.name), ', ' order by s.nth)
         from (select u.name, min(u.nth) as nth from unnest(array[namespace, 'public',
                (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector')])
                with ordinality as u(name, nth) group by u.name) s),
        16, 64, false, case when wanted.state_reason is null then 'running' else 'stopped' end, wanted.state_reason)
    returning * into wanted;
    perform _generate(wanted);
    perform _tell_created(wanted, 0);
    if wanted.state = 'stopped' then
        perform _tell('stopped', wanted.id, jsonb_build_object('reason', wanted.state_reason));
    end if;
    return wanted;
end $$;
CREATE FUNCTION pgembedd._release(queue text, msg_ids bigint[], read_cts integer[], delay interval, note jsonb DEFAULT '{}'::jsonb) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    released integer;
begin
    execute format($q$
        with held as (
            select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
            where pgembedd._note(q.headers, 'answered') <> q.read_ct
            order by q.msg_id for update of q)
        update %1$s q
        set vt = clock_timestamp() + $3 * (0.75 + 0.5 * random()),
            headers = pgembedd._with_notes(q.headers,
                jsonb_build_object('deferrals', pgembedd._note(q.headers, 'deferrals') + 1, 'alone', 0,
                    'answered', q.read_ct) || $4)
        from held where held.msg_id = q.msg_id
        $q$, _queue_table(queue)) using msg_ids, read_cts, delay, note;
    get diagnostics released = row_count;
    return released;
end $_$;
CREATE FUNCTION pgembedd._remembered(secret uuid, key text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    memo text := current_setting('pgembedd.answer', true);  -- key, seal, answer
begin
    if starts_with(memo, key) and substr(memo, 65, 64) = _seal(secret, key, substr(memo, 129)) then
        return substr(memo, 129);
    end if;
    return null;
end $$;
CREATE FUNCTION pgembedd._rename_both(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
begin
    perform pg_advisory_xact_lock(_swap_key(least(current.id, beside.id))), pg_advisory_xact_lock(_swap_key(greatest(current.id, beside.id)));
    perform from pipeline p where p.id in (current.id, beside.id) order by p.id for update;
    if (_successor(_pipeline(current.name), beside.shadow)).id <> beside.id then
        perform _refuse(format('"%s" is not the pipeline any more that it was a moment ago.', beside.name), 'See pgembedd.status.');
    end if;
    perform set_config('lock_timeout', '500ms', true);
    execute format('lock table %s in %s mode', current.source, _swap_mode(current));
    perform set_config('lock_timeout', '100ms', true);
    if current.embedding_table is null then
        perform _copy_rights(current.source, current.embedding_column, beside.embedding_column);
        perform _rename_column(current, _beside(current.embedding_column, suffix)), _rename_column(beside, current.embedding_column);
    else
        perform _rename_table(t.pipeline, t.to_name)
        from (select relname from pg_class where oid = current.embedding_table) c,
             lateral (values (1, current, _beside(c.relname, suffix)), (2, beside, c.relname)) as t(nth, pipeline, to_name)
        order by t.nth;
    end if;
end $$;
CREATE FUNCTION pgembedd._rename_column(pipeline pgembedd.pipeline, to_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    execute format('alter table %s rename column %I to %I', pipeline.source, pipeline.embedding_column, to_name);
end $$;
CREATE FUNCTION pgembedd._rename_table(pipeline pgembedd.pipeline, to_name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    joined regclass := _view(pipeline);
begin
    -- In the order in which a reader of the view locks them.
    if joined is not null then
        execute format('alter view %s rename to %I', joined, _cut(to_name, 58) || '_view');
    end if;
    execute format('alter table %s rename to %I', pipeline.embedding_table, to_name);
end $$;
CREATE FUNCTION pgembedd._rename_when_free(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    give_up_at timestamptz := clock_timestamp() + interval '10 s';
begin
    loop
        begin
            perform _rename_both(current, beside, suffix);
            return;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > give_up_at then
                perform _refuse(format('Others use %s, or what holds its vectors, all the time; nothing was changed.', current.source),
                    'See pg_stat_activity for transactions that stay open, and call it again.');
            end if;
        end;
        perform _await_free(current.source, _swap_mode(current));
        if current.embedding_table is not null then
            perform _await_free(current.embedding_table, 'access exclusive'), _await_free(beside.embedding_table, 'access exclusive');
        end if;
    end loop;
end $$;
CREATE FUNCTION pgembedd._repair() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    one pgembedd.pipeline;
    problem text;
    told text;
    queue text;
begin
    for queue in select l.queue from lanes() l union select l.backfill_queue from lanes() l loop
        perform _ensure_queue(queue);
    end loop;
    for one in select p.* from pipeline p order by p.id loop
        begin
            problem := _problem(one);
            told := problem;
            if problem is null then
                perform _regenerate(one);
            end if;
        exception when others then
            problem := format('The repair failed: %s. Mend that, then call pgembedd.resume(%L).', sqlerrm, one.name);
            told := 'The repair failed; pgembedd.status says of what.';
        end;
        if problem is not null then
            perform _stop(one.id, problem, told);
        end if;
    end loop;
    return sweep();
end $$;
CREATE FUNCTION pgembedd._row_count(pipeline pgembedd.pipeline) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '100ms'
    AS $$
declare
    percent double precision;
    seen bigint;
begin
    percent := _percent(pipeline.source, 300);
    seen := _ask(pipeline, format('select pg_catalog.to_jsonb(pg_catalog.count(*)) from %s s %s', pipeline.source, _sample(percent)));
    return round(_rows(pipeline.source, seen, percent));
exception when others then
    return null;
end $$;
CREATE FUNCTION pgembedd._row_hash(pipeline pgembedd.pipeline, content text, before text, after text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when pipeline.formatting is null then _hash(content)
                else format('pg_catalog.sha256(%s operator(pg_catalog.||) %s operator(pg_catalog.||) %s)',
                            _hash(content), _hash(before), _hash(after)) end
$$;
CREATE FUNCTION pgembedd._row_jobs(pipeline pgembedd.pipeline, id jsonb, OUT key jsonb, OUT fresh bigint[], OUT backfill bigint[], OUT made boolean) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    -- Others' triggers may write a number as a string.
    jobs text := format('array(select q.msg_id from %%s q where (q.message -> ''id'' = w.key or q.message ->> ''id'' = w.key #>> ''{}'') and %s)',
                        _is_for(pipeline.id));
begin
    if _problem(pipeline) is not null then perform _refuse(_problem(pipeline)); end if;
    begin
        -- One statement, one snapshot: a job that is gone has left its vector.
        execute format($q$
            with w as materialized (
                select %1$s as key, %2$s as waits from %3$s join %4$s s on %5$s)
            select w.key, %6$s, %7$s, w.waits and not exists (
                select from pgembedd.row_state r where r.pipeline_id = %8$s and r.key = w.key and r.state in ('blank', 'dead'))
            from w $q$,
            _key_json(pipeline.source, 's'), _waits(pipeline), _key_record(pipeline.source, '$1'), pipeline.source,
            _key_match(pipeline.source, 's', 'k'), format(jobs, _queue_table(pipeline.queue)),
            format(jobs, _queue_table(pipeline.backfill_queue)), pipeline.id)
        into key, fresh, backfill, made using id;
    exception when data_exception or integrity_constraint_violation then  -- of a domain, too
        perform _refuse(format('%s cannot be the key of a row of %s: %s.', id, pipeline.source, sqlerrm), _key_in_words(pipeline));
    end;
    if key is null then
        perform _refuse(format('%s has no row %s.', pipeline.source, coalesce(id::text, 'NULL')), _key_in_words(pipeline));
    end if;
    made := made and fresh = '{}' and backfill = '{}';
    if made then
        execute _enqueue(pipeline, pipeline.queue, '$1', '(select) w') || ' returning array[msg_id]' into fresh using key;
        perform _wake(pipeline.queue);
    end if;
end $_$;
CREATE FUNCTION pgembedd._row_version(pipeline pgembedd.pipeline, key jsonb) RETURNS text
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select _ask(pipeline, format(
        'select pg_catalog.to_jsonb(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(%s::pg_catalog.text, ''UTF8'')), ''hex'')) from %s join %s s on %s',
        _record(coalesce(nullif(pipeline.watch_columns, '{}'), _watchable_columns(pipeline.source)), 's'),
        _key_record(pipeline.source, quote_literal(key) || '::pg_catalog.jsonb'), pipeline.source,
        _key_match(pipeline.source, 's', 'k'))) #>> '{}'
$$;
CREATE FUNCTION pgembedd._rows(pipeline pgembedd.pipeline, transition text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    with named as (
        select d.c as name, coalesce('::' || k.type, '') as type
        from (select distinct c from unnest(pipeline.key_columns || pipeline.watch_columns || pipeline.embedding_column) as c) d
        left join _key_columns(pipeline.source) k on k.name = d.c
        where d.c is not null)
    select format('(select v.* from (select %s) f cross join %I r cross join lateral (select %s from (select r.*) x) v where %s)',
        string_agg(format('null%s as %I', type, name), ', ' order by name), transition,
        string_agg(quote_ident(name), ', ' order by name),
        (select string_agg(format('v.%I is distinct from null', k), ' and ') from unnest(pipeline.key_columns) as k))
    from named
$$;
CREATE FUNCTION pgembedd._rows(source regclass, seen bigint, percent double precision) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when percent = 100 then seen
                else coalesce(sum(l.pages * coalesce(l.density, seen / nullif(percent / 100 * t.pages, 0))), 0) end
    from _leaves(source) l cross join (select sum(pages)::double precision as pages from _leaves(source)) t
$$;
CREATE FUNCTION pgembedd._run_as_owner(pipeline pgembedd.pipeline, signature text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    installer regrole := (select nspowner from pg_namespace where nspname = 'pgembedd');
    source_owner regrole := (select relowner from pg_class where oid = pipeline.source);
begin
    -- What search_path may hold is not always what SET takes: a connection's options need no quotes.
    perform set_config('search_path', pipeline.search_path, true);
    execute pg_catalog.format('alter function %s set search_path from current', signature);
    perform pg_catalog.set_config('search_path', 'pg_catalog, pgembedd, pg_temp', true);
    if source_owner = installer then
        perform _own(signature, installer);
        return;
    end if;
    -- Our rows carry no content, but these functions do: nobody but the installer's own functions may call them.
    if not has_schema_privilege(source_owner, 'pgembedd_code', 'create') then
        execute format('grant create on schema pgembedd_code to %s', source_owner);
        perform _own(signature, source_owner);
        execute format('revoke create on schema pgembedd_code from %s', source_owner);
    else
        perform _own(signature, source_owner);
    end if;
    execute format('grant execute on function %s to %s', signature, installer);
end $$;
CREATE FUNCTION pgembedd._sample(percent double precision) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select case when percent < 100 then format('tablesample system (%s) repeatable (0)', percent) else '' end $$;
CREATE FUNCTION pgembedd._sample_keys(name text, wanted integer, seed bigint, orphans boolean DEFAULT false) RETURNS SETOF jsonb
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    one pgembedd.pipeline := _pipeline(name);
    relation regclass := case when orphans then one.embedding_table else one.source end;
    estimated bigint := greatest(_estimated_rows(relation), 1);
    percent double precision := case when estimated <= 100000 then 100 else least(100, 100.0 * 20 * wanted / estimated) end;
    keys jsonb[];
begin
    loop
        execute format($q$
            select array_agg(w.id) from (
                select d.id from (select %1$s as id from %2$s s %3$s limit %4$s) d
                group by d.id order by pg_catalog.hashtextextended(d.id::text, $1), d.id limit %5$s) w
            $q$, _key_json(one.source, 's'), relation,
            case when percent < 100 then format('tablesample system (%s) repeatable (%s)', percent, seed) else '' end,
            -- Where the estimate is far too low, a bounded part of the table is the sample.
            greatest(1000000, 200::bigint * wanted), wanted) into keys using seed;
        exit when percent >= 100 or coalesce(cardinality(keys), 0) >= wanted;
        percent := least(100, percent * 8);
    end loop;
    if orphans then
        return query execute format('select i.id from unnest($1) as i(id) cross join lateral %s
                                     where not exists (select from %s s where %s)',
            _key_record(one.source, 'i.id'), one.source, _key_match(one.source, 's', 'k')) using keys;
    else
        return query select unnest(keys);
    end if;
end $_$;
CREATE FUNCTION pgembedd._schedule_index(made pgembedd.pipeline) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $_$
declare
    me oid := current_user::regrole;
    statement text;
begin
    if not _has_cron(me) or not _may_index(me, _target(made)) then return; end if;
    for statement in select _index_statements(made) loop
        if statement like 'create index concurrently %' then
            execute 'select cron.schedule($1, $2, $3)' using format('pgembedd-index-%s', made.id), '* * * * *', statement;
            return;
        end if;
        execute statement;
    end loop;
end $_$;
CREATE FUNCTION pgembedd._schedule_push() RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    target pgembedd.push;
    job record;
    command constant text := 'select pgembedd.process_embeddings()';
begin
    select p.* into target from push p;
    if to_regclass('cron.job') is null or to_regprocedure('cron.schedule(text, text, text)') is null then
        return case
            when target.url is null then 'Nothing is pushed.'
            when not _net_is_here() then 'Nothing is pushed yet: neither pg_net nor pg_cron is in this database. CREATE EXTENSION both, then run `pgembedd migrate`.'
            else 'Nothing is scheduled: pg_cron is not in this database. CREATE EXTENSION pg_cron and run `pgembedd migrate`, or have '
                 'pgembedd.process_embeddings() called by a schedule of yours.' end;
    end if;
    for job in select j.jobid, j.username from cron.job j where j.jobname = 'pgembedd-push' and j.database = current_database() loop
        if target.url is null or not _net_is_here() then
            perform cron.unschedule(job.jobid);
        else
            perform cron.alter_job(job.jobid, schedule => target.every, command => command);
        end if;
    end loop;
    if target.url is null then
        return 'Nothing is pushed.';
    elsif not _net_is_here() then
        return 'Nothing is pushed yet: pg_net is not in this database. CREATE EXTENSION pg_net, then run `pgembedd migrate`.';
    elsif job is null then
        perform cron.schedule('pgembedd-push', target.every, command);
    end if;
    return format('pg_cron posts waiting jobs to %s (%s).', target.url, target.every);
exception when insufficient_privilege then
    return format('Nothing is scheduled: %s may not use pg_cron here. Have somebody who may call: select cron.schedule(''pgembedd-push'', %L, %L).',
        quote_ident(current_user), coalesce(target.every, '10 seconds'), command);
end $$;
CREATE FUNCTION pgembedd._scram(password text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    salt bytea := uuid_send(gen_random_uuid());
    salted bytea := _hmac(convert_to(password, 'UTF8'), salt || '\x00000001');
begin
    return format('SCRAM-SHA-256$1:%s$%s:%s', encode(salt, 'base64'),
        encode(sha256(_hmac(salted, 'Client Key')), 'base64'), encode(_hmac(salted, 'Server Key'), 'base64'));
end $_$;
CREATE FUNCTION pgembedd._seal(secret uuid, key text, answer text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select encode(sha256(convert_to(secret || key || answer || secret, getdatabaseencoding())), 'hex') $$;
CREATE FUNCTION pgembedd._shadow(current pgembedd.pipeline) RETURNS pgembedd.pipeline
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select p from pipeline p where p.shadow_of = current.id $$;
CREATE FUNCTION pgembedd._shape(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select concat_ws(' ', pipeline.source, _owner(pipeline.source), pipeline.embedding_table, _owner(pipeline.embedding_table),
                     (select string_agg(concat_ws(' ', k.name, k.type, k.equals, k.compared), ', ' order by k.nth) from _key_columns(pipeline.source) k),
                     (select md5(string_agg(t.relid::oid::text, ' ' order by t.relid)) from pg_partition_tree(pipeline.source) t))
$$;
CREATE FUNCTION pgembedd._share(wanted jsonb[], found_ones jsonb[]) RETURNS numeric
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select count(*) filter (where w = any (found_ones))::numeric / nullif(count(*), 0) from unnest(wanted) as w
$$;
CREATE FUNCTION pgembedd._sharing() RETURNS TABLE(queue text, shared boolean, index regclass, valid boolean, dealt boolean, may boolean, online boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select l.queue, l.users > 1, i.indexrelid::regclass, i.indisvalid, coalesce(_dealt(l.queue), false),
           pg_has_role(s.nspowner, c.relowner, 'usage') and has_schema_privilege(s.nspowner, 'pgmq', 'create'),
           c.relkind = 'r' and pg_has_role(current_user, c.relowner, 'usage')
               and has_schema_privilege('pgmq', 'create')
    from (select u.queue, count(*) as users from pipeline p
          cross join lateral unnest(array[p.queue, p.backfill_queue]) as u(queue) group by u.queue) l
    join pg_namespace s on s.nspname = 'pgembedd'
    join pg_namespace n on n.nspname = 'pgmq'
    join pg_class c on c.relnamespace = n.oid and c.relname = 'q_' || l.queue
    left join pg_class x on x.relnamespace = n.oid and x.relname = _sharing_index_name(l.queue)
    left join pg_index i on i.indexrelid = x.oid and i.indrelid = c.oid
$$;
CREATE FUNCTION pgembedd._sharing_index(queue text, online boolean DEFAULT false) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select format('create index %s %I on %s ((%s), vt)', case when online then 'concurrently' end,
                  _sharing_index_name(queue), _queue_table(queue), replace(_party(), 'q.message', 'message'))
$$;
CREATE FUNCTION pgembedd._sharing_index_name(queue text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select format('q_%s_by_party', queue) $$;
CREATE FUNCTION pgembedd._sound(name text) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
begin
    if _problem(found_one) is not null then perform _refuse(_problem(found_one)); end if;
    return found_one;
end $$;
CREATE FUNCTION pgembedd._space(relation regclass) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation $$;
CREATE FUNCTION pgembedd._stop(pipeline_id integer, reason text, told_reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    update pipeline p set state = 'stopped', state_reason = reason, state_since = clock_timestamp()
    where p.id = _stop.pipeline_id and p.state = 'running';
    if found then
        perform _tell('stopped', pipeline_id, jsonb_build_object('reason', told_reason));
    end if;
end $$;
CREATE FUNCTION pgembedd._stop_if_rewriting(queue text, pipeline_id integer, msg_ids bigint[], outcomes text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    rounds integer;
begin
    if not outcomes && array['rewritten'] then return; end if;
    execute format($q$select max(pgembedd._note(q.headers, 'rewritten')) from %s q where q.msg_id = any ($1)$q$,
        _queue_table(queue)) into rounds using msg_ids;
    if rounds >= 3 then
        perform stop_pipeline(pipeline_id,
            'The content changes each time its vector is written, because a BEFORE UPDATE trigger sets a column that the '
            'content uses: take that column out of the content, then call pgembedd.resume().');
    end if;
end $_$;
CREATE FUNCTION pgembedd._stored(made pgembedd.pipeline) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select case when made.embedding_table is null then format(
        'array_agg(s.%1$I::real[]) filter (where s.%1$I is not null) as embeddings, null::integer[] as chunk_nos,
         null::integer[] as start_offsets, null::integer[] as end_offsets, null::bytea[] as hashes, null::text[] as models',
        made.embedding_column)
    else
        'array_agg(s.embedding::real[] order by s.chunk_no) as embeddings, array_agg(s.chunk_no order by s.chunk_no) as chunk_nos,
         array_agg(s.start_offset order by s.chunk_no) as start_offsets,
         array_agg(s.end_offset order by s.chunk_no) as end_offsets,
         array_agg(s.content_hash order by s.chunk_no) as hashes, array_agg(s.model order by s.chunk_no) as models' end
$_$;
CREATE FUNCTION pgembedd._successor(current pgembedd.pipeline, shadow text) RETURNS pgembedd.pipeline
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    beside pgembedd.pipeline := _shadow(current);
begin
    if beside.shadow is not distinct from _successor.shadow then
        return beside;
    elsif _successor.shadow = 'next' then
        perform _refuse(format('There is nothing to switch "%s" to.', current.name), 'Begin with pgembedd.change_model().');
    end if;
    perform _refuse(format('There is nothing to take "%s" back to.', current.name),
        'rollback() undoes switch(), until the previous pipeline is dropped.');
end $$;
CREATE FUNCTION pgembedd._swap(name text, shadow text, suffix text, force boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _successor(current, shadow);
    one pgembedd.pipeline;
begin
    if not force then
        begin
            perform _check_swap(current, beside), _await_vectors(current, beside);
            -- The locks of having looked go with the subtransaction: with them, a writer's TRUNCATE and we would wait
            -- for each other.
            raise exception using errcode = 'PGE01';
        exception when sqlstate 'PGE01' then
            null;
        end;
    end if;
    perform _rename_when_free(current, beside, suffix);
    update pipeline p
    set name = current.name || '.' || suffix, shadow_of = beside.id, shadow = suffix,
        embedding_column = _beside(current.embedding_column, suffix), embedding_table_name = p.embedding_table::text
    where p.id = current.id;
    update pipeline p
    set name = current.name, shadow_of = null, shadow = null,
        embedding_column = current.embedding_column, embedding_table_name = p.embedding_table::text
    where p.id = beside.id;
    for one in select p.* from pipeline p where p.id in (current.id, beside.id) loop
        perform _generate(one);
    end loop;
    perform _tell(case suffix when 'previous' then 'switched' else 'rolled_back' end, beside.id, jsonb_build_object(
        'model', beside.model, 'replaced_id', current.id, 'replaced', current.name || '.' || suffix, 'replaced_model', current.model));
end $$;
CREATE FUNCTION pgembedd._swap_key(pipeline_id integer) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select hashtextextended('pgembedd.swap', pipeline_id) $$;
CREATE FUNCTION pgembedd._swap_mode(current pgembedd.pipeline) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select case when current.embedding_table is null then 'access exclusive' else 'share row exclusive' end $$;
CREATE FUNCTION pgembedd._swept(pipeline pgembedd.pipeline) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select pipeline.own_triggers
        or exists (select from _guest_triggers(pipeline) t where t.tgtype::integer & 4 <> 0 and t.tgqual is null)
$$;
CREATE FUNCTION pgembedd._table_name(made pgembedd.pipeline) RETURNS text[]
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    parts text[];
begin
    parts := parse_ident(made.embedding_table_name);
    return case cardinality(parts) when 1 then _space(made.source) || parts when 2 then parts end;
exception when invalid_parameter_value then
    return null;
end $$;
CREATE FUNCTION pgembedd._table_problem(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    missing text;
    actual text;
begin
    if not _exists(pipeline.embedding_table) then
        return format('The embedding table %s was dropped. Remove the pipeline with pgembedd.drop_pipeline(%L) and create it again.',
            pipeline.embedding_table_name, pipeline.name);
    end if;
    select string_agg(format('"%s"', c), ', ') into missing from unnest(pipeline.key_columns || _chunk_columns()) as c
    where not exists (select from pg_attribute a where a.attrelid = pipeline.embedding_table and a.attname = c and not a.attisdropped);
    if missing is not null then
        return format('The embedding table %s has no column %s any more. Rename it back, or drop the pipeline "%s" and create it again.',
            pipeline.embedding_table, missing, pipeline.name);
    end if;
    select format_type(a.atttypid, a.atttypmod) into actual from pg_attribute a
    where a.attrelid = pipeline.embedding_table and a.attname = 'embedding';
    if actual <> format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions) then
        return format('%s.embedding is %s now, but the pipeline writes %s(%s). Change the type back, or drop the pipeline "%s" and create it again.',
            pipeline.embedding_table, actual, pipeline.vector_type, pipeline.dimensions, pipeline.name);
    end if;
    return _chunk_key_problem(pipeline);
end $$;
CREATE FUNCTION pgembedd._tables(made pgembedd.pipeline) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select _target(made) union select t.relid from pg_partition_tree(_target(made)) t $$;
CREATE FUNCTION pgembedd._take(queue text, chosen text, noting text DEFAULT ''::text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select format($q$
        update %s m set vt = clock_timestamp() + $1, read_ct = m.read_ct + 1%s%s where m.msg_id = any (array(%s))
        returning m.msg_id, m.read_ct, m.message, m.headers, m.enqueued_at
        $q$, _queue_table(queue), case when exists (
                select from pg_attribute a where a.attrelid = to_regclass(_queue_table(queue))
                and a.attname = 'last_read_at' and not a.attisdropped)
            then ', last_read_at = clock_timestamp()' end, noting, chosen)
$_$;
CREATE FUNCTION pgembedd._take_back(id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    line text := 'pgembedd ' || gen_random_uuid();
begin
    begin
        perform _connect(line);
        execute format('select * from %s.dblink($1, $2) as t(forgotten text)', _dblink())
        using line, _unseen(format('select pgembedd._forget_question(%L)', id));
    exception when query_canceled or others then null;  -- it expires, and the next worker that looks throws it away
    end;
    perform _disconnect(line);
end $_$;
CREATE FUNCTION pgembedd._take_oldest(queue text, qty integer, lease_s integer) RETURNS TABLE(msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    return query execute _take(queue, format($q$
        select q.msg_id from %s q where q.vt <= clock_timestamp() order by q.msg_id limit $2 for update skip locked
        $q$, _queue_table(queue))) using make_interval(secs => lease_s), qty;
end $_$;
CREATE FUNCTION pgembedd._take_pushed(queue text, jobs jsonb, lease_s integer) RETURNS TABLE(msg_id bigint, read_ct integer, message jsonb, headers jsonb, enqueued_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    return query execute _take(queue, format($q$
        select q.msg_id from %s q
        where q.msg_id = any ($2) and q.vt < 'infinity'
          and (q.vt <= clock_timestamp() or q.read_ct > 0 and q.read_ct not in (
               pgembedd._note(q.headers, 'answered'), pgembedd._note(q.headers, 'taken')))
          and exists (select from pgembedd._posted($3) p
                      where p.msg_id = q.msg_id and coalesce(p.read_ct, q.read_ct) = q.read_ct
                        and pgembedd._agrees(p.job, q.message))
        order by q.msg_id for update skip locked
        $q$, _queue_table(queue)),
        -- No worker died of the reads in between: they were made to be posted.
        $q$, headers = pgembedd._with_notes(m.headers, jsonb_build_object('taken', m.read_ct + 1, 'deferrals',
            pgembedd._note(m.headers, 'deferrals') + greatest(0, least(
                m.read_ct - pgembedd._note(m.headers, 'attempts') - pgembedd._note(m.headers, 'deferrals'),
                m.read_ct - greatest(pgembedd._note(m.headers, 'answered'), pgembedd._note(m.headers, 'sent'),
                                     pgembedd._note(m.headers, 'taken'))))))$q$)
    using make_interval(secs => lease_s), array(select p.msg_id from _posted(jobs) p where p.msg_id is not null), jobs;
end $_$;
CREATE FUNCTION pgembedd._take_sample() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $$
declare
    began_at timestamptz := clock_timestamp();
begin
    begin
        insert into sample (at, pipeline_id, queued, backfill, oldest_age, backfill_oldest_age, failing, dead)
        with counted as materialized (
            select q.pipeline_id, q.lane, q.queued, q.failing, 0::bigint as dead, q.oldest from _queued() q
            union all select d.pipeline_id, null, 0, 0, count(*), null from dead_letter d group by d.pipeline_id)
        select began_at, p.id, coalesce(sum(c.queued) filter (where c.lane = 'fresh'), 0),
               coalesce(sum(c.queued) filter (where c.lane = 'backfill'), 0),
               began_at - min(c.oldest) filter (where c.lane = 'fresh'),
               began_at - min(c.oldest) filter (where c.lane = 'backfill'),
               coalesce(sum(c.failing), 0), coalesce(sum(c.dead), 0)
        from counted c left join pipeline p on p.id = c.pipeline_id
        group by grouping sets ((), (p.id))
        having grouping(p.id) = 1 or p.id is not null;
    exception
        when lock_not_available or foreign_key_violation or transaction_rollback or insufficient_resources then null;
        when others then raise warning 'no sample was taken: %', sqlerrm;
    end;
    update installation set sample_due_at = greatest(
        -- A little less than the minute after which whoever ticks once a minute comes again.
        began_at + interval '50 s', clock_timestamp() + 50 * (clock_timestamp() - began_at));
end $$;
CREATE FUNCTION pgembedd._target(pipeline pgembedd.pipeline) RETURNS regclass
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select coalesce(pipeline.embedding_table, pipeline.source) $$;
CREATE FUNCTION pgembedd._tell(event text, pipeline_id integer, told jsonb DEFAULT '{}'::jsonb, name text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    payload jsonb := jsonb_build_object(
        'event', event, 'pipeline', coalesce(name, (select p.name from pipeline p where p.id = _tell.pipeline_id)),
        'pipeline_id', pipeline_id, 'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) || told;
    field text;
begin
    foreach field in array array['key', 'reason'] loop
        exit when octet_length(payload::text) <= 7900;
        continue when not payload ? field;
        payload := payload - field || jsonb_build_object('left_out', coalesce(payload -> 'left_out', '[]') || to_jsonb(field));
    end loop;
    perform pg_notify('pgembedd_events', payload::text);
end $$;
CREATE FUNCTION pgembedd._tell_created(made pgembedd.pipeline, queued bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _tell('created', made.id, jsonb_build_object(
        'source', made.source::text, 'destination', coalesce(made.embedding_column, made.embedding_table_name),
        'model', made.model, 'queued', queued, 'guest', not coalesce(made.own_triggers, true)));
end $$;
CREATE FUNCTION pgembedd._tell_stored(pipeline_id integer, queue text, outcomes text[], lag interval) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _tell('stored', pipeline_id, jsonb_build_object(
        'queue', queue, 'lag_s', round(extract(epoch from lag)::numeric, 3),
        'written', count(*) filter (where o.outcome = 'written'), 'cleared', count(*) filter (where o.outcome = 'cleared'),
        'unchanged', count(*) filter (where o.outcome = 'unchanged'), 'gone', count(*) filter (where o.outcome = 'gone'),
        'changed', count(*) filter (where o.outcome = 'changed'), 'rewritten', count(*) filter (where o.outcome = 'rewritten'),
        'locked', count(*) filter (where o.outcome = 'locked'), 'refused', count(*) filter (where o.outcome = 'refused')))
    from unnest(outcomes) as o(outcome);
end $$;
CREATE FUNCTION pgembedd._tend_indexes() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$
declare
    one pgembedd.pipeline;
begin
    for one in
        select p.* from pipeline p where p.index_due_at is not null and has_table_privilege(_target(p), 'select')
        order by p.id for update skip locked
    loop
        begin
            if _index_state(one) = 'valid' then
                update pipeline p set index_due_at = null where p.id = one.id;
                perform _tell('index_built', one.id, jsonb_build_object('index', one.index_name));
            elsif one.index_due_at > clock_timestamp() then
                if one.state = 'running' and _backfilled(one) then
                    update pipeline p set index_due_at = clock_timestamp() where p.id = one.id;
                end if;
            -- A worker that may is quicker, and asks the server for more memory.
            elsif one.index_due_at < clock_timestamp() - interval '5 minutes' and _problem(one) is null then
                perform _schedule_index(one);
            end if;
        exception
            when lock_not_available or transaction_rollback then null;  -- somebody is building
            when others then raise warning 'the index of the pipeline "%" is left as it is: %', one.name, sqlerrm;
        end;
    end loop;
    perform _unschedule_indexes();
end $$;
CREATE FUNCTION pgembedd._tend_queues() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
declare
    one record;
begin
    for one in select s.* from _sharing() s where s.may order by s.queue loop
        begin
            -- One that is not valid was broken off: who is building it holds a lock that we do not get.
            if one.index is not null and (not one.shared or not one.valid) then
                execute format('drop index %s', one.index);
            -- Writers wait while it is made, a tenth of a second for a queue of this size; workers build the others.
            elsif one.shared and one.index is null and _queue_bytes(one.queue) <= 16e6 then
                execute _sharing_index(one.queue);
            end if;
        exception
            when lock_not_available or transaction_rollback then null;  -- the next tick comes
            when others then raise warning 'the queue "%" is left as it is: %', one.queue, sqlerrm;
        end;
    end loop;
end $$;
CREATE FUNCTION pgembedd._tokens(content text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select (length(content) + 3 * (octet_length(content) - length(content)) / 2) / 4::bigint $$;
CREATE FUNCTION pgembedd._trace_headers() RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format($q$(select case when t.given operator(pg_catalog.~) %L then pg_catalog.jsonb_build_object('traceparent', t.given) end
        from (select pg_catalog.current_setting('pgembedd.traceparent', true)) as t(given))$q$,
        '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$')
$_$;
CREATE FUNCTION pgembedd._trigger_body(pipeline pgembedd.pipeline, before text, key text, rows text, after text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select format($body$
#variable_conflict use_column
declare
    large boolean;
    something boolean;
    nestloop text;
    gone jsonb[];
begin
    %1$s
    large := exists (select from new_rows offset 1000);
    something := false;
    -- A database restored without its queues must still take writes; the sweep finds the rows later.
    if large and to_regclass(%2$L) is not null then
        %3$s;
        something := found;
    elsif not large and to_regclass(%4$L) is not null then
        %5$s;
        something := found;
    end if;
    %8$s
    if something and (select last_value from pgembedd.worker_idle) = 1 then
        perform pg_notify('pgembedd', case when large then %6$L else %7$L end);
    end if;
    return null;%9$s
end $body$,
        before,
        _queue_table(pipeline.backfill_queue), _enqueue(pipeline, pipeline.backfill_queue, key, rows),
        _queue_table(pipeline.queue), _enqueue(pipeline, pipeline.queue, key, rows),
        pipeline.backfill_queue, pipeline.queue, after,
        case when _brittle(pipeline.source) then _forgiven(pipeline) || ' return null;' else '' end)
$_$;
CREATE FUNCTION pgembedd._trigger_warning(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
    select format('Triggers of the pipeline on %1$s are disabled: the sweep finds new rows, but changes go unseen. ALTER TABLE %1$s '
                  'ENABLE TRIGGER ALL, then call pgembedd.backfill(%2$L, force => true) if content may have changed meanwhile.',
                  g.tgrelid::regclass, pipeline.name)
    from pg_trigger g
    where g.tgrelid in (select pipeline.source union select t.relid from pg_partition_tree(pipeline.source) t)
      and starts_with(g.tgname, format('pgembedd_%s_', pipeline.id))
      and (g.tgenabled = 'D' or g.tgenabled = 'R' and g.tgname <> format('pgembedd_%s_row', pipeline.id))
    order by g.tgrelid limit 1
$_$;
CREATE FUNCTION pgembedd._triggers(pipeline pgembedd.pipeline) RETURNS TABLE(verb text, event text)
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select t.verb, t.event
    from (values ('insert', 'after insert on %s referencing new table as new_rows', true),
                 ('update', 'after update on %s referencing old table as old_rows new table as new_rows', true),
                 ('delete', 'after delete on %s referencing old table as old_rows', false),
                 ('truncate', 'after truncate on %s', false)) as t(verb, event, always)
    where t.always or pipeline.embedding_table is not null
$$;
CREATE FUNCTION pgembedd._triggers_of_others(source regclass, content_function text, embedding_column text) RETURNS SETOF pg_trigger
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    -- tgargs ends each argument with a zero byte, which no text can hold: escaped it is \000.
    select t.* from pg_trigger t join pg_proc f on f.oid = t.tgfoid
    where t.tgrelid = source and not t.tgisinternal and t.tgenabled <> 'D' and f.pronamespace <> 'pgembedd_code'::regnamespace
      and string_to_array(encode(t.tgargs, 'escape'), '\000') @> array[
        encode(convert_to(content_function, getdatabaseencoding()), 'escape'),
        encode(convert_to(embedding_column, getdatabaseencoding()), 'escape')]
$$;
CREATE FUNCTION pgembedd._unfinished_indexes(made pgembedd.pipeline) RETURNS SETOF regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select f.index from _tables(made) t, _fitting_indexes(made, t) f
    where not f.valid and f.kind = 'i' and f.name = _index_name(made, t)
$$;
CREATE FUNCTION pgembedd._unpark(queue text, pipeline_id integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if to_regclass(_queue_table(queue)) is not null then
        execute format('update %s q set vt = clock_timestamp() where q.vt = ''infinity'' and %s',
            _queue_table(queue), _is_for(pipeline_id));
    end if;
end $$;
CREATE FUNCTION pgembedd._unschedule_indexes() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    if _has_cron(current_user::regrole::oid) then
        execute $q$
            select cron.unschedule(j.jobid) from cron.job j
            where j.jobname like 'pgembedd-index-%' and j.database = current_database() and not exists (
                select from pgembedd.pipeline p
                where p.index_due_at is not null and j.jobname = format('pgembedd-index-%s', p.id)) $q$;
    end if;
end $_$;
CREATE FUNCTION pgembedd._unseen(statement text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select '/* pgembedd.embed() */' || repeat(' ', pg_size_bytes(current_setting('track_activity_query_size'))::integer) || statement $$;
CREATE FUNCTION pgembedd._unwatched(pipeline pgembedd.pipeline, change jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select change ->> 'type' = 'UPDATE' and cardinality(pipeline.watch_columns) > 0
       and not exists (
           select from unnest(pipeline.watch_columns || pipeline.key_columns) as c(name)
           where (change -> 'record' -> c.name)::text is distinct from (change -> 'old_record' -> c.name)::text
              or not change -> 'record' ? c.name)
       and (pipeline.embedding_column is null or coalesce(change -> 'record' -> pipeline.embedding_column, 'null') <> 'null'
            or coalesce(change -> 'old_record' -> pipeline.embedding_column, 'null') = 'null')
$$;
CREATE FUNCTION pgembedd._vector_column(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$ select coalesce(pipeline.embedding_column, 'embedding') $$;
CREATE FUNCTION pgembedd._vector_type(name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
    select format('%I.%I', n.nspname, $1)
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
$_$;
CREATE FUNCTION pgembedd._vectors(made pgembedd.pipeline) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$
declare
    statement text := format('select pg_catalog.to_jsonb(pg_catalog.count(s.%I)) from %s s', _vector_column(made), _target(made));
    found_ones jsonb;
begin
    if has_schema_privilege('pgembedd_code', 'usage') then
        return _ask(made, statement)::bigint;
    end if;
    execute statement into found_ones;  -- who has no more rights than the table's owner may ask directly
    return found_ones::bigint;
end $$;
CREATE FUNCTION pgembedd._view(pipeline pgembedd.pipeline) RETURNS regclass
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select c.oid::regclass from pg_class c
    where c.oid = to_regclass(_view_name(pipeline)) and c.relkind = 'v' and exists (
        select from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
        where r.ev_class = c.oid and d.refobjid = pipeline.embedding_table)
$$;
CREATE FUNCTION pgembedd._view_name(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select format('%I.%I', n.nspname, _cut(c.relname, 58) || '_view')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = pipeline.embedding_table
$$;
CREATE PROCEDURE pgembedd._wait_for_row(IN name text, IN id jsonb, IN timeout interval)
    LANGUAGE plpgsql
    AS $$
declare
    one pgembedd.pipeline := pgembedd._pipeline(name);
    deadline timestamptz := pg_catalog.clock_timestamp() + timeout;
    jobs record;
begin
    perform pgembedd._refuse_to_wait_unseen(), pgembedd._refuse_to_wait_for_ever(timeout);
    select j.* into jobs from pgembedd._row_jobs(one, id) j;
    if jobs.made then commit; end if;
    while pgembedd._any_queued(one.queue, jobs.fresh) or pgembedd._any_queued(one.backfill_queue, jobs.backfill) loop
        one := pgembedd._pipeline(name);
        if one.state <> 'running' then
            raise exception 'The pipeline "%" is %, and the row % waits: %', name, one.state, jobs.key, one.state_reason
                using errcode = 'object_not_in_prerequisite_state';
        elsif pg_catalog.clock_timestamp() > deadline then
            raise exception 'The row % of the pipeline "%" still waits after %.', jobs.key, name, timeout
                using errcode = 'query_canceled', hint = 'See pgembedd.status and pgembedd.failures; is a worker running?';
        end if;
        commit;
        perform pg_catalog.pg_sleep(0.05);
    end loop;
    perform pgembedd._refuse_dead(one, jobs.key);
end $$;
CREATE FUNCTION pgembedd._waiting_parties(queue text, at timestamp with time zone) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    parties text[];
begin
    execute format($q$
        with recursive party(name, vt) as (
            (select %1$s, q.vt from %2$s q order by %1$s, q.vt limit 1)
            union all
            select n.name, n.vt from party cross join lateral (
                select %1$s as name, q.vt from %2$s q where %1$s > party.name order by %1$s, q.vt limit 1) n)
        -- In a random order: where there are fewer places than parties, everybody's turn comes.
        select array_agg(party.name order by random())
        from (select party.* from party limit 10000) party
        where party.vt <= $1 and not exists (
            select from pgembedd.pipeline p where p.id::text = party.name and p.state <> 'running')
        $q$, _party(), _queue_table(queue)) into parties using at;
    return parties;
end $_$;
CREATE FUNCTION pgembedd._waits(pipeline pgembedd.pipeline) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select case when pipeline.embedding_table is null then format('s.%I is null', pipeline.embedding_column)
                else format('not exists (select from %s e where %s)', pipeline.embedding_table,
                            _key_match(pipeline.source, 'e', 's')) end
$$;
CREATE FUNCTION pgembedd._wake(queue text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if (select last_value from pgembedd.worker_idle) = 1 then
        perform pg_notify('pgembedd', queue);
    end if;
end $$;
CREATE FUNCTION pgembedd._watchable_columns(source regclass) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select array_agg(a.attname::text order by a.attnum)
    from pg_attribute a
    where a.attrelid = source and a.attnum > 0 and not a.attisdropped
      and not exists (
        select from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_type'::regclass and d.objid = a.atttypid and d.deptype = 'e' and e.extname = 'vector')
$$;
CREATE FUNCTION pgembedd._webhook_key(pipeline pgembedd.pipeline, change jsonb, which text) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    missing text;
    given jsonb;
    key jsonb;
begin
    select string_agg(format('"%s"', k), ', ') filter (where coalesce(change -> which -> k, 'null') = 'null'),
           jsonb_object_agg(k, change -> which -> k)
        into missing, given from unnest(pipeline.key_columns) as k;
    if missing is not null then
        perform _refuse(format('The %s of the webhook has no %s, which is in the primary key of %s.', which, missing, pipeline.source_name),
            'Have the webhook send the whole row.');
    end if;
    begin
        key := _ask(pipeline, format('select %s from pg_catalog.jsonb_to_record(%L::pg_catalog.jsonb) as k(%s)',
            _key_json(pipeline.source, 'k'), given,
            (select string_agg(format('%I %s', k.name, k.type), ', ') from _key_columns(pipeline.source) k)));
    exception when data_exception or integrity_constraint_violation or plpgsql_error then key := null;
    end;
    if key is null then
        perform _refuse(format('The %s of the webhook has a key that no row of %s can have.', which, pipeline.source_name));
    end if;
    return key;
end $$;
CREATE FUNCTION pgembedd._whole(value jsonb, most numeric) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when jsonb_typeof(value) = 'number' then
        case when value::numeric between 0 and most and value::numeric = trunc(value::numeric) then value::numeric::bigint end end
$$;
CREATE FUNCTION pgembedd._with_notes(headers jsonb, notes jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select case when jsonb_typeof(headers) = 'object' then headers else '{}' end || jsonb_build_object('pgembedd',
           case when jsonb_typeof(headers -> 'pgembedd') = 'object' then headers -> 'pgembedd' else '{}' end || notes)
$$;
CREATE FUNCTION pgembedd._worker_functions() RETURNS SETOF regprocedure
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select f.oid::regprocedure from pg_proc f
    where f.pronamespace = 'pgembedd'::regnamespace
      and f.proname in ('claim', 'claim_pushed', 'claim_changed', 'read', 'read_chunks', 'store', 'store_chunks', 'fail', 'extend', 'release', 'mark_alone', 'pin_model', 'diagnose',
                        'stop_pipeline', 'set_idle', 'models', 'lanes', 'tick', 'metrics', 'schema_version', 'hear_questions', 'take_questions',
                        'answer_questions', 'decline_question')
$$;
CREATE FUNCTION pgembedd._written_columns(source regclass, columns text[]) RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select coalesce(array_agg(distinct written.attname::text), '{}')
    from unnest(columns) as c(name)
    join pg_attribute named on named.attrelid = source and named.attname = c.name
    left join pg_attrdef made on made.adrelid = source and made.adnum = named.attnum and named.attgenerated <> ''
    left join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = made.oid and d.refobjid = source
                         and d.refclassid = 'pg_class'::regclass and d.refobjsubid not in (0, named.attnum)
    join pg_attribute written on written.attrelid = source and written.attgenerated = ''
                             and written.attnum = case named.attgenerated when '' then named.attnum else d.refobjsubid end
$$;
CREATE FUNCTION pgembedd.answer_questions(ids uuid[], embeddings public.vector[], refusals text[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    answered integer;
begin
    update question q set embedding = a.embedding, refusal = a.refusal, content = null
    from unnest(ids, embeddings, refusals) as a(id, embedding, refusal)
    where q.id = a.id and q.taken_by = pg_backend_pid();
    get diagnostics answered = row_count;
    return answered;
end $$;
COMMENT ON FUNCTION pgembedd.answer_questions(ids uuid[], embeddings public.vector[], refusals text[]) IS 'Give each question its vector, or a sentence why there is none.';
CREATE FUNCTION pgembedd.backfill(name text, force boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    return _backfill(_sound(name), force);
end $$;
COMMENT ON FUNCTION pgembedd.backfill(name text, force boolean) IS 'Queue the rows that have no vector and are not queued; with force, every row. Returns how many.';
CREATE FUNCTION pgembedd.backoff(attempts integer, base interval DEFAULT '00:00:02'::interval, cap interval DEFAULT '00:10:00'::interval) RETURNS interval
    LANGUAGE sql PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select least(cap, base * power(2, least(greatest(attempts, 1) - 1, 30))) * (0.75 + 0.5 * random())
$$;
COMMENT ON FUNCTION pgembedd.backoff(attempts integer, base interval, cap interval) IS 'Wait before the next attempt: base doubled with every attempt, at most cap, times a random 0.75 to 1.25.';
CREATE FUNCTION pgembedd.change_model(name text, model text DEFAULT NULL::text, dimensions integer DEFAULT NULL::integer, vector_type text DEFAULT NULL::text, distance text DEFAULT NULL::text, m integer DEFAULT NULL::integer, ef_construction integer DEFAULT NULL::integer, chunk_tokens integer DEFAULT NULL::integer, chunk_overlap integer DEFAULT NULL::integer, splitter text DEFAULT NULL::text, formatting text DEFAULT NULL::text, index_within interval DEFAULT '1 day'::interval, backfill boolean DEFAULT true) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    current pgembedd.pipeline := _pipeline(name);
    next pgembedd.pipeline := current;
    queued bigint;
begin
    perform _check_change(current);
    next.name := current.name || '.next';
    next.id := null; next.fingerprint := null; next.index_name := null; next.index_due_at := null;
    next.created_indexes := null; next.embedding_table := null;
    next.own_triggers := true;
    next.model := coalesce(change_model.model, current.model);
    next.dimensions := coalesce(change_model.dimensions, current.dimensions);
    next.vector_type := coalesce(change_model.vector_type, current.vector_type);
    next.distance := coalesce(change_model.distance, current.distance);
    next.m := coalesce(change_model.m, current.m);
    next.ef_construction := coalesce(change_model.ef_construction, current.ef_construction);
    next.chunk_tokens := coalesce(change_model.chunk_tokens, current.chunk_tokens);
    next.chunk_overlap := coalesce(change_model.chunk_overlap, case when current.embedding_table is not null then current.chunk_overlap end);
    next.splitter := coalesce(change_model.splitter, current.splitter);
    next.formatting := coalesce(change_model.formatting, current.formatting);
    next.embedding_column := _beside(current.embedding_column, 'next');
    next.embedding_table_name := (
        select format('%I.%I', n.nspname, _beside(c.relname, 'next')) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = current.embedding_table);
    perform _check_room(current);
    queued := _create_pipeline(next, backfill, case when _index_state(current) in ('none') then null else 'auto' end, index_within);
    update pipeline p set shadow_of = current.id, shadow = 'next' where p.name = next.name;
    perform _tell('change_begun', current.id, jsonb_build_object('model', current.model, 'next', next.name, 'next_model', next.model));
    return queued;
end $$;
COMMENT ON FUNCTION pgembedd.change_model(name text, model text, dimensions integer, vector_type text, distance text, m integer, ef_construction integer, chunk_tokens integer, chunk_overlap integer, splitter text, formatting text, index_within interval, backfill boolean) IS 'Begin to embed a pipeline''s rows with another model or another chunking, beside what is there. Returns how many rows were queued.';
CREATE FUNCTION pgembedd.claim(queue text, qty integer, lease_s integer, poll_s integer DEFAULT 0) RETURNS TABLE(msg_id bigint, read_ct integer, id jsonb, pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer, suspect boolean, chunked boolean, chunk_tokens integer, chunk_overlap integer, splitter text, traceparent text, waited_s double precision, attempt integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$
#variable_conflict use_column
declare
    msg_ids bigint[];
    read_cts integer[];
    messages jsonb[];
    notes jsonb[];
    enqueued timestamptz[];
begin
    if to_regclass(_queue_table(queue)) is null then
        raise exception 'There is no queue "%".', queue using errcode = 'undefined_object',
            hint = 'Run `pgembedd migrate`: it makes the queues of all pipelines.';
    end if;
    select array_agg(r.msg_id), array_agg(r.read_ct), array_agg(r.message), array_agg(r.headers), array_agg(r.enqueued_at)
        into msg_ids, read_cts, messages, notes, enqueued from _read_queue(queue, qty, lease_s, poll_s) r;
    return query select a.* from _admit(queue, msg_ids, read_cts, messages, notes, enqueued) a;
end $$;
CREATE FUNCTION pgembedd.claim_changed(change jsonb, lease_s integer) RETURNS TABLE(subject text, n bigint, state text, reason text, queue text, msg_id bigint, read_ct integer, id jsonb, pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer, suspect boolean, chunked boolean, chunk_tokens integer, chunk_overlap integer, splitter text, traceparent text, waited_s double precision, attempt integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
#variable_conflict use_column
declare
    one pgembedd.pipeline;
    key jsonb;
    job_id bigint;
    jobs jsonb := '[]';
    subjects text[] := '{}';
    idle text[] := '{}';
begin
    perform _check_webhook(change);
    for one in
        select p.* from pipeline p join pg_class c on p.source in (c.oid, pg_partition_root(c.oid))
        join pg_namespace s on s.oid = c.relnamespace
        where c.relname = change ->> 'table' and s.nspname = change ->> 'schema' order by p.id
    loop
        if _unwatched(one, change) then
            idle := idle || one.name;
            continue;
        end if;
        continue when to_regclass(_queue_table(one.queue)) is null;
        for key in
            select distinct _webhook_key(one, change, r.name)
            from unnest(case change ->> 'type' when 'INSERT' then '{record}' when 'DELETE' then '{old_record}'
                        else '{record,old_record}'::text[] end) as r(name)
        loop
            execute _enqueue(one, one.queue, 'i.id', '(select $1 as id) i') || ' returning msg_id' into job_id using key;
            jobs := jobs || jsonb_build_object('jobId', job_id, 'queue', one.queue, 'readCt', 0, 'id', key);
            subjects := subjects || one.name;
        end loop;
    end loop;
    return query
        select i.name, null::bigint, 'skipped', 'No watched column changed.', null, null::bigint, null::integer, null::jsonb,
               null::integer, null, null, null, null::integer, null::boolean, null::boolean, null::integer, null::integer, null,
               null, null::double precision, null::integer
        from unnest(idle) as i(name);
    if lease_s is null then
        perform _wake(w.queue) from (select distinct j ->> 'queue' as queue from jsonb_array_elements(jobs) j) w;
        return query
            select subjects[j.n], j.n, 'queued', null, j.job ->> 'queue', (j.job ->> 'jobId')::bigint, null::integer, null::jsonb,
                   null::integer, null, null, null, null::integer, null::boolean, null::boolean, null::integer, null::integer, null,
                   null, null::double precision, null::integer
            from jsonb_array_elements(jobs) with ordinality as j(job, n);
    else
        return query select subjects[c.n], c.* from claim_pushed(jobs, lease_s) c;
    end if;
end $_$;
CREATE FUNCTION pgembedd.claim_pushed(jobs jsonb, lease_s integer) RETURNS TABLE(n bigint, state text, reason text, queue text, msg_id bigint, read_ct integer, id jsonb, pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer, suspect boolean, chunked boolean, chunk_tokens integer, chunk_overlap integer, splitter text, traceparent text, waited_s double precision, attempt integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$
#variable_conflict use_column
declare
    ours text[] := array(
        select a.queue from (select l.queue from lanes() l union select l.backfill_queue from lanes() l) a
        where to_regclass(_queue_table(a.queue)) is not null);
    lane record;
    msg_ids bigint[];
    read_cts integer[];
    messages jsonb[];
    notes jsonb[];
    enqueued timestamptz[];
begin
    if jsonb_typeof(jobs) is distinct from 'array' then
        perform _refuse('The jobs are not an array.', 'Post what process_embeddings() posts.');
    end if;
    for lane in
        select p.queue as name, jsonb_agg(p.job order by p.n) as jobs, array_agg(p.n order by p.n) as ns
        from _posted(jobs) p where p.problem is null and p.queue = any (ours) group by p.queue order by p.queue
    loop
        select array_agg(t.msg_id), array_agg(t.read_ct), array_agg(t.message), array_agg(t.headers), array_agg(t.enqueued_at)
            into msg_ids, read_cts, messages, notes, enqueued from _take_pushed(lane.name, lane.jobs, lease_s) t;
        return query
            select null::bigint, 'claimed', null, lane.name, a.*
            from _admit(lane.name, msg_ids, read_cts, messages, notes, enqueued) a;
        return query
            select lane.ns[p.n], w.state, w.reason, lane.name, p.msg_id, null::integer, null::jsonb, null::integer,
                   null, null, null, null::integer, null::boolean, null::boolean, null::integer, null::integer, null, null,
                   null::double precision, null::integer
            from _posted(lane.jobs) p cross join lateral _pushed_state(lane.name, p.msg_id, p.job, coalesce(p.msg_id = any (msg_ids), false)) w;
    end loop;
    return query
        select p.n, 'failed', coalesce(p.problem, 'No pipeline has a queue of this name.'), p.queue, p.msg_id, null::integer,
               null::jsonb, null::integer, null, null, null, null::integer, null::boolean, null::boolean, null::integer,
               null::integer, null, null, null::double precision, null::integer
        from _posted(jobs) p where p.problem is not null or p.queue <> all (ours);
end $$;
CREATE FUNCTION pgembedd.compare_models(name text, sample integer DEFAULT 20, k integer DEFAULT 10) RETURNS TABLE(pipeline text, model text, rows_embedded bigint, rows_missing bigint, index text, recall numeric, agreement numeric)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _shadow(current);
    side pgembedd.pipeline;
    keys jsonb[];
begin
    if beside.id is null then
        perform _refuse(format('"%s" stands alone; there is nothing to compare it with.', name), 'Begin with pgembedd.change_model().');
    elsif sample is null or sample not between 1 and 1000 or k is null or k not between 1 and 100 then
        perform _refuse(format('sample = %s and k = %s do not make a comparison.', coalesce(sample::text, 'NULL'), coalesce(k::text, 'NULL')),
            'sample goes from 1 to 1000, k from 1 to 100.');
    end if;
    execute format('select array_agg(r.key) from (select %s as key from %s s where not (%s) and not (%s) order by random() limit %s) r',
        _key_json(current.source, 's'), current.source, _waits(current), _waits(beside), sample) into keys;
    foreach side in array array[current, beside] loop
        pipeline := side.name; model := side.model; index := _index_state(side);
        execute format('select count(*) filter (where not (%1$s)), count(*) filter (where (%1$s) and not exists (
                            select from pgembedd.row_state r where r.pipeline_id = %2$s and r.state = ''blank'' and r.key = %3$s)) from %4$s s',
            _waits(side), side.id, _key_json(side.source, 's'), side.source) into rows_embedded, rows_missing;
        recall := _recall(side, keys, k);
        agreement := _agreement(current, beside, keys, k);
        return next;
    end loop;
end $_$;
COMMENT ON FUNCTION pgembedd.compare_models(name text, sample integer, k integer) IS 'Both sides of a change of model: coverage, and for a sample of rows how many of the k nearest the index finds, and how many agree.';
CREATE FUNCTION pgembedd.create_pipeline(name text, source text, content_columns text[] DEFAULT NULL::text[], content_function text DEFAULT NULL::text, embedding_column text DEFAULT NULL::text, model text DEFAULT 'gte-small'::text, dimensions integer DEFAULT 384, vector_type text DEFAULT 'halfvec'::text, distance text DEFAULT 'cosine'::text, watch_columns text[] DEFAULT NULL::text[], on_update text DEFAULT 'keep'::text, backfill boolean DEFAULT true, queue text DEFAULT 'embedding_jobs'::text, max_attempts integer DEFAULT 5, create_index boolean DEFAULT true, m integer DEFAULT 16, ef_construction integer DEFAULT 64, index_when text DEFAULT 'auto'::text, index_within interval DEFAULT '1 day'::interval, embedding_table text DEFAULT NULL::text, chunk_tokens integer DEFAULT NULL::integer, chunk_overlap integer DEFAULT NULL::integer, splitter text DEFAULT 'text'::text, formatting text DEFAULT NULL::text, adopt boolean DEFAULT NULL::boolean, enable_always boolean DEFAULT false, triggers boolean DEFAULT true) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
    made pgembedd.pipeline;
begin
    made.name := name;
    begin
        made.source := pg_catalog.to_regclass(source);
    exception when syntax_error or invalid_name or feature_not_supported then null;  -- 'a.b.c.d' is no table's name
    end;
    made.source_name := source;
    if content_function is not null and made.source is not null then
        made.content_function := pgembedd._content_function(
            pg_catalog.to_regprocedure(pg_catalog.format('%s(%s)', content_function, made.source)), content_function, source);
    end if;
    made.content_columns := content_columns;
    made.watch_columns := watch_columns;
    made.embedding_column := case when embedding_table is null then coalesce(embedding_column, 'embedding') else embedding_column end;
    made.embedding_table_name := embedding_table;
    made.chunk_tokens := chunk_tokens;
    made.chunk_overlap := chunk_overlap;
    made.splitter := splitter;
    made.formatting := formatting;
    made.enable_always := coalesce(enable_always, false);
    made.triggers := coalesce(triggers, true);
    made.model := model;
    made.dimensions := dimensions;
    made.vector_type := vector_type;
    made.distance := distance;
    made.on_update := on_update;
    made.queue := queue;
    made.max_attempts := max_attempts;
    made.m := m;
    made.ef_construction := ef_construction;
    made.search_path := pg_catalog.current_setting('search_path');
    return pgembedd._create_pipeline(made, backfill, case when create_index then coalesce(index_when, 'NULL') end, index_within,
                                    adopt);
end $$;
COMMENT ON FUNCTION pgembedd.create_pipeline(name text, source text, content_columns text[], content_function text, embedding_column text, model text, dimensions integer, vector_type text, distance text, watch_columns text[], on_update text, backfill boolean, queue text, max_attempts integer, create_index boolean, m integer, ef_construction integer, index_when text, index_within interval, embedding_table text, chunk_tokens integer, chunk_overlap integer, splitter text, formatting text, adopt boolean, enable_always boolean, triggers boolean) IS 'Register a table: its rows get vectors from now on. Returns how many existing rows were queued.';
CREATE FUNCTION pgembedd.decline_question(id uuid, reason text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    declined integer[];
begin
    update question q set taken_by = null, declined_by = q.declined_by || pg_backend_pid()
    where q.id = decline_question.id and q.taken_by = pg_backend_pid() returning q.declined_by into declined;
    if _hearers() <@ declined then
        update question q set refusal = reason, content = null where q.id = decline_question.id;
    else
        perform pg_notify('pgembedd_questions', '');
    end if;
end $$;
COMMENT ON FUNCTION pgembedd.decline_question(id uuid, reason text) IS 'Leave a question to another worker; the reason is the answer when all have declined.';
CREATE FUNCTION pgembedd.diagnose(pipeline_id integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    one pgembedd.pipeline;
    problem text;
begin
    select p.* into one from pipeline p where p.id = diagnose.pipeline_id;
    if one.id is null then return 'The pipeline was dropped.'; end if;
    problem := _follow(one);
    if problem is not null and problem <> 'followed' then
        perform stop_pipeline(pipeline_id, problem);
    end if;
    return problem;
end $$;
CREATE FUNCTION pgembedd.drop_pipeline(name text, drop_vectors boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    gone pgembedd.pipeline := _pipeline(name);
    item record;
begin
    if (_shadow(gone)).id is not null then
        perform _refuse(format('"%s" has "%s" beside it.', name, (_shadow(gone)).name),
            format('Drop that first: select pgembedd.drop_pipeline(%L, drop_vectors => true).', (_shadow(gone)).name));
    end if;
    -- First: whoever builds it holds a lock that dropping a trigger would wait for.
    if _exists(gone.source) then
        perform _abandon_index(gone);
    end if;
    for item in
        select t.tgname, t.tgrelid::regclass as relation from pg_trigger t join pg_proc f on f.oid = t.tgfoid
        where f.pronamespace = 'pgembedd_code'::regnamespace and not t.tgisinternal and t.tgparentid = 0
          and f.proname like format('pipeline\_%s\_%%', gone.id)
    loop
        execute format('drop trigger %I on %s', item.tgname, item.relation);
    end loop;
    for item in
        select f.oid::regprocedure as signature from pg_proc f
        where f.pronamespace = 'pgembedd_code'::regnamespace and f.proname like format('pipeline\_%s\_%%', gone.id)
    loop
        execute format('drop function %s', item.signature);
    end loop;
    -- The index of waiting rows is ours alone; the HNSW index serves searches and goes with the column.
    for item in
        select i.indexrelid::regclass as index from unnest(gone.created_indexes) as c(name)
        join pg_index i on i.indexrelid = to_regclass(c.name)
        where i.indpred is not null
    loop
        execute format('drop index %s', item.index);
    end loop;
    if drop_vectors and gone.embedding_table is not null and _exists(gone.embedding_table) then
        if _view(gone) is not null then
            execute format('drop view %s', _view(gone));
        end if;
        execute format('drop table %s', gone.embedding_table);
    elsif drop_vectors and gone.embedding_table is null and _exists(gone.source) then
        execute format('alter table %s drop column if exists %I', gone.source, gone.embedding_column);
    end if;
    perform _forget_jobs(gone.queue, gone.id), _forget_jobs(gone.backfill_queue, gone.id);
    delete from pipeline p where p.id = gone.id;
    perform _tell('dropped', gone.id, name => gone.name);
    perform _foretell_return(gone);
end $$;
COMMENT ON FUNCTION pgembedd.drop_pipeline(name text, drop_vectors boolean) IS 'Stop embedding a table: triggers, jobs and dead letters go; vectors and a finished index stay unless drop_vectors.';
CREATE FUNCTION pgembedd.embed(content text, pipeline text DEFAULT NULL::text, model text DEFAULT NULL::text, kind text DEFAULT 'query'::text, timeout interval DEFAULT '00:00:05'::interval) RETURNS public.vector
    LANGUAGE plpgsql STABLE SECURITY DEFINER COST 1000
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET standard_conforming_strings TO 'on'
    AS $$
declare
    question pgembedd.question;
    secret uuid := (select l.secret from loopback l);
    key text;
    answer text;
begin
    if content is null then return null; end if;
    select m.wanted_model, m.wanted_fingerprint into question.model, question.fingerprint from _model_asked(pipeline, model) m;
    question.kind := kind;
    question.content := content;
    key := encode(sha256(convert_to(question::text, getdatabaseencoding())), 'hex');
    answer := _remembered(secret, key);
    if answer is null then
        perform _check_question(question, timeout);
        answer := _put_question(question, timeout);
        perform set_config('pgembedd.answer', key || _seal(secret, key, answer) || answer, true);
    end if;
    return answer;
end $$;
COMMENT ON FUNCTION pgembedd.embed(content text, pipeline text, model text, kind text, timeout interval) IS 'The vector of a text, from a running worker: order by embedding <=> pgembedd.embed(''…''). Null for null.';
CREATE FUNCTION pgembedd.embed_through(host text DEFAULT NULL::text, port integer DEFAULT NULL::integer, username text DEFAULT NULL::text, password text DEFAULT NULL::text, options text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    made text := 'pgembedd_ask_' || (select d.oid from pg_database d where d.datname = current_database());
begin
    if port is not null and port not between 1 and 65535 then
        perform _refuse(format('%s is no port.', port), 'It is a number from 1 to 65535.');
    elsif username is null and password is not null then
        perform _refuse('A password without a username is nobody''s.', 'Give both, or neither: then a role is made.');
    elsif username is not null and to_regrole(quote_ident(username)) is null then
        perform _refuse(format('There is no role "%s".', username), 'Create it with LOGIN, or leave the username out: then one is made.');
    end if;
    if username is null then
        password := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
        execute format('%s role %I login noinherit password %L', case when to_regrole(made) is null then 'create' else 'alter' end,
            made, _scram(password));
    end if;
    insert into loopback (host, port, username, password, options)
    values (host, port, coalesce(username, made), password, options)
    on conflict on constraint loopback_pkey do update
    set host = excluded.host, port = excluded.port, username = excluded.username, password = excluded.password,
        options = excluded.options, secret = excluded.secret;
    perform _grant_ask(coalesce(username, made));
end $$;
COMMENT ON FUNCTION pgembedd.embed_through(host text, port integer, username text, password text, options text) IS 'Say where and as whom pgembedd.embed() connects to its own database; without a username a role is made for it.';
CREATE FUNCTION pgembedd.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer) RETURNS SETOF bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    return query execute format($q$
        with held as (
            select q.msg_id from %1$s q join unnest($1, $2) as c(msg_id, read_ct) using (msg_id, read_ct)
            where pgembedd._note(q.headers, 'answered') <> q.read_ct
            order by q.msg_id for update of q)
        update %1$s q set vt = clock_timestamp() + make_interval(secs => $3) from held where held.msg_id = q.msg_id
        returning q.msg_id
        $q$, _queue_table(queue)) using msg_ids, read_cts, lease_s;
end $_$;
CREATE FUNCTION pgembedd.fail(queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean DEFAULT false) RETURNS TABLE(outcome text, attempts integer, retry_in interval)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
#variable_conflict use_column
declare
    job record;
    one pgembedd.pipeline;
begin
    execute format('select q.* from %s q where q.msg_id = $1 and q.read_ct = $2 for update', _queue_table(queue))
        into job using fail.msg_id, fail.read_ct;
    if job.msg_id is null then
        outcome := 'lost'; return next; return;
    end if;
    attempts := _note(job.headers, 'attempts') + 1;
    if job.headers -> 'pgembedd' -> 'history' -> -1 -> 'read_ct' = to_jsonb(fail.read_ct) then
        -- Told twice, because the first answer was lost with the connection: it counts once.
        outcome := 'retry'; attempts := attempts - 1; retry_in := job.vt - clock_timestamp();
        return next; return;
    end if;
    select p.* into one from pipeline p where p.id = _pipeline_of(job.message);
    retry_in := backoff(attempts);
    execute format($q$
        update %s q set vt = clock_timestamp() + $2, headers = pgembedd._with_notes(q.headers, $3) where q.msg_id = $1
        $q$, _queue_table(queue)) using fail.msg_id, retry_in, jsonb_build_object(
            'attempts', attempts, 'alone', 0, 'answered', read_ct,
            'history', coalesce(job.headers -> 'pgembedd' -> 'history', '[]') || jsonb_build_object(
                'at', clock_timestamp(), 'read_ct', read_ct, 'reason', reason, 'error', left(error, 1000)));
    outcome := 'retry';
    if permanent or attempts >= coalesce(one.max_attempts, 1) then
        perform _bury(queue, job.msg_id, one.id, reason, left(error, 4000), attempts);
        outcome := 'dead'; retry_in := null;
    else
        perform _tell('failed', one.id, jsonb_build_object(
            'queue', queue, 'msg_id', job.msg_id, 'key', job.message -> 'id', 'reason', reason, 'attempts', attempts,
            'retry_in_s', round(extract(epoch from retry_in)::numeric, 3)));
    end if;
    return next;
end $_$;
CREATE FUNCTION pgembedd.grant_embed(role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    vector_schema text := (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    execute format('grant usage on schema pgembedd to %s', role);
    if not has_schema_privilege(role, vector_schema, 'usage') then
        execute format('grant usage on schema %I to %s', vector_schema, role);
    end if;
    execute format('grant execute on function pgembedd.embed to %s', role);
end $$;
COMMENT ON FUNCTION pgembedd.grant_embed(role regrole) IS 'Let a role call pgembedd.embed().';
CREATE FUNCTION pgembedd.grant_operator(role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    function regprocedure;
begin
    execute format('grant usage on schema pgembedd to %s', role);
    -- A search asks `pipeline` where a pipeline's rows and vectors are; the rest is to look at.
    execute format('grant select on pgembedd.pipeline, pgembedd.failures, pgembedd.truncated to %s', role);
    for function in
        select f.oid::regprocedure from pg_proc f
        where f.pronamespace = 'pgembedd'::regnamespace
          and f.proname in ('overview', 'history', 'metrics', 'retry_failed', 'schema_version')
    loop
        execute format('grant execute on function %s to %s', function, role);
    end loop;
end $$;
COMMENT ON FUNCTION pgembedd.grant_operator(role regrole) IS 'Let a role see status, history and failures, and put dead letters back. Failures may hold content.';
CREATE FUNCTION pgembedd.grant_worker(role regrole) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    function regprocedure;
    vector_schema text := (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    execute format('grant usage on schema pgembedd to %s', role);
    -- To name the vector type it hands over. Mostly PUBLIC has that; what is not granted need not be revoked.
    if not has_schema_privilege(role, vector_schema, 'usage') then
        execute format('grant usage on schema %I to %s', vector_schema, role);
    end if;
    for function in select f from _worker_functions() f loop
        execute format('grant execute on function %s to %s', function, role);
    end loop;
end $$;
COMMENT ON FUNCTION pgembedd.grant_worker(role regrole) IS 'Give a role of yours what a worker needs, and nothing more.';
CREATE FUNCTION pgembedd.hear_questions() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    listen pgembedd_questions;
    return pg_try_advisory_lock_shared(1885824356, 0);
end $$;
COMMENT ON FUNCTION pgembedd.hear_questions() IS 'Answer questions in this session from now on.';
CREATE FUNCTION pgembedd.history(name text DEFAULT NULL::text, since interval DEFAULT '01:00:00'::interval, bucket interval DEFAULT '00:01:00'::interval) RETURNS TABLE(pipeline text, at timestamp with time zone, queued bigint, backfill bigint, oldest_age interval, failing bigint, dead bigint, embedded bigint, rows_per_minute numeric, lag interval)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
#variable_conflict use_column
declare
    only_id integer := case when history.name is not null then (_pipeline(history.name)).id end;
    ended_at timestamptz := clock_timestamp();
    began_at timestamptz;
begin
    perform _check_history(since, bucket);
    began_at := date_bin(bucket, ended_at - since, 'epoch');
    return query
        with bins as (
            select b.at from generate_series(began_at, ended_at, bucket) as b(at)),
        -- The highest of each bin: a peak shows in an hour's bins, too.
        sampled as (
            select date_bin(bucket, s.at, 'epoch') as at, s.pipeline_id, max(s.queued) as queued, max(s.backfill) as backfill,
                   max(greatest(s.oldest_age, s.backfill_oldest_age)) as oldest_age, max(s.failing) as failing, max(s.dead) as dead
            from sample s where s.at >= began_at and (only_id is null or s.pipeline_id is null or s.pipeline_id = only_id)
            group by 1, 2),
        done as (
            select date_bin(bucket, a.at, 'epoch') as at, a.pipeline_id, sum(a.written + a.cleared + a.unchanged) as embedded,
                   sum(a.lag * (a.written + a.cleared + a.unchanged)) as waited,
                   sum(a.written + a.cleared + a.unchanged) filter (where a.lag is not null) as waiting
            from activity a where a.at >= began_at and (only_id is null or a.pipeline_id = only_id)
            group by 1, 2)
        select p.name, b.at,
               -- Null where no sample was taken: nobody did the upkeep then.
               case when t.at is not null then coalesce(s.queued, 0) end, case when t.at is not null then coalesce(s.backfill, 0) end,
               s.oldest_age, case when t.at is not null then coalesce(s.failing, 0) end,
               case when t.at is not null then coalesce(s.dead, 0) end, coalesce(d.embedded, 0),
               round((coalesce(d.embedded, 0) * 60 / extract(epoch from least(bucket, ended_at - b.at)))::numeric, 1),
               d.waited / nullif(d.waiting, 0)
        from pipeline p cross join bins b
        left join sampled t on t.at = b.at and t.pipeline_id is null
        left join sampled s on s.at = b.at and s.pipeline_id = p.id
        left join done d on d.at = b.at and d.pipeline_id = p.id
        where only_id is null or p.id = only_id
        order by p.name, b.at;
end $$;
COMMENT ON FUNCTION pgembedd.history(name text, since interval, bucket interval) IS 'What was queued, waited and done in each bucket of the last hour, or as long as `since`; of one pipeline or of all.';
CREATE FUNCTION pgembedd.index_statements(name text DEFAULT NULL::text) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET lock_timeout TO '100ms'
    AS $$
declare
    one pgembedd.pipeline;
    problem text;
begin
    if name is not null then
        one := _pipeline(name);
        problem := _problem(one);
        if problem is not null then
            perform _refuse(format('The index of "%s" cannot be built: %s', name, problem));
        end if;
        update pipeline p
        set index_due_at = least(p.index_due_at, clock_timestamp()),
            index_name = coalesce(p.index_name, _free_name(_target(p), _index_base(_target(p), _vector_column(p)) || '_hnsw'))
        where p.id = one.id and _index_state(p) <> 'valid';
    end if;
    for one in
        select p.* from pipeline p
        where p.index_due_at is not null and (index_statements.name is null or p.name = index_statements.name) order by p.id
    loop
        continue when coalesce(_index_state(one), 'valid') = 'valid' or _problem(one) is not null;
        return query select _index_statements(one);
    end loop;
end $$;
COMMENT ON FUNCTION pgembedd.index_statements(name text) IS 'What is left to be run, one by one and in no transaction, for the index of one pipeline (due from now on) or of all.';
CREATE FUNCTION pgembedd.lanes() RETURNS TABLE(queue text, backfill_queue text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    select 'embedding_jobs', 'embedding_backfill'
    union
    select p.queue, p.backfill_queue from pipeline p
$$;
CREATE FUNCTION pgembedd.mark_alone(queue text, msg_id bigint, read_ct integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    marked integer;
begin
    execute format($q$
        update %s q set headers = pgembedd._with_notes(q.headers,
            jsonb_build_object('alone', pgembedd._note(q.headers, 'alone') + 1))
        where q.msg_id = $1 and q.read_ct = $2 $q$, _queue_table(queue)) using msg_id, read_ct;
    get diagnostics marked = row_count;
    return marked = 1;
end $_$;
CREATE FUNCTION pgembedd.metrics() RETURNS TABLE(pipeline text, state text, queued bigint, backfill bigint, queued_oldest_s double precision, backfill_oldest_s double precision, failing bigint, dead jsonb, blank bigint, truncated bigint, rows_per_minute double precision)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
    with queues as materialized (select * from _queued()),
    -- Messages and dead letters that no pipeline is known for come in a line without a state.
    named as (
        select p.id, p.name, p.state from pipeline p
        union all
        select null, null, null
        where exists (select from queues q where q.pipeline_id is null)
           or exists (select from dead_letter d where d.pipeline_id is null))
    select n.name, n.state, coalesce(q.fresh, 0)::bigint, coalesce(q.backfill, 0)::bigint,
           extract(epoch from clock_timestamp() - q.fresh_oldest)::double precision,
           extract(epoch from clock_timestamp() - q.backfill_oldest)::double precision,
           coalesce(q.failing, 0)::bigint, coalesce(d.dead, '{}'), coalesce(r.blank, 0), coalesce(r.truncated, 0),
           coalesce(a.rows, 0) / 5.0
    from named n
    left join (select pipeline_id, sum(queued) filter (where lane = 'fresh') as fresh,
                      sum(queued) filter (where lane = 'backfill') as backfill, sum(failing) as failing,
                      min(oldest) filter (where lane = 'fresh') as fresh_oldest,
                      min(oldest) filter (where lane = 'backfill') as backfill_oldest
               from queues group by pipeline_id) q on q.pipeline_id is not distinct from n.id
    left join (select pipeline_id, jsonb_object_agg(reason, dead) as dead
               from (select pipeline_id, reason, count(*) as dead from dead_letter group by 1, 2) d
               group by pipeline_id) d on d.pipeline_id is not distinct from n.id
    left join (select pipeline_id, count(*) filter (where state = 'blank') as blank,
                      count(*) filter (where state = 'truncated') as truncated
               from row_state group by pipeline_id) r on r.pipeline_id = n.id
    left join (select pipeline_id, sum(written + cleared + unchanged) as rows from activity
               where at > clock_timestamp() - interval '5 minutes' group by pipeline_id) a on a.pipeline_id = n.id
    order by n.id
$$;
COMMENT ON FUNCTION pgembedd.metrics() IS 'For a monitor: each pipeline with what is queued in each lane and since when, what failed and why, and how fast it goes.';
CREATE FUNCTION pgembedd.models() RETURNS TABLE(pipeline_id integer, pipeline text, model text, fingerprint text, dimensions integer)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select p.id, p.name, p.model, p.fingerprint, p.dimensions from pipeline p where p.state = 'running' order by p.id $$;
CREATE FUNCTION pgembedd.overview() RETURNS TABLE(pipeline text, source text, destination text, model text, fingerprint text, state text, reason text, queued bigint, backfill bigint, oldest_age interval, failing bigint, dead bigint, blank bigint, truncated bigint, rows_per_minute numeric, coverage numeric, lag interval, index text, index_due_at timestamp with time zone, triggers boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    AS $$ select s.* from pgembedd.status s $$;
COMMENT ON FUNCTION pgembedd.overview() IS 'What the view status shows, for a role that was named with grant_operator().';
CREATE FUNCTION pgembedd.pause(name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
begin
    update pipeline p set state = 'paused', state_reason = 'paused by ' || current_user, state_since = clock_timestamp()
    where p.id = found_one.id;
    perform _tell('paused', found_one.id);
end $$;
COMMENT ON FUNCTION pgembedd.pause(name text) IS 'Keep enqueueing, stop embedding. What is in flight is finished.';
CREATE FUNCTION pgembedd.pin_model(pipeline_id integer, fingerprint text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    pinned text;
begin
    update pipeline p set fingerprint = pin_model.fingerprint
    where p.id = pin_model.pipeline_id and p.fingerprint is null;
    select p.fingerprint into pinned from pipeline p where p.id = pin_model.pipeline_id;
    return pinned;
end $$;
CREATE FUNCTION pgembedd.process_embeddings(batch_size integer DEFAULT 10, max_requests integer DEFAULT 10, timeout_milliseconds integer DEFAULT ((5 * 60) * 1000)) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    target pgembedd.push;
    jobs jsonb;
begin
    select p.* into target from push p;
    if target.url is null then
        perform _refuse('There is no URL to push jobs to.', 'Name one: select pgembedd.set_push(''https://…/functions/v1/embed'').');
    elsif not _net_is_here() then
        perform _refuse('pg_net is not installed in this database.', 'CREATE EXTENSION pg_net; or run workers that pull: `pgembedd run`.');
    elsif batch_size is null or batch_size not between 1 and 1000 or max_requests is null or max_requests not between 1 and 1000 then
        perform _refuse(format('%s requests of %s jobs are not to be had.', coalesce(max_requests::text, 'NULL'), coalesce(batch_size::text, 'NULL')),
            'Take 1 to 1000 of each.');
    elsif timeout_milliseconds is null or timeout_milliseconds < 1000 then
        perform _refuse(format('%s milliseconds are too short a time.', coalesce(timeout_milliseconds::text, 'NULL')), 'Take 1000 or more.');
    end if;
    select jsonb_agg(j) into jobs from _claim_for_push(batch_size * max_requests, timeout_milliseconds / 1000) j;
    perform net.http_post(
        url => target.url, body => b.batch, timeout_milliseconds => process_embeddings.timeout_milliseconds,
        headers => jsonb_strip_nulls(jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || target.token)))
    from (select jsonb_agg(j.job order by j.nth) as batch from jsonb_array_elements(jobs) with ordinality as j(job, nth)
          group by (j.nth - 1) / batch_size order by (j.nth - 1) / batch_size) b;
    return coalesce(jsonb_array_length(jobs), 0);
end $$;
COMMENT ON FUNCTION pgembedd.process_embeddings(batch_size integer, max_requests integer, timeout_milliseconds integer) IS 'Post waiting jobs to the URL of set_push(), in batches, through pg_net. Returns how many.';
CREATE FUNCTION pgembedd.read(pipeline_id integer, ids jsonb[]) RETURNS TABLE(n bigint, state text, content text, hash bytea)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
begin
    return query execute format($q$
        select i.n, case when r.n is null then 'gone' when b.blank then 'blank' else 'ok' end,
               case when not b.blank then r.content end, %s
        from unnest($1) with ordinality as i(id, n) left join %s($1) r on r.n = i.n
        -- What starts with a letter, a digit or a sign is not blank; that spares most texts a search.
        cross join lateral (select case when left(r.content, 1) collate "C" between '!' and '~' then false
                                        else pgembedd._blank(r.content) end) as b(blank)
        order by i.n
        $q$, _hash('r.content'), _pipeline_function(pipeline_id, 'read')) using ids;
end $_$;
CREATE FUNCTION pgembedd.read_chunks(pipeline_id integer, ids jsonb[]) RETURNS TABLE(n bigint, state text, content text, hash bytea, before text, after text, known bytea[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
begin
    perform pg_advisory_xact_lock_shared(_swap_key(pipeline_id));
    return query execute format($q$
        select i.n, case when r.n is null then 'gone' when b.blank then 'blank' else 'ok' end,
               case when not b.blank then r.content end, coalesce(r.hash, ''), r.before, r.after, r.known
        from unnest($1) with ordinality as i(id, n) left join %s($1, $2) r on r.n = i.n
        cross join lateral (select case when left(r.content, 1) collate "C" between '!' and '~' then false
                                        else pgembedd._blank(r.content) end) as b(blank)
        order by i.n
        $q$, _pipeline_function(pipeline_id, 'read'))
    using ids, (select p.fingerprint from pipeline p where p.id = read_chunks.pipeline_id);
end $_$;
CREATE FUNCTION pgembedd.release(queue text, msg_ids bigint[], read_cts integer[], delay_s double precision DEFAULT 0) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    released integer := _release(queue, msg_ids, read_cts, make_interval(secs => delay_s));
begin
    if released > 0 and delay_s = 0 then perform _wake(queue); end if;
    return released;
end $$;
CREATE FUNCTION pgembedd.requeue(name text, ids jsonb[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET "DateStyle" TO 'ISO'
    SET "IntervalStyle" TO 'postgres'
    SET extra_float_digits TO '1'
    SET "TimeZone" TO 'UTC'
    AS $_$
declare
    one pgembedd.pipeline := _sound(name);
    -- The key is written down again as the triggers write it, whatever way it was given. Of an embedding table also keys
    -- whose row is gone: the worker finds that out and removes their chunks.
    keys text := (
        select string_agg(format('select distinct %s as id from unnest($1) as i(id) cross join lateral %s join %s s on %s',
            _key_json(one.source, 's'), _key_record(one.source, 'i.id'), t.relation, _key_match(one.source, 's', 'k')), ' union ')
        from unnest(array[one.source, one.embedding_table]) as t(relation) where t.relation is not null);
    queued bigint;
begin
    execute _enqueue(one, one.backfill_queue, 'w.id', format($q$(
        with k as materialized (%1$s),
        there as materialized (
            select q.message -> 'id' as id from %2$s q where q.message -> 'id' in (select k.id from k) and %4$s
            union all
            select q.message -> 'id' from %3$s q where q.message -> 'id' in (select k.id from k) and %4$s)
        select k.id from k where not exists (select from there t where t.id = k.id)) w$q$,
        keys, _queue_table(one.queue), _queue_table(one.backfill_queue), _is_for(one.id))) using ids;
    get diagnostics queued = row_count;
    if one.embedding_table is not null then
        -- No chunk is to be taken over for its text: its vector may be what is wrong.
        perform _distrust(one, ids);
    end if;
    if queued > 0 then perform _wake(one.backfill_queue); end if;
    return queued;
exception when data_exception or integrity_constraint_violation then  -- of a domain, too
    perform _refuse(format('One of the ids is no key of %s: %s.', one.source, sqlerrm),
        'Give bare values, as in ''7'' or ''"a"'', or for a composite key objects with its columns.');
end $_$;
COMMENT ON FUNCTION pgembedd.requeue(name text, ids jsonb[]) IS 'Queue rows by key, whether they have a vector or not; those that are queued or gone are left out. Returns how many.';
CREATE FUNCTION pgembedd.resume(name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
    problem text := _problem(found_one);
begin
    if problem is not null then
        perform _refuse(format('The pipeline "%s" cannot resume: %s', name, problem));
    end if;
    update pipeline p set state = 'running', state_reason = null, state_since = clock_timestamp()
    where p.id = found_one.id returning * into found_one;
    perform _regenerate(found_one), _unpark(found_one.queue, found_one.id), _unpark(found_one.backfill_queue, found_one.id);
    perform _wake(found_one.queue), _tell('resumed', found_one.id);
end $$;
COMMENT ON FUNCTION pgembedd.resume(name text) IS 'Go on after a pause or after what stopped the pipeline has been mended.';
CREATE FUNCTION pgembedd.retention() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
declare
    one pgembedd.pipeline;
    keys jsonb[];
    gone jsonb[];
    dropped bigint;
    total bigint;
begin
    delete from activity a where a.at < clock_timestamp() - interval '1 day';
    get diagnostics total = row_count;
    delete from sample s where s.at < clock_timestamp() - interval '1 day';
    for one in select p.* from pipeline p where p.state = 'running' order by p.id loop
        begin
            if one.embedding_table is not null then
                -- Rows that went in a way that no trigger saw, or whose deleter could not see the newest chunks.
                execute format('select %s()', _pipeline_function(one.id, 'tidy'));
            end if;
            for keys in
                select array_agg(b.key) from (
                    select r.key, row_number() over () / 10000 as batch from row_state r where r.pipeline_id = one.id) b group by b.batch
            loop
                execute format('select array(select g from %s($1) g)', _pipeline_function(one.id, 'gone')) into gone using keys;
                delete from row_state r where r.pipeline_id = one.id and r.key = any (gone);
                get diagnostics dropped = row_count;
                delete from dead_letter d where d.pipeline_id = one.id and d.key = any (gone);
                total := total + dropped;
            end loop;
        exception when others then  -- a lock, a dropped table
            raise warning 'retention left out the pipeline "%": %', one.name, sqlerrm;
        end;
    end loop;
    return total;
end $_$;
COMMENT ON FUNCTION pgembedd.retention() IS 'Forget activity over a day old, and what is noted about rows that are gone. Returns how much.';
CREATE FUNCTION pgembedd.retry_failed(name text DEFAULT NULL::text, reason text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
declare
    item record;
    retried bigint := 0;
    pipelines integer[];  -- of each job its pipeline
    only_id integer := case when name is not null then (_pipeline(name)).id end;
begin
    for item in
        delete from dead_letter d
        where (only_id is null or d.pipeline_id = only_id) and (retry_failed.reason is null or d.reason = retry_failed.reason)
        returning d.*
    loop
        delete from row_state r where r.pipeline_id = item.pipeline_id and r.key = item.key and r.state = 'dead';
        perform _ensure_queue(item.queue);
        -- The change is as old as it was: that the job died in between made no vector.
        execute format('insert into %s (vt, enqueued_at, message) values (clock_timestamp(), $1, $2)', _queue_table(item.queue))
        using item.enqueued_at, item.message;
        perform _wake(item.queue);
        retried := retried + 1;
        pipelines := pipelines || item.pipeline_id;
    end loop;
    perform _tell('retried', r.id, jsonb_build_object('jobs', r.jobs, 'reason', retry_failed.reason))
    from (select p.id, count(*) as jobs from unnest(pipelines) as p(id) group by p.id) r;
    return retried;
end $_$;
COMMENT ON FUNCTION pgembedd.retry_failed(name text, reason text) IS 'Put dead letters back into the queue: of one pipeline or of all, of one reason or of any. Returns how many.';
CREATE FUNCTION pgembedd.rollback(name text, force boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _swap(name, 'previous', 'next', force);
end $$;
COMMENT ON FUNCTION pgembedd.rollback(name text, force boolean) IS 'Undo switch(): put the old vectors back in their place.';
CREATE FUNCTION pgembedd.schema_version() RETURNS TABLE(revision text, sql_digest text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$ select (select v.version_num from schema_revision v), i.sql_digest from installation i $$;
CREATE FUNCTION pgembedd.set_idle(idle boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    if (select last_value from worker_idle) <> idle::integer then
        perform set_config('synchronous_commit', 'off', true);  -- a hint, not worth a flush
        perform setval('pgembedd.worker_idle', idle::integer);
    end if;
end $$;
CREATE FUNCTION pgembedd.set_push(url text, token text DEFAULT NULL::text, every text DEFAULT '10 seconds'::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $_$
begin
    if url is null then
        delete from push;
        return _schedule_push();
    elsif url !~ '^https?://[^/\s]+(/\S*)?$' then
        perform _refuse(format('%s is not the URL of an endpoint.', quote_literal(url)), 'Write https://host/functions/v1/embed.');
    elsif url ~ '^https?://[^/]*@' then
        perform _refuse('The URL holds a password.', 'Give it as token, which only the owner can read.');
    elsif token collate "C" ~ '[^!-~]' or token = '' then
        perform _refuse('The token has a character that no header may have, or none at all.', 'Take letters, digits and signs.');
    elsif every is null or every !~ '^([1-9]|[1-5][0-9]) seconds?$' and every !~ '^\S+( \S+){4}$' then
        perform _refuse(format('%s is no schedule of pg_cron.', coalesce(quote_literal(every), 'NULL')),
            'Take ''10 seconds'' (1 to 59), or five fields as in ''* * * * *''.');
    end if;
    insert into push (url, token, every) values (set_push.url, set_push.token, set_push.every)
    on conflict (only_row) do update set url = excluded.url, token = excluded.token, every = excluded.every;
    return _schedule_push();
end $_$;
COMMENT ON FUNCTION pgembedd.set_push(url text, token text, every text) IS 'Post jobs to this URL from now on, as often as `every` says; null: no more. Returns how that stands, in a sentence.';
CREATE FUNCTION pgembedd.stop_pipeline(pipeline_id integer, reason text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _stop(pipeline_id, reason, reason);
end $$;
CREATE FUNCTION pgembedd.store(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], embeddings public.vector[], dropped integer[]) RETURNS TABLE(msg_id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
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
    perform _note_outcomes(pipeline_id, keys, outcomes, blank, cut, lag), _tell_stored(pipeline_id, queue, outcomes, lag);
    perform _stop_if_rewriting(queue, pipeline_id, held_ids, held_outcomes);
    perform _give_up_unsteady(queue, pipeline_id, held_ids, held_outcomes);
    return query
        select c.msg_id, coalesce(h.outcome, 'lost') from unnest(msg_ids) as c(msg_id)
        left join unnest(held_ids, held_outcomes) as h(msg_id, outcome) on h.msg_id = c.msg_id;
end $_$;
CREATE FUNCTION pgembedd.store_chunks(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[], chunk_jobs integer[], chunk_nos integer[], chunks text[], start_offsets integer[], end_offsets integer[], chunk_hashes bytea[], embeddings public.vector[], tokens integer[], tokens_kept integer[]) RETURNS TABLE(msg_id bigint, outcome text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $_$
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
    perform _note_outcomes(pipeline_id, keys, outcomes, array(select not j = any (chunk_jobs) from unnest(jobs) j), cut, lag),
            _tell_stored(pipeline_id, queue, outcomes, lag);
    perform _give_up_unsteady(queue, pipeline_id, held_ids, held_outcomes);
    return query
        select c.msg_id, coalesce(h.outcome, 'lost') from unnest(msg_ids) as c(msg_id)
        left join unnest(held_ids, held_outcomes) as h(msg_id, outcome) on h.msg_id = c.msg_id;
end $_$;
CREATE FUNCTION pgembedd.sweep(at_most bigint DEFAULT 10000, only_due boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET row_security TO 'off'
    SET lock_timeout TO '2s'
    AS $$
declare
    one pgembedd.pipeline;
    swept bigint := 0;
    problem text;
    began timestamptz;
begin
    if at_most is null or at_most < 0 then
        perform _refuse(format('The sweep cannot queue %s rows.', coalesce(at_most::text, 'NULL')), 'at_most is 0 or more.');
    end if;
    perform _mirror_all_rights();
    for one in
        select p.* from pipeline p
        where p.state = 'running' and (not only_due or p.sweep_due_at <= clock_timestamp()) order by p.id
    loop
        begin
            began := clock_timestamp();
            problem := _follow(one);
            if problem is not null and problem <> 'followed' then
                perform stop_pipeline(one.id, problem);
                continue;
            end if;
            select p.* into one from pipeline p where p.id = one.id;
            -- Writers queue behind whoever waits to create a trigger, so that must not be long.
            perform set_config('lock_timeout', '100ms', true), _attach(one), set_config('lock_timeout', '2s', true);
            if one.own_triggers then perform _note_triggers(one); end if;
            -- A claim that set jobs aside while the pipeline was being resumed would leave them there.
            perform _unpark(one.queue, one.id), _unpark(one.backfill_queue, one.id);
            swept := swept + case when _swept(one) then _backfill(one, false, at_most) else 0 end;
            if clock_timestamp() - began > interval '0.5 s' or one.sweep_due_at > '-infinity' then
                update pipeline p set sweep_due_at = clock_timestamp() + 100 * (clock_timestamp() - began) where p.id = one.id;
            end if;
        exception
            -- Somebody alters the table, or the server is short of something: the next sweep comes.
            when lock_not_available or transaction_rollback or insufficient_resources then null;
            when others then  -- whatever it is, it is this pipeline's alone
                perform _stop(one.id, format('The sweep failed: %s. Mend that, then call pgembedd.resume(%L).', sqlerrm, one.name),
                    'The sweep failed; pgembedd.status says of what.');
        end;
    end loop;
    return swept;
end $$;
COMMENT ON FUNCTION pgembedd.sweep(at_most bigint, only_due boolean) IS 'Queue, in every running pipeline, the rows without a vector that nobody queued; at most so many each. Returns how many.';
CREATE FUNCTION pgembedd.switch(name text, force boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
begin
    perform _swap(name, 'next', 'previous', force);
end $$;
COMMENT ON FUNCTION pgembedd.switch(name text, force boolean) IS 'Put the vectors that change_model() made in the place of the old ones, which stay beside them for rollback().';
CREATE FUNCTION pgembedd.take_questions(at_most integer DEFAULT 8) RETURNS TABLE(id uuid, model text, fingerprint text, known boolean, kind text, content text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
    at_present timestamptz := clock_timestamp();
begin
    perform _forget_questions(at_present - interval '10 s');
    return query
        with picked as materialized (
            select f.id from question f
            where f.expires_at > at_present and f.embedding is null and f.refusal is null
              and (f.taken_by is null or not f.taken_by = any (_hearers()))
              and not pg_backend_pid() = any (f.declined_by)
            order by f.asked_at limit at_most for update skip locked)
        update question q set taken_by = pg_backend_pid() from picked where q.id = picked.id
        returning q.id, q.model, q.fingerprint, exists (select from pipeline p where p.model = q.model), q.kind, q.content;
end $$;
COMMENT ON FUNCTION pgembedd.take_questions(at_most integer) IS 'Texts that wait in pgembedd.embed() for their vectors; at most so many.';
CREATE FUNCTION pgembedd.tick(sweep_every_s double precision DEFAULT 60, retention_every_s double precision DEFAULT 3600) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pgembedd', 'pg_temp'
    AS $$
declare
    state pgembedd.installation;
    swept bigint;
    indexes_due boolean;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('pgembedd.tick', 0)) then return null; end if;
    perform _forget_questions();
    select i.* into state from installation i;
    if state.sample_due_at <= clock_timestamp() then
        perform _take_sample();
    end if;
    if state.swept_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
       and (state.swept_at + interval '10 minutes' <= clock_timestamp() or not _deep(50000)) then
        swept := sweep(only_due => true);
        update installation set swept_at = clock_timestamp();
    end if;
    indexes_due := state.indexes_at + make_interval(secs => sweep_every_s) <= clock_timestamp()
        or state.indexes_at < (select max(p.created_at) from pipeline p);
    if indexes_due then
        perform _tend_indexes();
        update installation set indexes_at = clock_timestamp();
    end if;
    if state.retained_at + make_interval(secs => retention_every_s) <= clock_timestamp() then
        perform retention();
        update installation set retained_at = clock_timestamp();
    end if;
    if indexes_due then
        perform _tend_queues();  -- last, since its lock on a queue is held till the end
    end if;
    return swept;
end $$;
CREATE PROCEDURE pgembedd.wait_for(IN name text, IN timeout interval DEFAULT '00:01:00'::interval)
    LANGUAGE plpgsql
    AS $$
declare
    one pgembedd.pipeline := pgembedd._pipeline(name);
    deadline timestamptz := pg_catalog.clock_timestamp() + timeout;
    began_at timestamptz;
    look_again_at timestamptz;
    job record;
begin
    perform pgembedd._refuse_to_wait_unseen(), pgembedd._refuse_to_wait_for_ever(timeout);
    loop
        began_at := pg_catalog.clock_timestamp();
        select j.lane, j.msg_id into job from pgembedd._last_job(one) j;
        exit when job.msg_id is null;
        -- To look through a queue full of others' jobs takes a while; no more than half of the time goes into that.
        look_again_at := pg_catalog.clock_timestamp() + (pg_catalog.clock_timestamp() - began_at);
        loop
            one := pgembedd._pipeline(name);
            if one.state <> 'running' then
                raise exception 'The pipeline "%" is %, with % jobs waiting: %', name, one.state, pgembedd._job_count(one), one.state_reason
                    using errcode = 'object_not_in_prerequisite_state';
            elsif pg_catalog.clock_timestamp() > deadline then
                raise exception 'The pipeline "%" still has % jobs waiting after %.', name, pgembedd._job_count(one), timeout
                    using errcode = 'query_canceled', hint = 'See pgembedd.status and pgembedd.failures; is a worker running?';
            end if;
            commit;
            perform pg_catalog.pg_sleep(0.1);
            exit when pg_catalog.clock_timestamp() > look_again_at and not pgembedd._any_queued(job.lane, array[job.msg_id]);
        end loop;
    end loop;
end $$;
COMMENT ON PROCEDURE pgembedd.wait_for(IN name text, IN timeout interval) IS 'Wait until nothing of the pipeline is queued; raises after the timeout, or when the pipeline does not run.';
CREATE PROCEDURE pgembedd.wait_for(IN name text, IN id anyelement, IN timeout interval)
    LANGUAGE plpgsql
    AS $$
begin
    call pgembedd._wait_for_row(name, pg_catalog.to_jsonb(id), timeout);
end $$;
COMMENT ON PROCEDURE pgembedd.wait_for(IN name text, IN id anyelement, IN timeout interval) IS 'Wait until every change of one row that is committed by now has its vector; raises when that cannot be.';
CREATE PROCEDURE pgembedd.wait_for(IN name text, IN id text, IN timeout interval)
    LANGUAGE plpgsql
    AS $$
begin
    call pgembedd._wait_for_row(name, pgembedd._key_from_text(pgembedd._pipeline(name), id), timeout);
end $$;
COMMENT ON PROCEDURE pgembedd.wait_for(IN name text, IN id text, IN timeout interval) IS 'Wait until every change of one row that is committed by now has its vector; raises when that cannot be.';
CREATE TABLE pgembedd.activity (
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    pipeline_id integer NOT NULL,
    written integer NOT NULL,
    cleared integer NOT NULL,
    unchanged integer NOT NULL,
    gone integer NOT NULL,
    lag interval
);
COMMENT ON TABLE pgembedd.activity IS 'What each store wrote; append-only, so that workers never wait for each other. Kept for a day.';
COMMENT ON COLUMN pgembedd.activity.lag IS 'How long its jobs had waited since they were queued, on average; null when all rows were gone.';
CREATE TABLE pgembedd.dead_letter (
    id bigint NOT NULL,
    pipeline_id integer,
    queue text NOT NULL,
    key jsonb,
    message jsonb NOT NULL,
    reason text NOT NULL,
    error text,
    attempts integer NOT NULL,
    history jsonb DEFAULT '[]'::jsonb NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    died_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
COMMENT ON TABLE pgembedd.dead_letter IS 'Jobs that were given up, each with its reason; retry_failed() puts them back.';
ALTER TABLE pgembedd.dead_letter ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgembedd.dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE VIEW pgembedd.failures AS
 SELECT p.name AS pipeline,
    d.key,
    d.reason,
    d.error,
    d.attempts,
    d.history,
    d.enqueued_at,
    d.died_at,
    d.queue,
    d.message
   FROM (pgembedd.dead_letter d
     LEFT JOIN pgembedd.pipeline p ON ((p.id = d.pipeline_id)));
COMMENT ON VIEW pgembedd.failures IS 'Dead letters with their reasons; retry_failed() puts them back.';
CREATE TABLE pgembedd.installation (
    only_row boolean DEFAULT true NOT NULL,
    pgmq_install text NOT NULL,
    created_queues text[] DEFAULT '{}'::text[] NOT NULL,
    sql_digest text,
    sql_applied_at timestamp with time zone,
    swept_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    retained_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    indexes_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    sample_due_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT installation_only_row_check CHECK (only_row),
    CONSTRAINT installation_pgmq_install_check CHECK ((pgmq_install = ANY (ARRAY['found'::text, 'extension'::text, 'sql'::text])))
);
COMMENT ON TABLE pgembedd.installation IS 'One row: how pgmq came here, which sql/ is applied, when the upkeep last ran.';
ALTER TABLE pgembedd.pipeline ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgembedd.pipeline_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE pgembedd.push (
    only_row boolean DEFAULT true NOT NULL,
    url text NOT NULL,
    token text,
    every text NOT NULL,
    CONSTRAINT push_only_row_check CHECK (only_row)
);
COMMENT ON TABLE pgembedd.push IS 'Where jobs are posted, with which bearer token, how often: see set_push(). The owner''s alone: no grants.';
CREATE TABLE pgembedd.row_state (
    pipeline_id integer NOT NULL,
    key jsonb NOT NULL,
    state text NOT NULL,
    dropped_tokens integer,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT row_state_state_check CHECK ((state = ANY (ARRAY['blank'::text, 'dead'::text, 'truncated'::text])))
);
COMMENT ON TABLE pgembedd.row_state IS 'Exceptional rows only: blank (nothing to embed), dead (given up), truncated (text cut at the model''s limit).';
CREATE TABLE pgembedd.sample (
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    pipeline_id integer,
    queued bigint NOT NULL,
    backfill bigint NOT NULL,
    oldest_age interval,
    backfill_oldest_age interval,
    failing bigint NOT NULL,
    dead bigint NOT NULL
);
COMMENT ON TABLE pgembedd.sample IS 'What was queued at a time, by pipeline: one row each that had anything, at most once a minute. Kept for a day.';
COMMENT ON COLUMN pgembedd.sample.pipeline_id IS 'Null for the sum of all, which every sample has: a pipeline without a row had nothing queued and nothing dead.';
CREATE TABLE pgembedd.schema_revision (
    version_num character varying(32) NOT NULL
);
CREATE VIEW pgembedd.status AS
 SELECT p.name AS pipeline,
        CASE
            WHEN pgembedd._exists(p.source) THEN (p.source)::text
            ELSE p.source_name
        END AS source,
    COALESCE(p.embedding_column,
        CASE
            WHEN pgembedd._exists(p.embedding_table) THEN (p.embedding_table)::text
            ELSE p.embedding_table_name
        END) AS destination,
    p.model,
    p.fingerprint,
    p.state,
    p.state_reason AS reason,
    (COALESCE(q.fresh, (0)::numeric))::bigint AS queued,
    (COALESCE(q.backfill, (0)::numeric))::bigint AS backfill,
    (clock_timestamp() - q.oldest) AS oldest_age,
    (COALESCE(q.failing, (0)::numeric))::bigint AS failing,
    COALESCE(r.dead, (0)::bigint) AS dead,
    COALESCE(r.blank, (0)::bigint) AS blank,
    COALESCE(r.truncated, (0)::bigint) AS truncated,
    round(((COALESCE(a.rows, (0)::bigint))::numeric / 5.0), 1) AS rows_per_minute,
    pgembedd._coverage(p.*, (((COALESCE(q.fresh, (0)::numeric) + COALESCE(q.backfill, (0)::numeric)) + (COALESCE(r.dead, (0)::bigint))::numeric))::bigint) AS coverage,
    a.lag,
    pgembedd._index_state(p.*) AS index,
    p.index_due_at,
    (p.own_triggers AND p.triggers) AS triggers
   FROM (((pgembedd.pipeline p
     LEFT JOIN ( SELECT _queued.pipeline_id,
            sum(_queued.queued) FILTER (WHERE (_queued.lane = 'fresh'::text)) AS fresh,
            sum(_queued.queued) FILTER (WHERE (_queued.lane = 'backfill'::text)) AS backfill,
            sum(_queued.failing) AS failing,
            min(_queued.oldest) AS oldest
           FROM pgembedd._queued() _queued(pipeline_id, lane, queued, failing, oldest)
          GROUP BY _queued.pipeline_id) q ON ((q.pipeline_id = p.id)))
     LEFT JOIN ( SELECT row_state.pipeline_id,
            count(*) FILTER (WHERE (row_state.state = 'dead'::text)) AS dead,
            count(*) FILTER (WHERE (row_state.state = 'blank'::text)) AS blank,
            count(*) FILTER (WHERE (row_state.state = 'truncated'::text)) AS truncated
           FROM pgembedd.row_state
          GROUP BY row_state.pipeline_id) r ON ((r.pipeline_id = p.id)))
     LEFT JOIN ( SELECT activity.pipeline_id,
            sum(((activity.written + activity.cleared) + activity.unchanged)) AS rows,
            (sum((activity.lag * (((activity.written + activity.cleared) + activity.unchanged))::double precision)) / (NULLIF(sum(((activity.written + activity.cleared) + activity.unchanged)) FILTER (WHERE (activity.lag IS NOT NULL)), 0))::double precision) AS lag
           FROM pgembedd.activity
          WHERE (activity.at > (clock_timestamp() - '00:05:00'::interval))
          GROUP BY activity.pipeline_id) a ON ((a.pipeline_id = p.id)));
COMMENT ON VIEW pgembedd.status IS 'One line a pipeline: its state, what is queued in both lanes and since when, what failed, how fast it goes, how far it is.';
CREATE VIEW pgembedd.truncated AS
 SELECT p.name AS pipeline,
    r.key,
    r.dropped_tokens,
    r.since
   FROM (pgembedd.row_state r
     JOIN pgembedd.pipeline p ON ((p.id = r.pipeline_id)))
  WHERE (r.state = 'truncated'::text);
COMMENT ON VIEW pgembedd.truncated IS 'Rows whose text was longer than the model reads: how many tokens have no part in the vector, and since when.';
CREATE SEQUENCE pgembedd.worker_idle
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    MAXVALUE 1
    CACHE 1;
COMMENT ON SEQUENCE pgembedd.worker_idle IS '1 while some worker sleeps, and only then do triggers NOTIFY. A sequence: no transaction, no lock.';
ALTER TABLE ONLY pgembedd.dead_letter
    ADD CONSTRAINT dead_letter_pipeline_id_key_key UNIQUE (pipeline_id, key);
ALTER TABLE ONLY pgembedd.dead_letter
    ADD CONSTRAINT dead_letter_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd.loopback
    ADD CONSTRAINT loopback_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd.pipeline
    ADD CONSTRAINT pipeline_embedding_table_key UNIQUE (embedding_table);
ALTER TABLE ONLY pgembedd.pipeline
    ADD CONSTRAINT pipeline_name_key UNIQUE (name);
ALTER TABLE ONLY pgembedd.pipeline
    ADD CONSTRAINT pipeline_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd.pipeline
    ADD CONSTRAINT pipeline_shadow_of_key UNIQUE (shadow_of);
ALTER TABLE ONLY pgembedd.pipeline
    ADD CONSTRAINT pipeline_source_embedding_column_key UNIQUE (source, embedding_column);
ALTER TABLE ONLY pgembedd.push
    ADD CONSTRAINT push_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY pgembedd.question
    ADD CONSTRAINT question_pkey PRIMARY KEY (id);
ALTER TABLE ONLY pgembedd.row_state
    ADD CONSTRAINT row_state_pkey PRIMARY KEY (pipeline_id, key);
ALTER TABLE ONLY pgembedd.schema_revision
    ADD CONSTRAINT schema_revision_pkc PRIMARY KEY (version_num);
CREATE INDEX activity_at_idx ON pgembedd.activity USING btree (at);
CREATE INDEX question_expires_at_idx ON pgembedd.question USING btree (expires_at);
CREATE INDEX sample_at_idx ON pgembedd.sample USING btree (at);
ALTER TABLE ONLY pgembedd.activity
    ADD CONSTRAINT activity_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd.dead_letter
    ADD CONSTRAINT dead_letter_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd.pipeline
    ADD CONSTRAINT pipeline_shadow_of_fkey FOREIGN KEY (shadow_of) REFERENCES pgembedd.pipeline(id);
ALTER TABLE ONLY pgembedd.row_state
    ADD CONSTRAINT row_state_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd.pipeline(id) ON DELETE CASCADE;
ALTER TABLE ONLY pgembedd.sample
    ADD CONSTRAINT sample_pipeline_id_fkey FOREIGN KEY (pipeline_id) REFERENCES pgembedd.pipeline(id) ON DELETE CASCADE;
GRANT USAGE ON SCHEMA pgembedd TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd._abandon_index(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._acknowledge(queue text, msg_ids bigint[], outcomes text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._admit(queue text, msg_ids bigint[], read_cts integer[], messages jsonb[], notes jsonb[], enqueued timestamp with time zone[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._adopt_column(made pgembedd.pipeline, adopt boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._adopt_table(made pgembedd.pipeline, adopt boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._agreement(a pgembedd.pipeline, b pgembedd.pipeline, keys jsonb[], k integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._agrees(posted jsonb, message jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._any_queued(queue text, msg_ids bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._around(formatting text, alias text, after boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ask(pipeline pgembedd.pipeline, statement text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ask_once(made pgembedd.pipeline, statement text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._attach(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._attach_index(frame regclass, part regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._attach_replica(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._await_answer(id uuid, patience interval, OUT embedding text, OUT refusal text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._await_free(relation regclass, mode text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._await_vectors(current pgembedd.pipeline, beside pgembedd.pipeline, patience interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._backfill(pipeline pgembedd.pipeline, force boolean, at_most bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._backfilled(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._base_type(type oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._beside(name text, suffix text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._blank(content text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._brittle(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._builders(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._bury(queue text, msg_id bigint, pipeline_id integer, reason text, error text, attempts integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_change(current pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_columns(made pgembedd.pipeline, columns text[], option text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_consent(wanted pgembedd.pipeline, given text, function regprocedure) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_formatting(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_guest_key(wanted pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_history(since interval, bucket interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_options(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_owner(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_question(question pgembedd.question, timeout interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_room(current pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_source(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_swap(current pgembedd.pipeline, beside pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_table_options(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_verify(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_webhook(change jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._check_when(index_when text, index_within interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._choose(what text, model text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._chunk_columns() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._chunk_key_problem(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._claim_for_push(places integer, lease_s integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._claimed_for(message jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._connect(line text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._conninfo(through pgembedd.loopback) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._content(pipeline pgembedd.pipeline, alias text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._content_function(function regprocedure, given text, source text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._copy_rights(source regclass, from_column text, to_column text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._coverage(pipeline pgembedd.pipeline, waiting bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._create_pipeline(made pgembedd.pipeline, backfill boolean, index_when text, index_within interval, adopt boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._cut(name text, bytes integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._dblink() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._deal(queue text, qty integer, lease_s integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._dealt(queue text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._deep(threshold integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._disconnect(line text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._dismiss_guest(source regclass, embedding_column text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._distrust(pipeline pgembedd.pipeline, ids jsonb[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._drop_unfinished(pipeline_id integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._embed_problem() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._embed_remedy() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._empty_column(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._enqueue(pipeline pgembedd.pipeline, queue text, key text, rows text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ensure_column(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ensure_indexes(made pgembedd.pipeline, index_when text, index_within interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ensure_queue(queue text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ensure_table(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._ensure_view(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._estimated_rows(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._exists(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._fitting_indexes(made pgembedd.pipeline, relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._follow(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._foretell_return(gone pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._forget_jobs(queue text, pipeline_id integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._forget_old(pipeline pgembedd.pipeline, first_key text, compared text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._forget_question(id uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._forget_questions(since timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._forgiven(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._formatting_columns(formatting text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._formatting_pieces(formatting text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._free_name(source regclass, wished text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_as_owner(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_chunks_forget(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_chunks_read(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_chunks_write(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_on_row(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_read(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_triggers(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._generate_write(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._give_up_unsteady(queue text, pipeline_id integer, msg_ids bigint[], outcomes text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._grant_ask(username text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._guest(queue text, message jsonb, OUT host pgembedd.pipeline, OUT refusal text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._guest_function(source regclass, given text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._guest_name(source regclass, embedding_column text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._guest_triggers(host pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._guest_wanted(queue text, message jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._guest_with(host pgembedd.pipeline, content_function text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._has_builder(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._has_cron(role oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._has_rows(made pgembedd.pipeline, many bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._hash(content text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._hearers() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._hidden_from_owner(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._hmac(key bytea, message bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._hnsw(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._holds_vectors(made pgembedd.pipeline, relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._if_there(pipeline pgembedd.pipeline, statement text, given text, ending text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._import_chunks(name text, chunks regclass, pending regclass, fingerprint text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._import_pending(name text, pending regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._index_base(relation regclass, embedding_column text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._index_frame(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._index_name(made pgembedd.pipeline, relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._index_state(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._index_statements(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._index_within(frame regclass, relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._indexed_distance(source regclass, embedding_column text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._inherits(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._is_for(pipeline_id integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._job_count(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_columns(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_definitions(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_from_text(pipeline pgembedd.pipeline, id text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_in_words(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_json(source regclass, alias text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_match(source regclass, a text, b text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_match_numbered(source regclass, a text, b text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_numbered(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_operator(source regclass, nth bigint, strategy integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_record(source regclass, id text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._key_settings(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._last_job(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._layout_problem(made pgembedd.pipeline, relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._leaves(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._look_at(name text, ids jsonb[], with_queues boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._look_at_all(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._many_rows() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._may_index(role oid, source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._mirror_all_rights() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._mirror_rights(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._model_asked(pipeline text, model text, OUT wanted_model text, OUT wanted_fingerprint text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._near(pipeline pgembedd.pipeline, key jsonb, k integer, exact boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._nearest(pipeline pgembedd.pipeline, k integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._net_is_here() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._next_keys(name text, after jsonb, at_most integer, orphans boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._note(headers jsonb, field text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._note_outcomes(pipeline_id integer, keys jsonb[], outcomes text[], blank boolean[], dropped integer[], lag interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._note_triggers(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._noted(made pgembedd.pipeline, ids jsonb[], with_queues boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._own(signature text, owner regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._own_host() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._owner(relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._park(queue text, msg_id bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._party() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._pending(pipeline pgembedd.pipeline, pending regclass, alias text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._percent(source regclass, pages integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._pipeline(name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._pipeline_function(id integer, verb text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._pipeline_of(message jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._post_question(id uuid, model text, fingerprint text, kind text, content text, timeout interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._posted(jobs jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._problem(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._propose_chunks(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._pushed_state(queue text, msg_id bigint, posted jsonb, taken boolean, OUT state text, OUT reason text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._put_question(question pgembedd.question, timeout interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._qualified_type(type oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._queue_bytes(queue text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._queue_table(queue text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._queued() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._read_queue(queue text, qty integer, lease_s integer, poll_s integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._readers(relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._recall(pipeline pgembedd.pipeline, keys jsonb[], k integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._record(columns text[], alias text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._refuse(message text, remedy text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._refuse_dead(pipeline pgembedd.pipeline, key jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._refuse_to_wait_for_ever(timeout interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._refuse_to_wait_unseen() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._regenerate(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._register_guest(wanted pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._release(queue text, msg_ids bigint[], read_cts integer[], delay interval, note jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._remembered(secret uuid, key text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._rename_both(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._rename_column(pipeline pgembedd.pipeline, to_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._rename_table(pipeline pgembedd.pipeline, to_name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._rename_when_free(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._repair() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._row_count(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._row_hash(pipeline pgembedd.pipeline, content text, before text, after text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._row_jobs(pipeline pgembedd.pipeline, id jsonb, OUT key jsonb, OUT fresh bigint[], OUT backfill bigint[], OUT made boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._row_version(pipeline pgembedd.pipeline, key jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._rows(pipeline pgembedd.pipeline, transition text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._rows(source regclass, seen bigint, percent double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._run_as_owner(pipeline pgembedd.pipeline, signature text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._sample(percent double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._sample_keys(name text, wanted integer, seed bigint, orphans boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._schedule_index(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._schedule_push() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._scram(password text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._seal(secret uuid, key text, answer text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._shadow(current pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._shape(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._share(wanted jsonb[], found_ones jsonb[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._sharing() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._sharing_index(queue text, online boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._sharing_index_name(queue text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._sound(name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._space(relation regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._stop(pipeline_id integer, reason text, told_reason text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._stop_if_rewriting(queue text, pipeline_id integer, msg_ids bigint[], outcomes text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._stored(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._successor(current pgembedd.pipeline, shadow text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._swap(name text, shadow text, suffix text, force boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._swap_key(pipeline_id integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._swap_mode(current pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._swept(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._table_name(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._table_problem(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tables(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._take(queue text, chosen text, noting text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._take_back(id uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._take_oldest(queue text, qty integer, lease_s integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._take_pushed(queue text, jobs jsonb, lease_s integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._take_sample() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._target(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tell(event text, pipeline_id integer, told jsonb, name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tell_created(made pgembedd.pipeline, queued bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tell_stored(pipeline_id integer, queue text, outcomes text[], lag interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tend_indexes() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tend_queues() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._tokens(content text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._trace_headers() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._trigger_body(pipeline pgembedd.pipeline, before text, key text, rows text, after text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._trigger_warning(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._triggers(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._triggers_of_others(source regclass, content_function text, embedding_column text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._unfinished_indexes(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._unpark(queue text, pipeline_id integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._unschedule_indexes() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._unseen(statement text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._unwatched(pipeline pgembedd.pipeline, change jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._vector_column(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._vector_type(name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._vectors(made pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._view(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._view_name(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON PROCEDURE pgembedd._wait_for_row(IN name text, IN id jsonb, IN timeout interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._waiting_parties(queue text, at timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._waits(pipeline pgembedd.pipeline) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._wake(queue text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._watchable_columns(source regclass) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._webhook_key(pipeline pgembedd.pipeline, change jsonb, which text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._whole(value jsonb, most numeric) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._with_notes(headers jsonb, notes jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._worker_functions() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd._written_columns(source regclass, columns text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.answer_questions(ids uuid[], embeddings public.vector[], refusals text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.answer_questions(ids uuid[], embeddings public.vector[], refusals text[]) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.backfill(name text, force boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.backoff(attempts integer, base interval, cap interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.change_model(name text, model text, dimensions integer, vector_type text, distance text, m integer, ef_construction integer, chunk_tokens integer, chunk_overlap integer, splitter text, formatting text, index_within interval, backfill boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.claim(queue text, qty integer, lease_s integer, poll_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.claim(queue text, qty integer, lease_s integer, poll_s integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.claim_changed(change jsonb, lease_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.claim_changed(change jsonb, lease_s integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.claim_pushed(jobs jsonb, lease_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.claim_pushed(jobs jsonb, lease_s integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.compare_models(name text, sample integer, k integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.create_pipeline(name text, source text, content_columns text[], content_function text, embedding_column text, model text, dimensions integer, vector_type text, distance text, watch_columns text[], on_update text, backfill boolean, queue text, max_attempts integer, create_index boolean, m integer, ef_construction integer, index_when text, index_within interval, embedding_table text, chunk_tokens integer, chunk_overlap integer, splitter text, formatting text, adopt boolean, enable_always boolean, triggers boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.decline_question(id uuid, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.decline_question(id uuid, reason text) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.diagnose(pipeline_id integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.diagnose(pipeline_id integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.drop_pipeline(name text, drop_vectors boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.embed(content text, pipeline text, model text, kind text, timeout interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.embed_through(host text, port integer, username text, password text, options text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.extend(queue text, msg_ids bigint[], read_cts integer[], lease_s integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.fail(queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.fail(queue text, msg_id bigint, read_ct integer, reason text, error text, permanent boolean) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.grant_embed(role regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.grant_operator(role regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.grant_worker(role regrole) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.hear_questions() FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.hear_questions() TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.history(name text, since interval, bucket interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.index_statements(name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.lanes() FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.lanes() TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.mark_alone(queue text, msg_id bigint, read_ct integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.mark_alone(queue text, msg_id bigint, read_ct integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.metrics() FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.metrics() TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.models() FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.models() TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.overview() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.pause(name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.pin_model(pipeline_id integer, fingerprint text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.pin_model(pipeline_id integer, fingerprint text) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.process_embeddings(batch_size integer, max_requests integer, timeout_milliseconds integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.read(pipeline_id integer, ids jsonb[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.read(pipeline_id integer, ids jsonb[]) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.read_chunks(pipeline_id integer, ids jsonb[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.read_chunks(pipeline_id integer, ids jsonb[]) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.release(queue text, msg_ids bigint[], read_cts integer[], delay_s double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.release(queue text, msg_ids bigint[], read_cts integer[], delay_s double precision) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.requeue(name text, ids jsonb[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.resume(name text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.retention() FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.retry_failed(name text, reason text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.rollback(name text, force boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.schema_version() FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.schema_version() TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.set_idle(idle boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.set_idle(idle boolean) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.set_push(url text, token text, every text) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.stop_pipeline(pipeline_id integer, reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.stop_pipeline(pipeline_id integer, reason text) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.store(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], embeddings public.vector[], dropped integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.store(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], embeddings public.vector[], dropped integer[]) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.store_chunks(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[], chunk_jobs integer[], chunk_nos integer[], chunks text[], start_offsets integer[], end_offsets integer[], chunk_hashes bytea[], embeddings public.vector[], tokens integer[], tokens_kept integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.store_chunks(queue text, pipeline_id integer, msg_ids bigint[], read_cts integer[], hashes bytea[], dropped integer[], chunk_jobs integer[], chunk_nos integer[], chunks text[], start_offsets integer[], end_offsets integer[], chunk_hashes bytea[], embeddings public.vector[], tokens integer[], tokens_kept integer[]) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.sweep(at_most bigint, only_due boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.switch(name text, force boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION pgembedd.take_questions(at_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.take_questions(at_most integer) TO pgembedd_worker;
REVOKE ALL ON FUNCTION pgembedd.tick(sweep_every_s double precision, retention_every_s double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION pgembedd.tick(sweep_every_s double precision, retention_every_s double precision) TO pgembedd_worker;
REVOKE ALL ON PROCEDURE pgembedd.wait_for(IN name text, IN timeout interval) FROM PUBLIC;
REVOKE ALL ON PROCEDURE pgembedd.wait_for(IN name text, IN id anyelement, IN timeout interval) FROM PUBLIC;
REVOKE ALL ON PROCEDURE pgembedd.wait_for(IN name text, IN id text, IN timeout interval) FROM PUBLIC;
