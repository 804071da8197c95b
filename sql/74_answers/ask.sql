-- Everything that finds runs as the caller, here and now: a worker is given excerpts, and reads no table. What is
-- written is admitted by the policies of our tables, so that a caller asks under its own name only.
create or replace function pgembedd.ask(
    pipeline text,
    question text,
    k integer default 6,
    filter jsonb default null,
    language_model text default null,
    thread uuid default null,
    embedding @extschema:vector@.vector default null
) returns uuid
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = on
as $$
#variable_conflict use_variable
declare
    one constant uuid := gen_random_uuid();
    conversation constant uuid := coalesce(thread, gen_random_uuid());
    subject text;
    target pgembedd_internal._search_target;
    searched text;
    remedy text;
begin
    subject := _subject();
    perform _check_question(question, k, language_model, thread);
    target := _search_target(pipeline, null);
    perform _check_language_model(target.name, language_model);
    if thread is null then
        insert into answer_thread (id, role, subject) values (conversation, current_user, subject);
    end if;
    -- A question that follows others is searched with them.
    searched := (select string_agg(e.question, E'\n' order by e.asked_at) from (
        select a.question, a.asked_at from answer a
        where a.thread = conversation and a.status <> 'refused'
          and (a.status <> 'stopped' or a.attempt > 0)  -- else it was never begun
        order by a.asked_at desc limit 3) e);
    insert into answer (id, thread, pipeline, question, language_model, role, subject)
    values (one, conversation, target.name, question, language_model, current_user, subject);
    perform _find_sources(one, target, searched, question, filter, k, embedding);
    perform _begin_answer(one);
    return one;
exception when invalid_parameter_value or insufficient_privilege or object_not_in_prerequisite_state or undefined_object
        or no_data_found or undefined_column or datatype_mismatch or program_limit_exceeded
        or insufficient_resources then
    get stacked diagnostics remedy = pg_exception_hint;
    if remedy = '' then raise; end if;
    raise exception using message = sqlerrm, errcode = sqlstate, hint = remedy;  -- without the statements above
end $$;
comment on function pgembedd.ask is
    'Search a pipeline for a question as the caller, and queue an answer from what was found; returns the id.';

create or replace function pgembedd_internal._check_question(
    question text, k integer, language_model text, thread uuid
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _check_texts('{question,language_model}', array[question, language_model]);
    if _subject() is null then
        raise exception 'The claims have no sub, so an answer would belong to all who have none.'
            using errcode = 'insufficient_privilege', hint = 'Ask with the token of a user, whose sub says who asks.';
    elsif question is null or _blank(_without_operators(question)) then
        raise exception using message = 'The question is empty.',
            hint = 'Ask something in some words.', errcode = 'invalid_parameter_value';
    elsif k is null or k not between 1 and 50 then
        raise exception using message = format('k %s is out of range.', coalesce(k::text, 'NULL')),
            hint = 'It is how many sources an answer may have, 1 to 50.', errcode = 'invalid_parameter_value';
    elsif thread is not null and not exists (select from answer_thread t where t.id = thread) then
        raise exception using message = format('There is no thread %s, or it is of others.', thread),
            hint = 'Leave it out to begin one; share_thread() lets others go on with it.', errcode = 'no_data_found';
    end if;
end $$;

-- Who asks within a role: the subject of the JWT that a service has verified, as Supabase's auth.uid() has it.
-- Empty without claims: then it is the role itself. Null for claims without a subject, as all such tokens would be one
-- asker: they ask nothing and see nothing. Claims that cannot be read are refused: without them the session would ask,
-- and see, as the role alone.
create or replace function pgembedd_internal._subject() returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    given constant text := current_setting('request.jwt.claims', true);
    claims jsonb;
begin
    if coalesce(given, '') = '' then return ''; end if;
    begin
        claims := given::jsonb;
    exception when data_exception or statement_too_complex then null;
    end;
    if jsonb_typeof(claims) is distinct from 'object' then
        raise exception 'request.jwt.claims is no JSON object.' using errcode = 'invalid_parameter_value',
            hint = 'Set it to the claims of a user, as {"sub": "a-user"}, or RESET it to ask as the role alone.';
    end if;
    perform _check_texts('{subject}', array[claims ->> 'sub']);
    return nullif(claims ->> 'sub', '');
end $$;

-- What is as like the question as it has to be, best first. A question that follows others is searched with them, but
-- has to be like some text itself.
create or replace function pgembedd_internal._find_sources(
    answer uuid, target pgembedd_internal._search_target, earlier text, question text, filter jsonb, k integer,
    embedding @extschema:vector@.vector
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    settings answer_settings;
    threshold double precision;
begin
    select s.* into settings from answer_settings s where s.pipeline = target.name;
    threshold := coalesce(settings.min_similarity, _answer_threshold(target.model));
    if earlier is not null and not exists (
        select from search(target.name, _without_operators(question), 1, filter, mode => 'semantic', per => 'chunk',
                           embedding => embedding, options => '{"snippet_length": 0}') h
        where h.similarity >= threshold)
    then
        return;  -- the hits would be those of the earlier questions
    end if;
    insert into answer_source (answer, n, pipeline, key, title, excerpt, texts_hash, score, similarity, place)
    with found as materialized (
        select h.*
        from search(target.name, _without_operators(concat_ws(E'\n', earlier, question)), k, filter,
                    per => 'chunk', embedding => embedding,
                    options => '{"snippet_length": 2000, "snippet_marks": ["", ""]}')
             with ordinality as h(key, chunk_index, score, similarity, semantic_rank, text_rank, snippet, record, place,
                     nth)
        where h.similarity >= threshold
          and not _blank(coalesce(h.snippet, '')) and length(h.key::text) <= 12000)
    select $1, row_number() over (order by f.score desc, f.nth), target.name, f.key,
           _answer_title(coalesce(f.record ->> settings.title_column, f.place ->> 'text', f.snippet)), f.snippet,
           r.hash, f.score, f.similarity, f.place
    from found f
    left join _readable_rows(target.name, array(select f.key from found f)) r on r.key = f.key;
end $$;

-- Below this similarity a text says nothing about a question. Models differ in where their similarities lie.
create or replace function pgembedd_internal._answer_threshold(model text) returns double precision
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select coalesce((_known_model(model)).min_similarity, 0.2) $$;

-- A question is no query: its quotes and dashes mean nothing to a search.
create or replace function pgembedd_internal._without_operators(question text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select regexp_replace(translate(question, '"', ' '), E'(^|\\s)-+', E'\\1', 'g')
$$;

create or replace function pgembedd_internal._answer_title(content text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _beginning((regexp_match(content, E'\\S[^\\n\\r]*'))[1], 120)
$$;

create or replace function pgembedd_internal._url_columns(template text) returns setof text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select distinct m[1] from regexp_matches(template, E'\\{([^{}]+)\\}', 'g') m $$;

-- The template with columns of the row for their names in braces, each encoded as a part of a URL.
create or replace function pgembedd_internal._answer_url(template text, "row" jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    name text;
    url text := template;
begin
    for name in select _url_columns(template) loop
        if "row" ->> name is null or length("row" ->> name) > 1000 then return null; end if;
        url := replace(url, '{' || name || '}', (
            select string_agg(case when c ~ '^[A-Za-z0-9._~-]$' then c
                                   else upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', E'%\\1',
                                                             'g'))
                              end, '' order by nth)
            from regexp_split_to_table("row" ->> name, '') with ordinality as t(c, nth)));
    end loop;
    return case when length(url) <= 8000 then url end;
end $$;
