-- The words of a query, in the syntax of web searches: "these words" must stand together, -word must not occur, `or`
-- between two says that one of them is enough. All other words are alternatives; the ranking prefers rows with many.
create or replace function pgembedd_internal._search_words_asked(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
set client_min_messages = 'warning'  -- stop words and long words are no news to the caller
as $$
begin
    asked.plain := left(asked.query, 10000);
    if asked.plain ~* E'"|(^|\\s)(-|or(\\s|$))' then asked := _search_syntax(target, asked); end if;
    asked.words := array(select distinct u.lexeme from unnest(target.text_configs) c,
                                unnest(to_tsvector(c::regconfig, asked.plain)) u);
    if asked.required is null then asked.plain := asked.query; end if;
    return _search_rarest(target, asked);
end $$;

create or replace function pgembedd_internal._search_syntax(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    token record;
    either tsquery;  -- terms joined by `or`
    is_required boolean := false;
    is_alternative boolean := false;
begin
    asked.plain := '';
    for token in
        select coalesce(m.parts[2], m.parts[4]) as content, m.parts[2] is not null as phrase,
               coalesce(m.parts[1], m.parts[3]) = '-' as excluded, t.term
        from regexp_matches(left(asked.query, 10000), E'(-?)"([^"]*)"|(-?)([^\\s"]+)', 'g')
             with ordinality as m(parts, nth)
        cross join lateral (  -- as any of the configurations reads it
            select string_agg(nullif(phraseto_tsquery(c::regconfig, coalesce(m.parts[2], m.parts[4]))::text, ''), ' | ')
                   ::tsquery as term from unnest(target.text_configs) c) t order by m.nth
    loop
        if token.excluded then
            asked.excluded := coalesce(asked.excluded || token.term, token.term, asked.excluded);
        elsif not token.phrase and lower(token.content) = 'or' and either is not null then
            is_alternative := true;
            continue;
        else
            asked.plain := concat_ws(' ', nullif(asked.plain, ''), token.content);
            continue when token.term is null;
            if is_required and not is_alternative then
                asked.required := coalesce(asked.required && either, either);
            end if;
            is_required := token.phrase or is_required and is_alternative;
            either := case when is_alternative then either || token.term else token.term end;
        end if;
        is_alternative := false;
    end loop;
    if is_required then asked.required := coalesce(asked.required && either, either); end if;
    asked.required := coalesce(asked.required && !!asked.excluded, asked.required, !!asked.excluded);
    return asked;
end $$;

-- The rarest 32 words, with the share of rows that hold each. Of a long query, such as a trace of calls with addresses,
-- those that no row holds are left out first.
create or replace function pgembedd_internal._search_rarest(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    most constant integer := _most('words');
begin
    asked := _search_weighed(target, asked);
    if cardinality(asked.words) > most then
        asked.words := _search_occurring(target, asked);
        asked := _search_weighed(target, asked);
    end if;
    -- A word that all rows hold counts a little, so that rows with it are in an order.
    select coalesce(array_agg(r.word), '{}'), array_agg(r.share), array_agg(greatest(-ln(r.share), 0.01)),
           array_agg(r.expected)
    into asked.words, asked.shares, asked.idfs, asked.expected
    from (select w.word, w.share, sum(w.share) over (order by w.share, w.word) * asked.documents as expected
          from unnest(asked.words, asked.shares) as w(word, share) order by w.share, w.word limit most) r;
    asked.lexemes := _search_each(asked.words);
    return asked;
end $$;

-- The words that rows hold: those of the statistics, and of the others those of 5000 rows that have any.
create or replace function pgembedd_internal._search_occurring(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns text[]
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set synchronize_seqscans = off set max_parallel_workers_per_gather = 0
as $$
declare
    least_noted constant double precision := 5 / greatest(least(asked.documents, 5000), 5);
    others constant text[] := array(
        select w.word from unnest(asked.words, asked.shares) as w(word, share) where w.share < least_noted);
    occurring text[];
begin
    execute format('select array(select distinct w.word from (select v.pgembedd_words from %s v
            where v.pgembedd_words operator(pg_catalog.@@) $1 limit 5000) v,
        pg_catalog.unnest(pg_catalog.tsvector_to_array(v.pgembedd_words)) w(word)
        where w.word operator(pg_catalog.=) any ($2))', asked.words_table)
    into occurring using _search_any(_search_each(others)), others;
    return occurring || array(
        select w.word from unnest(asked.words, asked.shares) as w(word, share) where w.share >= least_noted);
end $$;
