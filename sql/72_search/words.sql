-- The text leg: the rows or chunks that hold a word of the query and pass the filter, the best first. Each counts
-- sum of idf * ts_rank(word) / (0.7 + 0.3 * length / average length). The candidates are those with the rarest words,
-- as many words as keep them few; where these are less than `enough`, some with the other words come after them, and
-- more of both until there are. `held` is the share of the query's idf in the words that a hit has: 1 with all of them.
-- Rows of common words are taken in the order of the table, which is the same in each page.

create or replace function pgembedd._search_words(
    target jsonb, asked jsonb, wanted integer, enough integer, filter text, per_row boolean,
    embedding @extschema:vector@.vector, min_similarity double precision,
    out keys jsonb[], out chunk_nos integer[], out scores double precision[], out held double precision[],
    out candidates bigint[], out any_of tsquery, out others tsquery, out most integer
)
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set synchronize_seqscans = off set max_parallel_workers_per_gather = 0
as $$
#variable_conflict use_variable
declare
    words constant text[] := array(select jsonb_array_elements_text(asked -> 'words'));
    shares constant double precision[] := array(select jsonb_array_elements_text(asked -> 'shares')::float8);
    weights constant double precision[] := _search_weights(shares);
    total constant double precision := (select sum(w) from unnest(weights) w);
    taken integer;
begin
    keys := '{}'; candidates := '{0,0}'; most := 1000;
    if words = '{}' then return; end if;
    loop
        taken := greatest(1, (
            select count(*) from (
                select sum(s.share) over (order by s.nth) * (target ->> 'documents')::float8 as expected
                from unnest(shares) with ordinality as s(share, nth)) e where e.expected <= most));
        any_of := _search_any(words[:taken]);
        others := case when most > 1000 then _search_any(words[taken + 1:]) end;
        execute _search_words_statement(target, filter, cardinality(words), others is not null, per_row,
                                        min_similarity is not null)
        into keys, chunk_nos, scores, held, candidates
        using any_of, (asked ->> 'required')::tsquery, most, wanted, _search_each(words),
              weights, embedding, min_similarity, others;
        exit when cardinality(keys) >= enough
               or (others is not null or taken = cardinality(words))
                  and candidates[1] < 5 * most and candidates[2] < most;
        most := 5 * most;
    end loop;
    held := array(select least(h.weight / total, 1) from unnest(held) with ordinality as h(weight, nth) order by h.nth);
end $$;

