-- The text leg: the rows or chunks that hold a word of the query and pass the filter, the best first. Each counts sum
-- of idf * ts_rank(word) / (0.7 + 0.3 * length / average length). The candidates are those with the rarest words, as
-- many words as keep them few; where these are less than `enough`, some with the other words come after them, and more
-- of both until there are. What a list of ten or more has stays its beginning, so it is that of every longer one. To a
-- list that is fused, no row of common words is added to make it longer. Rows of common words are taken as they are
-- read, mostly in the order of the table. Where the filter keeps so few rows that those with the rarest words would
-- hardly be ten, all that pass it are candidates, as long as they are no more than the planner expects by far: by the
-- filter, or by all of the words where less is read so. To look a row up by its key costs about one of the planner's
-- units. `passing` reads the rows that pass with their distances to the vector $8, of which the nearest are found, too.
create or replace function pgembedd_internal._search_words(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, passing text default null,
    out hits pgembedd_internal._search_hit[], out candidates bigint[], out any_of tsquery,
    out others tsquery, out most integer, out way text, out near pgembedd_internal._search_hit[]
)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set synchronize_seqscans = off set enable_seqscan = off
as $$
declare
    workers constant text := current_setting('max_parallel_workers_per_gather');
    ignored text;
    taken integer;
    expected double precision[];  -- rows with these words, and with any
    -- Not where policies hide rows, of which the planner knows, nor where words are required, which no filter finds.
    by_filter constant boolean := asked.matches <= 5000 and asked.words_condition <> 'true' and asked.required is null
        and not row_security_active(target.source);
    at_once boolean;
    list pgembedd_internal._search_hit[];
    enough constant integer := case asked.mode when 'hybrid' then asked.wanted / 6 else asked.wanted end;
begin
    hits := '{}'; candidates := '{0,0}'; most := 1000;
    if asked.words = '{}' then return; end if;
    loop
        select greatest(count(*) filter (where sum <= most), 1),
               array[coalesce(max(sum) filter (where sum <= most), most), max(sum)] into taken, expected
        from (select sum(share) over (order by nth) * asked.documents
              from unnest(asked.shares) with ordinality as s(share, nth)) e(sum);
        at_once := way is null and by_filter and expected[1] * asked.matches < 10 * asked.documents;
        way := case when at_once and asked.exact_cost + asked.matches < expected[2] then 'filter'
                    when at_once or most = 1000 and expected[1] < most and asked.by_index is not true then 'few'
                    when most > 1000 and taken < cardinality(asked.words) then 'others' else 'rare' end;
        any_of := _search_any(case when at_once then asked.words else asked.words[:taken] end);
        others := case way when 'others' then _search_any(asked.words[taken + 1:]) end;
        if way = 'filter' and passing is null then asked := _search_filtered_once(target, asked); end if;
        ignored := _search_words_set(target, asked, way);
        execute _search_words_statement(target, asked, way, passing) into list, candidates, near
        using any_of, others, asked.required, most, asked.wanted, _search_each(asked.words), asked.idfs,
              asked.embedding, asked.min_similarity;
        ignored := set_config('max_parallel_workers_per_gather', workers, true);
        continue when at_once and candidates[1] >= 5 * most;
        hits := case when cardinality(hits) < 10 then list
                     else _search_joined(hits, list, asked.wanted, asked.per, 'text') end;
        exit when at_once or cardinality(hits) >= enough
               or (others is not null or taken = cardinality(asked.words))
                  and candidates[1] < 5 * most and candidates[2] < most;
        most := 5 * most;
    end loop;
end $$;

-- Rows are read in the order of the table, by one process. To find words in all rows takes more than the planner
-- thinks. It decides by itself of a word that nearly all rows have, of which the first rows suffice; of words that a
-- policy keeps the index from; and where no index leads to the rows that pass the filter, unless each is looked up: by
-- their keys all rows would be read, in disorder.
create or replace function pgembedd_internal._search_words_set(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, way text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return concat(set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_seqscan', case
        when row_security_active(target.source) or asked.shares[1] > 0.9
             or way <> 'few' and not _search_late(target, asked) and asked.by_index is not true then 'on'
        else 'off' end, true));
end $$;

