-- The words of a query, in the syntax of web searches: "these words" must stand together, -word must not occur, `or`
-- between two says that one of them is enough. All other words are alternatives; the ranking prefers rows with many.
-- Returns {"words": lexemes, the rarest first, "shares": of rows that hold each, "required": a tsquery or null,
-- "excluded": the words and phrases of it that must not occur, or null, "plain": the query without the operators, for
-- the model}.
create or replace function pgembedd._search_words_asked(target jsonb, query text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set client_min_messages = 'warning'  -- stop words and long words are no news to the caller
as $$
declare
    configs constant oid[] := array(select c::oid from jsonb_array_elements_text(target -> 'text_configs') c);
    token record;
    term tsquery;
    either tsquery;  -- terms joined by `or`
    is_required boolean := false;
    is_alternative boolean := false;
    required tsquery;
    excluded tsquery;
    plain text := '';
begin
    for token in
        select coalesce(m.parts[2], m.parts[4]) as content, m.parts[2] is not null as phrase,
               coalesce(m.parts[1], m.parts[3]) = '-' as excluded
        from regexp_matches(left(query, 10000), E'(-?)"([^"]*)"|(-?)([^\\s"]+)', 'g') with ordinality as m(parts, nth)
        order by m.nth
    loop
        if not token.phrase and not token.excluded and lower(token.content) = 'or' and either is not null then
            is_alternative := true;
            continue;
        end if;
        term := _search_term(configs, token.content);
        if token.excluded then
            if numnode(term) > 0 then excluded := coalesce(excluded || term, term); end if;
        else
            plain := concat_ws(' ', nullif(plain, ''), token.content);
            continue when numnode(term) = 0;
            if is_required and not is_alternative then required := coalesce(required && either, either); end if;
            is_required := token.phrase or is_required and is_alternative;
            either := case when is_alternative then either || term else term end;
        end if;
        is_alternative := false;
    end loop;
    if is_required then required := coalesce(required && either, either); end if;
    required := coalesce(required && !!excluded, required, !!excluded);
    return jsonb_build_object('required', required, 'excluded', excluded,
                              'plain', case when required is null then query else plain end)
        || _search_lexemes(target, configs, plain);
end $$;

-- The same; of a search by meaning alone the query as it is.
create or replace function pgembedd._search_asked(target jsonb, mode text, query text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    asked jsonb;
begin
    if mode = 'semantic' then return jsonb_build_object('plain', query); end if;
    asked := _search_words_asked(target, query);
    if _blank(asked ->> 'plain') then
        raise exception using message = 'The query only says which words must not occur.',
            hint = 'Say what is searched, too.', errcode = '22023';
    end if;
    return asked;
end $$;

-- A word or a phrase as any of the configurations reads it.
create or replace function pgembedd._search_term(configs oid[], content text) returns tsquery
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    config oid;
    term tsquery := '';
begin
    foreach config in array configs loop
        term := term || phraseto_tsquery(config::regconfig, content);
    end loop;
    return term;
end $$;

-- The rarest 32 lexemes of a text, with the share of rows that hold each. Of a long one, such as a trace of calls with
-- addresses, those that no row holds are left out first.
create or replace function pgembedd._search_lexemes(target jsonb, configs oid[], content text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    most constant integer := 32;
    words text[] := array(
        select distinct u.lexeme from unnest(configs) c, unnest(to_tsvector(c::regconfig, content)) u);
    weighed jsonb := _search_weighed(target, words);
begin
    if cardinality(words) > most then
        words := _search_occurring(target, words, array(select jsonb_array_elements_text(weighed -> 'shares')::float8));
        weighed := _search_weighed(target, words);
    end if;
    return weighed || (select jsonb_build_object('words', coalesce(jsonb_agg(r.word order by r.share, r.word), '[]'),
                                      'shares', coalesce(jsonb_agg(r.share order by r.share, r.word), '[]'))
            from (select w.* from unnest(words, array(select jsonb_array_elements_text(weighed -> 'shares')::float8))
                                  as w(word, share)
                  order by w.share, w.word limit most) r);
end $$;

-- The words that rows hold: those of the statistics, and of the others those of 5000 rows that have any.
create or replace function pgembedd._search_occurring(target jsonb, words text[], shares double precision[])
returns text[]
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set synchronize_seqscans = off set max_parallel_workers_per_gather = 0
as $$
declare
    least_noted constant double precision := 5 / greatest(least((target ->> 'documents')::float8, 5000), 5);
    others constant text[] := array(
        select w.word from unnest(words, shares) as w(word, share) where w.share < least_noted);
    occurring text[];
begin
    execute format('select array(select distinct w.word from (select v.pgembedd_words from %s v
            where v.pgembedd_words operator(pg_catalog.@@) $1 limit 5000) v,
        pg_catalog.unnest(pg_catalog.tsvector_to_array(v.pgembedd_words)) w(word)
        where w.word operator(pg_catalog.=) any ($2))', _search_words_relation(target))
    into occurring using _search_any(others), others;
    return occurring || array(select w.word from unnest(words, shares) as w(word, share) where w.share >= least_noted);
end $$;
