-- embed(): the vector of a text inside a query. The text has to reach a worker, and its vector has to come back, while
-- the caller's transaction is open: so embed() connects to its own database once more, and what is done there is
-- committed at once. A question is a row of an unlogged table for as long as it takes; a worker hears of it by NOTIFY.
-- The second connection's role may call the three functions that post, await and forget a question, and nothing else.

-- Every worker that answers holds this advisory lock, shared; it ends with the worker, however that ends. Returns
-- the process ids of their sessions, null where there are none. Locks are seen at once, whatever the snapshot.
create or replace function pgembedd._hearers() returns integer[]
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(l.pid) from pg_locks l
    where l.locktype = 'advisory' and l.classid = 1885824356 and l.objid = 0 and l.objsubid = 2 and l.granted
      and l.mode = 'ShareLock' and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;

-- Which model, and of which fingerprint its vectors must be; no fingerprint where nothing is pinned yet.
create or replace function pgembedd._model_asked(
    pipeline text, model text, out wanted_model text, out wanted_fingerprint text
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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

-- A search without an index calls embed() for every row, so the last answer of a transaction is kept in a setting of
-- it. Anybody may write settings; the seal, of which only the owner knows the secret, says that the answer is ours.
create or replace function pgembedd._seal(secret uuid, key text, answer text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select encode(sha256(convert_to(secret || key || answer || secret, getdatabaseencoding())), 'hex') $$;

create or replace function pgembedd._remembered(secret uuid, key text) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    memo text := current_setting('pgembedd.answer', true);  -- key, seal, answer
begin
    if starts_with(memo, key) and substr(memo, 65, 64) = _seal(secret, key, substr(memo, 129)) then
        return substr(memo, 129);
    end if;
    return null;
end $$;

create or replace function pgembedd.embed(
    content text, pipeline text default null, model text default null, kind text default 'query',
    timeout interval default '5 s'
) returns vector
language plpgsql stable security definer cost 1000
set search_path = pg_catalog, pgembedd, pg_temp
set standard_conforming_strings = on  -- the session is anybody's, and everything that is called here has backslashes
as $$
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
comment on function pgembedd.embed is
    'The vector of a text, from a running worker: order by embedding <=> pgembedd.embed(''…''). Null for null.';

-- What is wrong with a question, before anybody is bothered with it.
create or replace function pgembedd._check_question(question pgembedd.question, timeout interval) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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

-- The schema of dblink, quoted; null where it is not installed.
create or replace function pgembedd._dblink() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'dblink'
$$;

create or replace function pgembedd._embed_remedy() returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when _dblink() is null
        then 'It needs the extension dblink, which comes with Postgres: as an administrator, create extension dblink; then, as the owner of pgembedd, select pgembedd.embed_through();'
        else 'As the owner of pgembedd: select pgembedd.embed_through();' end
$$;

-- Ask over a connection of its own and return the vector as text. The connection is closed whatever happens: as long as
-- it has a name, whoever may call dblink's functions in this session could use it.
create or replace function pgembedd._put_question(question pgembedd.question, timeout interval) returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
end $$;

-- The question of a caller who does not wait for it any more.
create or replace function pgembedd._take_back(id uuid) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
end $$;

-- Also for a caller who cancels again and again: as long as the connection is there, it is tried once more.
create or replace function pgembedd._disconnect(line text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
end $$;

-- A statement of the second connection as pg_stat_activity does not show it: that keeps only the beginning. All askers
-- have one role, which sees its own sessions there; with the text and the id of a question it could have its answer, too.
create or replace function pgembedd._unseen(statement text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select '/* pgembedd.embed() */' || repeat(' ', pg_size_bytes(current_setting('track_activity_query_size'))::integer) || statement $$;

create or replace function pgembedd._connect(line text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
end $$;

-- Where this server listens: on the loopback address if it does, else on the first it names, else on its socket.
create or replace function pgembedd._own_host() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when a.addresses && array['*', '0.0.0.0', 'localhost', '127.0.0.1'] then '127.0.0.1'
                when a.addresses && array['::', '::1'] then '::1'
                else nullif(a.addresses[1], '') end
    from (select regexp_split_to_array(btrim(current_setting('listen_addresses')), '\s*,\s*') as addresses) a
$$;

-- libpq's key='value' pairs. What is not given is what this server says of itself.
create or replace function pgembedd._conninfo(through pgembedd.loopback) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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

-- -- What the second connection calls ------------------------------------------------------------------------

create or replace function pgembedd._post_question(
    id uuid, model text, fingerprint text, kind text, content text, timeout interval
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    insert into question (id, model, fingerprint, kind, content, expires_at)
    values (id, model, fingerprint, kind, content, clock_timestamp() + timeout);
    perform pg_notify('pgembedd_questions', '');
end $$;

-- Wait so long for the answer, which ends the question; nulls when it has not come. It looks more seldom the longer it takes, so that it adds a
-- twentieth to the time at most, and fifty callers that wait for one worker do not take its processor from it.
create or replace function pgembedd._await_answer(id uuid, patience interval, out embedding text, out refusal text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set extra_float_digits = 1  -- all digits, whatever the default of the database or of the role
as $$
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
end $$;

create or replace function pgembedd._forget_question(id uuid) returns void
language sql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$ delete from question q where q.id = $1 $$;

-- -- What a worker calls ---------------------------------------------------------------------------------------

-- From now on this session answers questions, and hears of each by NOTIFY.
create or replace function pgembedd.hear_questions() returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    listen pgembedd_questions;
    return pg_try_advisory_lock_shared(1885824356, 0);
end $$;
comment on function pgembedd.hear_questions is 'Answer questions in this session from now on.';

-- Take up to so many questions; also those of a worker that is gone, and none that this one has declined. What nobody
-- waits for any more is thrown away. `known`: a pipeline has that model.
create or replace function pgembedd.take_questions(at_most integer default 8)
returns table (id uuid, model text, fingerprint text, known boolean, kind text, content text)
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
set enable_seqscan = off  -- an old snapshot somewhere keeps what was deleted: look at none of it
as $$
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
comment on function pgembedd.take_questions is 'Texts that wait in pgembedd.embed() for their vectors; at most so many.';

-- Delete the questions that have expired since then.
create or replace function pgembedd._forget_questions(since timestamptz default '-infinity') returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set enable_seqscan = off
as $$
declare
    at_present timestamptz := clock_timestamp();
begin
    delete from question q using (
        select f.id from question f where f.expires_at >= since and f.expires_at < at_present for update skip locked) f
    where q.id = f.id;
end $$;

-- Of each question its vector, or a sentence why there is none. Returns how many were still this session's.
create or replace function pgembedd.answer_questions(ids uuid[], embeddings vector[], refusals text[]) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    answered integer;
begin
    update question q set embedding = a.embedding, refusal = a.refusal, content = null
    from unnest(ids, embeddings, refusals) as a(id, embedding, refusal)
    where q.id = a.id and q.taken_by = pg_backend_pid();
    get diagnostics answered = row_count;
    return answered;
end $$;
comment on function pgembedd.answer_questions is 'Give each question its vector, or a sentence why there is none.';

-- This worker cannot answer, but another might: it has another model, or another precision. When all that are there
-- have declined, the caller is told the last one's reason.
create or replace function pgembedd.decline_question(id uuid, reason text) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
comment on function pgembedd.decline_question is 'Leave a question to another worker; the reason is the answer when all have declined.';

-- -- Setting up and granting ------------------------------------------------------------------------------------

-- A SCRAM verifier for a random password: one round of hashing, since nobody could guess it, and every further one
-- would be paid with each connection. So the password itself is in no statement either.
create or replace function pgembedd._scram(password text) returns text
language plpgsql volatile
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    salt bytea := uuid_send(gen_random_uuid());
    salted bytea := _hmac(convert_to(password, 'UTF8'), salt || '\x00000001');
begin
    return format('SCRAM-SHA-256$1:%s$%s:%s', encode(salt, 'base64'),
        encode(sha256(_hmac(salted, 'Client Key')), 'base64'), encode(_hmac(salted, 'Server Key'), 'base64'));
end $$;

-- HMAC with SHA-256 (RFC 2104), for keys of up to 64 bytes.
create or replace function pgembedd._hmac(key bytea, message bytea) returns bytea
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
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

-- Where and as whom embed() connects to its own database. Without a username it makes a role of its own, which may
-- do nothing but ask; its password is random, and in the table `loopback`, which nobody may read.
create or replace function pgembedd.embed_through(
    host text default null, port integer default null, username text default null, password text default null,
    options text default null
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
comment on function pgembedd.embed_through is
    'Say where and as whom pgembedd.embed() connects to its own database; without a username a role is made for it.';

create or replace function pgembedd._grant_ask(username text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format('grant usage on schema pgembedd to %I', username);
    execute format('grant execute on function pgembedd._post_question, pgembedd._await_answer, pgembedd._forget_question to %I', username);
end $$;

create or replace function pgembedd.grant_embed(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
comment on function pgembedd.grant_embed is 'Let a role call pgembedd.embed().';

-- What keeps embed() from connecting; null when nothing does. For the doctor.
create or replace function pgembedd._embed_problem() returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
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
end $$;