-- The idf of words with these shares. One that all rows hold counts a little, so that rows with it are in an order.
create or replace function pgembedd._search_weights(shares double precision[]) returns double precision[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select array(select greatest(-ln(s.share), 0.01)
                 from unnest(shares) with ordinality as s(share, nth) order by s.nth)
$$;

-- Any of these lexemes, as a tsquery.
create or replace function pgembedd._search_any(words text[]) returns tsquery
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg('''' || replace(replace(w, E'\\', E'\\\\'), '''', '''''') || '''', ' | ')::tsquery
    from unnest(words) as w
$$;

create or replace function pgembedd._search_each(words text[]) returns tsquery[]
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select array(select _search_any(array[w]) from unnest(words) with ordinality as u(w, nth) order by nth) $$;

-- $1 is a tsquery of the words, $2 that of what is required, $3 bounds the candidates, $4 the hits; $5 has each word as
-- a tsquery, $6 its weight; $7 is the query's vector, $8 the least similarity, $9 a tsquery of the other words: rows
-- without those of $1 are candidates `with_others`. The words' table is `v`, as in the comparisons of the target. A
-- long tsvector is copied, lest it be read out of line for each word. OPERATOR() has one precedence, so every term has
-- its parentheses. Where nothing filters, rows are looked up in the order of the hits, until these suffice, instead of
-- all that have a word.
create or replace function pgembedd._search_words_statement(
    target jsonb, filter text, words integer, with_others boolean, per_row boolean, with_similarity boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    chunked constant boolean := target -> 'chunked';
    columns constant text := (target ->> 'chunk_columns') || case when chunked then ', v.chunk_no' else '' end;
    joins constant text := _search_words_joins(target);
    of_row constant boolean := per_row and chunked;
    late constant boolean := filter = 'true' and not with_similarity and not of_row;
begin
    return _render($q$
        with candidates as materialized ({candidates}),
        found as materialized (select v.*, ({ranks}) operator(pg_catalog./) (
                0.7::float8 operator(pg_catalog.+) (0.3::float8
                operator(pg_catalog.*) (pg_catalog.length(v.pgembedd_words) operator(pg_catalog./) {length}))
            ) as {own}_score
            from (select {columns}, case when pg_catalog.pg_column_size(v.pgembedd_words) operator(pg_catalog.>) 1000
                                         then v.pgembedd_words operator(pg_catalog.||) ''::pg_catalog.tsvector
                                         else v.pgembedd_words end as pgembedd_words
                  from candidates v offset 0) v)
        select coalesce(pg_catalog.array_agg({key}), '{}'), pg_catalog.array_agg({chunk_no}),
               pg_catalog.array_agg(v.{own}_score), pg_catalog.array_agg({held}),
               (select array[pg_catalog.count(*) filter (where not c.{own}_other),
                             pg_catalog.count(*) filter (where c.{own}_other)] from candidates c)
        from (select v.* from (select v.* from {ranked} v order by v.{own}_score desc, {columns}) v {exists}
              order by v.{own}_score desc, {columns} limit $4) v $q$, jsonb_build_object(
        'own', target ->> 'own', 'columns', columns, 'ranked', case when of_row then format(
            '(select distinct on (%1$s) v.* from found v order by %1$s, v.%2$s_score desc, v.chunk_no)',
            target ->> 'chunk_columns', target ->> 'own') else 'found' end,
        'candidates', concat_ws(' union all ',
            _search_candidates(target, filter, not late, with_similarity, columns,
                               case when late or not with_others then 'rare' else 'all' end),
            case when late and with_others then
                _search_candidates(target, filter, not late, with_similarity, columns, 'others') end),
        'length', format('%L::float8', target ->> 'average_length'),
        'exists', case when late then format('where exists (select from (select) one %s offset 0)', joins) end,
        'key', target ->> 'chunk_key', 'chunk_no', case when chunked then 'v.chunk_no' else 'null::pg_catalog.int4' end,
        'held', _search_each_term('case when v.pgembedd_words operator(pg_catalog.@@) $5[%1$s] then $6[%1$s] '
                                  'else 0::float8 end', words),
        'ranks', _search_each_term('($6[%1$s] operator(pg_catalog.*) '
                                   'pg_catalog.ts_rank(''{0.5,0.5,0.5,1}'', v.pgembedd_words, $5[%1$s]))', words)));
end $$;

-- The rows with a word of $1, those with one of the others alone, or all, those of $1 before the others: where a filter
-- leaves few, to read them once takes half as long.
create or replace function pgembedd._search_candidates(
    target jsonb, filter text, joined boolean, with_similarity boolean, columns text, part text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select _render($q$
        (select {columns}, v.pgembedd_words, {other} as {own}_other from {words} v {joins}
         where v.pgembedd_words operator(pg_catalog.@@) {has}
           and ($2 is null or v.pgembedd_words operator(pg_catalog.@@) $2) and ({filter}) {similar} {most})
        $q$, jsonb_build_object(
        'own', target ->> 'own', 'columns', columns, 'words', _search_words_relation(target), 'filter', filter,
        'joins', case when joined then _search_words_joins(target) end,
        'other', case part when 'rare' then 'false' when 'others' then 'true'
                           else 'not v.pgembedd_words operator(pg_catalog.@@) $1' end,
        'has', case part when 'rare' then '$1'
                         when 'others' then '$9 and not v.pgembedd_words operator(pg_catalog.@@) $1'
                         else '($1 operator(pg_catalog.||) $9)' end,
        'most', case part when 'rare' then 'limit (5 operator(pg_catalog.*) $3)' when 'others' then 'limit $3'
                          else format('order by %s_other, %s limit (6 operator(pg_catalog.*) $3)',
                                      target ->> 'own', columns) end,
        'similar', case when with_similarity then format('and %s operator(pg_catalog.>=) $8', _search_similarity(
            target, case when (target -> 'chunked')::boolean then 'c' else 's' end, 7)) end))
$$;

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