-- Whether rows are looked up in the order of the hits.
create or replace function pgembedd_internal._search_late(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return asked.words_condition = 'true' and asked.min_similarity is null
           and not (asked.per = 'row' and target.chunked);
end $$;

-- Each of these lexemes as a tsquery, and any of them as one; null of none.
create or replace function pgembedd_internal._search_each(words text[]) returns tsquery[]
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(select ('''' || replace(replace(w, E'\\', E'\\\\'), '''', '''''') || '''')::tsquery
                 from unnest(words) with ordinality as u(w, nth) order by nth);
end $$;

create or replace function pgembedd_internal._search_any(words text[]) returns tsquery
language plpgsql immutable strict
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return nullif(array_to_string(_search_each(words), ' | '), '')::tsquery;
end $$;

-- $1 is a tsquery of the words, $2 one of the other words, with which rows are candidates in the way 'others'; $3 is
-- that of what is required, $4 bounds the candidates, $5 the hits; $6 has each word as a tsquery, $7 its weight; $8 is
-- the query's vector, $9 the least similarity. The words' table is `v`, a chunk `c`. A long tsvector is copied, lest it
-- be read out of line for each word. OPERATOR() has one precedence, so every term has its parentheses. Where nothing
-- filters, rows are looked up in the order of the hits, until these suffice, instead of all that have a word.
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
    ranks constant text := (
        select string_agg(format('($7[%1$s] operator(pg_catalog.*) pg_catalog.ts_rank(''{0.5,0.5,0.5,1}'', '
                                 'v.pgembedd_words, $6[%1$s]))', n), ' operator(pg_catalog.+) ')
        from generate_series(1, cardinality(asked.words)) n);
begin
    return _render($q$
        with {passing} candidates as materialized ({candidates}),
        found as materialized (select v.*, ({ranks}) operator(pg_catalog./) (
                0.7::float8 operator(pg_catalog.+) (0.3::float8 operator(pg_catalog.*)
                    (pg_catalog.length(v.pgembedd_words) operator(pg_catalog./) {length}))) as {own}_score
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
                     pg_catalog.row_number() over (order by v.{own}_score desc, {columns}) as nth
              from (select v.* from (select v.* from {ranked} v order by v.{own}_score desc, {columns}) v {exists}
                    order by v.{own}_score desc, {columns} limit $5) v) o $q$, jsonb_build_object(
        'passing', 'passing as materialized (' || passing || '),', 'near', case when passing is null then 'null' else
            format('(select n.hits from (%s) n(hits))', _search_statement(target, asked, 'passing', false, '($5)')) end,
        'own', target.own, 'columns', columns, 'key', format(target.key_json, 'v'), 'chunk_index', target.chunk_index,
        'ranks', ranks, 'length', format('%L::float8', asked.average_length),
        'candidates', _search_candidates(target, asked, columns, way, late, passing is not null),
        'ranked', case when of_row then format(
            '(select distinct on (%1$s) v.* from found v order by %1$s, v.%2$s_score desc, v.chunk_index)',
            format(target.key_columns, 'v'), target.own) else 'found' end,
        'exists', case when late then format('where exists (select from (select) one %s offset 0)',
                                             _search_words_joins(target, false)) end));
end $$;

-- The rows with a word of $1, then those with one of the others alone; or all at once, those of $1 before the others:
-- where a filter leaves few, to read them once takes half as long. In the way 'filter' the rows that pass it are read,
-- and of each its words: OFFSET keeps the planner from reading those of all rows. In the way 'few' the row of each is
-- looked up by its key, where no index leads to those that pass. `late`: rows are looked up later.
create or replace function pgembedd_internal._search_candidates(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, columns text,
    way text, late boolean, passing boolean
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
        'condition', case when passing then 'true' else asked.words_condition end,
        'from', case when part = 'filter' then format(
                         '%s s join lateral (select v.* from %s v where %s offset 0) v on true %s',
                         case when passing then 'passing' else target.source::text end, asked.words_table,
                         format(target.key_match, 'v', 's'),
                         case when not passing then _search_words_vectors(target) end)
                     else concat(asked.words_table, ' v ', case
                         when passing then format('join passing s on %s', format(target.key_match, 's', 'v'))
                         when not late then _search_words_joins(target, part = 'few') end) end,
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
