-- The text leg: the rows or chunks that hold a word of the query and pass the filter, the best first. Each counts
-- sum of idf * ts_rank(word) / (0.7 + 0.3 * length / average length). The candidates are those with the rarest words,
-- as many words as keep them few; where these are less than `enough`, some with the other words come after them, and
-- more of both until there are. What a list of ten or more has stays its beginning, so it is that of every longer one.
-- To a list that is fused, no row of common words is added to make it longer. Rows of common words are taken in the
-- order of the table.
create or replace function pgembedd_internal._search_words(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked,
    out hits pgembedd_internal._search_hit[], out candidates bigint[], out any_of tsquery,
    out others tsquery, out most integer
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set synchronize_seqscans = off set max_parallel_workers_per_gather = 0
as $$
declare
    taken integer;
    list pgembedd_internal._search_hit[];
    enough constant integer := case asked.mode when 'hybrid' then asked.wanted / 6 else asked.wanted end;
begin
    hits := '{}'; candidates := '{0,0}'; most := 1000;
    if asked.words = '{}' then return; end if;
    loop
        taken := greatest(1, (
            select count(*) from (
                select sum(s.share) over (order by s.nth) * asked.documents as expected
                from unnest(asked.shares) with ordinality as s(share, nth)) e where e.expected <= most));
        any_of := _search_any(asked.words[:taken]);
        others := case when most > 1000 then _search_any(asked.words[taken + 1:]) end;
        execute _search_words_statement(target, asked, others is not null) into list, candidates
        using any_of, others, asked.required, most, asked.wanted, _search_each(asked.words), asked.idfs,
              asked.embedding, asked.min_similarity;
        hits := case when cardinality(hits) < 10 then list else _search_joined(hits, list, asked, 'text') end;
        exit when cardinality(hits) >= enough
               or (others is not null or taken = cardinality(asked.words))
                  and candidates[1] < 5 * most and candidates[2] < most;
        most := 5 * most;
    end loop;
end $$;

-- Each of these lexemes as a tsquery, and any of them as one; null of none.
create or replace function pgembedd_internal._search_each(words text[]) returns tsquery[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(select ('''' || replace(replace(w, E'\\', E'\\\\'), '''', '''''') || '''')::tsquery
                 from unnest(words) with ordinality as u(w, nth) order by nth);
end $$;

create or replace function pgembedd_internal._search_any(words text[]) returns tsquery
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return nullif(array_to_string(_search_each(words), ' | '), '')::tsquery;
end $$;

-- $1 is a tsquery of the words, $2 one of the other words: rows without those of $1 are candidates `with_others`; $3 is
-- that of what is required, $4 bounds the candidates, $5 the hits; $6 has each word as a tsquery, $7 its weight; $8 is
-- the query's vector, $9 the least similarity. The words' table is `v`, a chunk `c`. A long tsvector is copied, lest it
-- be read out of line for each word. OPERATOR() has one precedence, so every term has its parentheses. Where nothing
-- filters, rows are looked up in the order of the hits, until these suffice, instead of all that have a word.
create or replace function pgembedd_internal._search_words_statement(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, with_others boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    columns constant text := format(target.hit_columns, 'v');
    of_row constant boolean := asked.per = 'row' and target.chunked;
    late constant boolean := asked.words_condition = 'true' and asked.min_similarity is null and not of_row;
    sums record;
begin
    select string_agg(format('($7[%1$s] operator(pg_catalog.*) pg_catalog.ts_rank(''{0.5,0.5,0.5,1}'', '
                             'v.pgembedd_words, $6[%1$s]))', n), ' operator(pg_catalog.+) ') as ranks,
           string_agg(format('case when v.pgembedd_words operator(pg_catalog.@@) $6[%1$s] then $7[%1$s] '
                             'else 0::float8 end', n), ' operator(pg_catalog.+) ') as held
    into sums from generate_series(1, cardinality(asked.words)) n;
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
        select coalesce(pg_catalog.array_agg(
                   row (o.key, o.chunk_index, null, o.score, null, o.nth,
                        least(o.held operator(pg_catalog./) (select pg_catalog.sum(w) from pg_catalog.unnest($7) w), 1)
                   )::pgembedd_internal._search_hit), '{}'),
               (select array[pg_catalog.count(*) filter (where not c.{own}_other),
                             pg_catalog.count(*) filter (where c.{own}_other)] from candidates c)
        from (select {key} as key, {chunk_index} as chunk_index, v.{own}_score as score, {held} as held,
                     pg_catalog.row_number() over (order by v.{own}_score desc, {columns}) as nth
              from (select v.* from (select v.* from {ranked} v order by v.{own}_score desc, {columns}) v {exists}
                    order by v.{own}_score desc, {columns} limit $5) v) o $q$, jsonb_build_object(
        'own', target.own, 'columns', columns, 'key', format(target.key_json, 'v'), 'chunk_index', target.chunk_index,
        'ranks', sums.ranks, 'held', sums.held, 'length', format('%L::float8', asked.average_length),
        'candidates', _search_candidates(target, asked, columns, with_others, late),
        'ranked', case when of_row then format(
            '(select distinct on (%1$s) v.* from found v order by %1$s, v.%2$s_score desc, v.chunk_index)',
            format(target.key_columns, 'v'), target.own) else 'found' end,
        'exists', case when late then format('where exists (select from (select) one %s offset 0)',
                                             _search_words_joins(target)) end));
end $$;

-- The rows with a word of $1, then those with one of the others alone; or all at once, those of $1 before the others:
-- where a filter leaves few, to read them once takes half as long. `late`: the rows are looked up later.
create or replace function pgembedd_internal._search_candidates(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, columns text,
    with_others boolean, late boolean
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(_render($q$
        (select {columns}, v.pgembedd_words, {other} as {own}_other from {words} v {joins}
         where v.pgembedd_words operator(pg_catalog.@@) {has}
           and ($3 is null or v.pgembedd_words operator(pg_catalog.@@) $3) and ({condition}) {similar} {most})
        $q$, jsonb_build_object(
        'own', target.own, 'columns', columns, 'words', asked.words_table, 'condition', asked.words_condition,
        'joins', case when not late then _search_words_joins(target) end,
        'other', case part when 'rare' then 'false' when 'others' then 'true'
                           else 'not v.pgembedd_words operator(pg_catalog.@@) $1' end,
        'has', case part when 'rare' then '$1'
                         when 'others' then '$2 and not v.pgembedd_words operator(pg_catalog.@@) $1'
                         else '($1 operator(pg_catalog.||) $2)' end,
        'most', case part when 'rare' then 'limit (5 operator(pg_catalog.*) $4)' when 'others' then 'limit $4'
                          else format('order by %s_other, %s limit (6 operator(pg_catalog.*) $4)',
                                      target.own, columns) end,
        'similar', case when asked.min_similarity is not null then format('and %s operator(pg_catalog.>=) $9',
            format(target.similarity_at,
                   format(target.distance_to, case when target.chunked then 'c' else 's' end, 8))) end)), ' union all ')
    from unnest(case when not with_others then '{rare}' when late then '{rare,others}' else '{all}' end::text[]) as part
$$;

-- The words belong to rows and chunks that are there and have a vector: what is stale goes with the vector.
create or replace function pgembedd_internal._search_words_joins(target pgembedd_internal._search_target) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return format('join %s s on %s ', target.source, format(target.key_match, 's', 'v'))
        || case when target.chunked
                then format('join %s c on %s and c.chunk_index operator(pg_catalog.=) v.chunk_index',
                            target.vectors, format(target.key_match, 'c', 'v'))
                else format('and s.%s is not null', target.embedding) end;
end $$;
