-- $1 is a tsquery of the words, $2 one of the other words, with which rows are candidates in the way 'others'; $3 is
-- that of what is required, $4 bounds the candidates, $5 the hits; $6 has each word as a tsquery, $7 its weight; $8 is
-- the query's vector, $9 the least similarity, $10 the average length. The words' table is `v`, a chunk `c`. A long
-- tsvector is copied, lest it be read out of line for each word. OPERATOR() has one precedence, so every term has its
-- parentheses. Where nothing filters, rows are looked up in the order of the hits, until these suffice, instead of all
-- that have a word. With `passing`, it is the statement that is kept, for any number of words.
create or replace function pgembedd_internal._search_words_statement(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, way text, passing text default null
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
    columns constant text := format(target.hit_columns, 'v');
    of_row constant boolean := asked.per = 'row' and target.chunked;
    late constant boolean := _search_late(target, asked);
begin
    return _render($q$
        with {passing} candidates as materialized ({candidates}),
        found as materialized (select v.*, ({ranks}) operator(pg_catalog./) (
                0.7::float8 operator(pg_catalog.+) (0.3::float8 operator(pg_catalog.*)
                    (pg_catalog.length(v.pgembedd_words) operator(pg_catalog./) $10))) as {own}_score
            from (select {columns}, case when pg_catalog.pg_column_size(v.pgembedd_words) operator(pg_catalog.>) 1000
                                         then v.pgembedd_words operator(pg_catalog.||) ''::pg_catalog.tsvector
                                         else v.pgembedd_words end as pgembedd_words
                  from candidates v offset 0) v)
        select coalesce(pg_catalog.array_agg(row (o.key, o.chunk_index, null, o.score, null, o.nth, least(o.held, 1))
                                             ::pgembedd_internal._search_hit), '{}'),
               (select array[pg_catalog.count(*) filter (where not c.{own}_other),
                             pg_catalog.count(*) filter (where c.{own}_other)] from candidates c), {near}
        from (select {key} as key, {chunk_index} as chunk_index, v.{own}_score as score,
                     (select pg_catalog.sum(w.weight) filter (where v.pgembedd_words operator(pg_catalog.@@) w.word)
                             operator(pg_catalog./) pg_catalog.sum(w.weight)
                      from rows from (pg_catalog.unnest($7), pg_catalog.unnest($6)) as w(weight, word)) as held,
                     pg_catalog.row_number() over () as nth
              from (select v.* from {ranked} order by v.{own}_score desc, {columns} limit $5) v) o
        $q$, jsonb_build_object(
        'near', case when passing is null then 'null' else
            format('(select n.hits from (%s) n(hits))', _search_statement(target, asked, 'passing', false, '($5)')) end,
        'passing', 'passing as not materialized (' || passing || '),', 'own', target.own, 'columns', columns,
        'key', format(target.key_json, 'v'), 'ranks', _search_ranks(cardinality(asked.words)),
        'candidates', case when passing is null then _search_candidates(target, asked, columns, way, late)
                           else _search_passing_candidates(target, columns, way) end, 'chunk_index', target.chunk_index,
        'ranked', case
            when of_row then format(
                '(select distinct on (%1$s) v.* from found v order by %1$s, v.%2$s_score desc, v.chunk_index) v',
                format(target.key_columns, 'v'), target.own)
            when late then format('(select v.* from found v order by v.%s_score desc, %s) v '
                                  'where exists (select from (select) one %s offset 0)', target.own, columns,
                                  _search_words_joins(target, false))
            else 'found v' end));
end $$;

-- The sum over the words, so many, or up to as many as a search ranks by.
create or replace function pgembedd_internal._search_ranks(words integer) returns text
language plpgsql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    most constant integer := coalesce(words, _most('words'));
    word constant text := '($7[%1$s] operator(pg_catalog.*) '
        'pg_catalog.ts_rank(''{0.5,0.5,0.5,1}'', v.pgembedd_words, $6[%1$s]))';
    further constant text := case when words is null then 'case when $7[%1$s] is null then 0 else ' else '' end;
begin
    return (select string_agg(format(case when n > 1 then further else '' end || word, n),
                              ' operator(pg_catalog.+) ' order by n) from generate_series(1, most) n)
        || repeat(' end', case when words is null then most - 1 else 0 end);
end $$;

-- The rows with a word of $1, then those with one of the others alone; or all at once, those of $1 before the others:
-- where a filter leaves few, to read them once takes half as long. In the way 'filter' the rows that pass it are read,
-- and of each its words: OFFSET keeps the planner from reading those of all rows. In the way 'few' the row of each is
-- looked up by its key, where no index leads to those that pass. `late`: rows are looked up later.
create or replace function pgembedd_internal._search_candidates(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, columns text,
    way text, late boolean
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
as $$
    select string_agg(_render($q$
        (select {columns}, v.pgembedd_words, {other} as {own}_other from {from}
         where v.pgembedd_words operator(pg_catalog.@@) {has}
           and ($3 is null or v.pgembedd_words operator(pg_catalog.@@) $3) and ({condition}) {similar} {most})
        $q$, jsonb_build_object(
        'own', target.own, 'columns', columns,
        'condition', asked.words_condition,
        'from', case when part = 'filter' then format(
                         '%s s join lateral (select v.* from %s v where %s offset 0) v on true %s', target.source,
                         asked.words_table, format(target.key_match, 'v', 's'), _search_words_vectors(target))
                     else concat(asked.words_table, ' v ',
                                 case when not late then _search_words_joins(target, part = 'few') end) end,
        'other', case part when 'others' then 'true' when 'all' then 'not v.pgembedd_words operator(pg_catalog.@@) $1'
                           else 'false' end,
        'has', case part when 'others' then '$2 and not v.pgembedd_words operator(pg_catalog.@@) $1'
                         when 'all' then '($1 operator(pg_catalog.||) $2)' else '$1' end,
        'most', case part when 'others' then 'limit $4'
                          when 'all' then format('order by %s_other, %s limit (6 operator(pg_catalog.*) $4)',
                                                 target.own, columns)
                          else 'limit (5 operator(pg_catalog.*) $4)' end,
        'similar', case when asked.min_similarity is not null then format('and %s operator(pg_catalog.>=) $9',
            format(target.similarity_at,
                   format(target.distance_to, case when target.chunked then 'c' else 's' end, 8))) end)), ' union all ')
    from unnest(case when way <> 'others' then array[way] when late then '{rare,others}' else '{all}' end) as part
$$;

-- The same of the rows that pass, all that have a word: in the way 'filter' each is looked up by its key.
create or replace function pgembedd_internal._search_passing_candidates(
    target pgembedd_internal._search_target, columns text, way text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return format('select %1$s, v.pgembedd_words, not v.pgembedd_words operator(pg_catalog.@@) $1 as %2$s_other '
        'from passing s join %3$s where v.pgembedd_words operator(pg_catalog.@@) '
        'coalesce($1 operator(pg_catalog.||) $2, $1)', columns, target.own, format(
            case when way = 'filter' then 'lateral (select v.* from %s v where %s offset 0) v on true'
                 else '%s v on %s' end, target.words_view, format(target.key_match, 'v', 's')));
end $$;

-- The words belong to rows and chunks that are there and have a vector: what is stale goes with the vector. `by_key`:
-- OFFSET has each row looked up, where the planner would rather read all of a table that is in memory.
create or replace function pgembedd_internal._search_words_joins(
    target pgembedd_internal._search_target, by_key boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return format(case when by_key then 'join lateral (select s.ctid, s.* from %s s where %s offset 0) s on true %s'
                       else 'join %s s on %s %s' end, target.source, format(target.key_match, 's', 'v'),
                  _search_words_vectors(target));
end $$;

create or replace function pgembedd_internal._search_words_vectors(target pgembedd_internal._search_target) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return case when target.chunked
                then format('join %s c on %s and c.chunk_index operator(pg_catalog.=) v.chunk_index',
                            target.vectors, format(target.key_match, 'c', 'v'))
                else format('and s.%s is not null', target.embedding) end;
end $$;
