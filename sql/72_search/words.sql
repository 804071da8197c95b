-- The text leg: the rows or chunks that hold a word of the query and pass the filter, the best first. Each counts
-- sum of idf * ts_rank(word) / (0.7 + 0.3 * length / average length). The candidates are those with the rarest words,
-- as many words as keep them few; where these are less than wanted, all words are asked for. `held` is the share of the
-- query's idf in the words that a hit has: 1 with all of them.

create or replace function pgembedd._search_words(
    target jsonb, asked jsonb, wanted integer, filter text, per_row boolean, embedding vector,
    min_similarity double precision,
    out keys jsonb[], out chunk_nos integer[], out scores double precision[], out held double precision[],
    out candidates bigint, out any_of tsquery, out most integer
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
#variable_conflict use_variable
declare
    words constant text[] := array(select jsonb_array_elements_text(asked -> 'words'));
    shares constant double precision[] := array(select jsonb_array_elements_text(asked -> 'shares')::float8);
    weights constant double precision[] := array(select -ln(s) from unnest(shares) s);
    total constant double precision := (select nullif(sum(w), 0) from unnest(weights) w);
    taken integer;
    late boolean := true;
begin
    keys := '{}'; candidates := 0; most := 5000;
    if words = '{}' then return; end if;
    taken := greatest(1, (
        select count(*) from (
            select sum(s.share) over (order by s.nth) * (target ->> 'documents')::float8 as expected
            from unnest(shares) with ordinality as s(share, nth)) e where e.expected <= 1000));
    loop
        any_of := _search_any(words[:taken]);
        execute _search_words_statement(target, filter, cardinality(words), per_row, min_similarity is not null, late)
        into keys, chunk_nos, scores, held, candidates
        using any_of, (asked ->> 'required')::tsquery, most, wanted, _search_each(words),
              weights, embedding, min_similarity;
        exit when cardinality(keys) >= wanted;
        late := false;  -- many of the rows may have no vector
        if taken < cardinality(words) then
            taken := cardinality(words);
        elsif candidates < most then
            exit;
        else
            most := 8 * most;
        end if;
    end loop;
    held := array(select coalesce(least(h.weight / total, 1), 1) from unnest(held) with ordinality as h(weight, nth)
                  order by h.nth);
end $$;

-- Any of these lexemes, as a tsquery.
create or replace function pgembedd._search_any(words text[]) returns tsquery
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg('''' || replace(replace(w, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery
    from unnest(words) as w
$$;

create or replace function pgembedd._search_each(words text[]) returns tsquery[]
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select array(select _search_any(array[w]) from unnest(words) with ordinality as u(w, nth) order by nth) $$;

-- $1 is a tsquery of the words, $2 that of what is required, $3 bounds the candidates, $4 the hits; $5 has each word as
-- a tsquery, $6 its weight; $7 is the query's vector, $8 the least similarity. The words' table is `v`, as in the
-- comparisons of the target. A long tsvector is copied, lest it be read out of line for each word. OPERATOR() has one
-- precedence, so every term has its parentheses. With `late`, and where nothing filters, rows are looked up in the
-- order of the hits, until these suffice, instead of all that have a word.
create or replace function pgembedd._search_words_statement(
    target jsonb, filter text, words integer, per_row boolean, with_similarity boolean, late boolean default true
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    chunked constant boolean := target -> 'chunked';
    columns constant text := (target ->> 'chunk_columns') || case when chunked then ', v.chunk_no' else '' end;
    joins constant text := _search_words_joins(target);
    of_row constant boolean := per_row and chunked;
begin
    late := late and filter = 'true' and not with_similarity and not of_row;
    return _render($q$
        with candidates as materialized (select {columns}, v.pgembedd_words from {words} v {joins}
            where v.pgembedd_words operator(pg_catalog.@@) $1
              and ($2 is null or v.pgembedd_words operator(pg_catalog.@@) $2) and ({filter}) {similar} limit $3),
        found as materialized (select v.*, ({ranks}) operator(pg_catalog./) (
                0.7::float8 operator(pg_catalog.+) (0.3::float8
                operator(pg_catalog.*) (pg_catalog.length(v.pgembedd_words) operator(pg_catalog./) {length}::float8))
            ) as "pgembedd score"
            from (select {columns}, case when pg_catalog.pg_column_size(v.pgembedd_words) operator(pg_catalog.>) 1000
                                         then v.pgembedd_words operator(pg_catalog.||) ''::pg_catalog.tsvector
                                         else v.pgembedd_words end as pgembedd_words
                  from candidates v offset 0) v)
        select coalesce(pg_catalog.array_agg({key}), '{}'), pg_catalog.array_agg({chunk_no}),
               pg_catalog.array_agg(v."pgembedd score"), pg_catalog.array_agg({held}),
               (select pg_catalog.count(*) from candidates)
        from (select v.* from (select v.* from {ranked} v order by v."pgembedd score" desc, {columns}) v {exists}
              order by v."pgembedd score" desc, {columns} limit $4) v $q$, jsonb_build_object(
        'columns', columns, 'words', _search_words_relation(target), 'filter', filter,
        'ranked', case when of_row then format('(select distinct on (%1$s) v.* from found v '
            'order by %1$s, v."pgembedd score" desc, v.chunk_no)', target ->> 'chunk_columns') else 'found' end,
        'length', target ->> 'average_length', 'joins', case when not late then joins end,
        'exists', case when late then format('where exists (select from (select) one %s offset 0)', joins) end,
        'similar', case when with_similarity then format('and %s '
            'operator(pg_catalog.>=) $8', _search_similarity(target, case when chunked then 'c' else 's' end, 7)) end,
        'key', target ->> 'chunk_key', 'chunk_no', case when chunked then 'v.chunk_no' else 'null::pg_catalog.int4' end,
        'held', _search_each_term('case when v.pgembedd_words operator(pg_catalog.@@) $5[%1$s] then $6[%1$s] '
                                  'else 0::float8 end', words),
        'ranks', _search_each_term('($6[%1$s] operator(pg_catalog.*) '
                                   'pg_catalog.ts_rank(''{0.5,0.5,0.5,1}'', v.pgembedd_words, $5[%1$s]))', words)));
end $$;

-- The sum of a term of each word, which has its number for %1$s.
create or replace function pgembedd._search_each_term(term text, words integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select string_agg(format(term, n), ' operator(pg_catalog.+) ') from generate_series(1, words) n $$;

-- The words belong to rows and chunks that are there and have a vector: what is stale goes with the vector.
create or replace function pgembedd._search_words_joins(target jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if (target -> 'chunked')::boolean then
        return format('join %s s on %s join %s c on %s and c.chunk_no operator(pg_catalog.=) v.chunk_no',
            target ->> 'source', target ->> 'chunk_is_of_source', target ->> 'vectors', target ->> 'words_of_chunk');
    end if;
    return format('join %s s on %s and s.%s is not null', target ->> 'source', target ->> 'chunk_is_of_source',
        target ->> 'embedding');
end $$;
