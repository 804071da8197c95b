-- The text leg: the rows or chunks that hold a word of the query and pass the filter, the best first. Each counts sum
-- of idf * ts_rank(word) / (0.7 + 0.3 * length / average length). The candidates are those with the rarest words, as
-- many words as keep them few; where these do not fill the list, some with the other words come after them, and more
-- of both until there are. What a list of ten or more has stays its beginning, so it is that of every longer one. To a
-- list that is fused, no row of common words is added to make it longer. Rows of common words are taken as they are
-- read, mostly in the order of the table. Where the filter keeps so few rows that those with the rarest words would
-- hardly be ten, all that pass it are candidates, as long as they are no more than the planner expects by far: by the
-- filter, or by all of the words where less is read so. To look a row up by its key costs about one of the planner's
-- units. `passing` reads the rows that pass with their distances to the vector $8 and calls the function that is kept
-- for them, which finds the nearest of them, too. It looks each up by its key where less is read so.
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
    expected double precision;  -- rows with one of the words
    -- Not where policies hide rows, of which the planner knows, nor where words are required, which no filter finds.
    by_filter constant boolean := asked.matches <= 5000 and asked.words_condition <> 'true' and asked.required is null
        and not row_security_active(target.source);
    at_once boolean;
    list pgembedd_internal._search_hit[];
begin
    hits := '{}'; candidates := '{0,0}'; most := 1000;
    if asked.words = '{}' then return; end if;
    loop
        taken := greatest(width_bucket(most, asked.expected), 1);
        expected := least(asked.expected[taken], most);
        at_once := way is null and by_filter and expected * asked.matches < 10 * asked.documents;
        if at_once then expected := asked.expected[cardinality(asked.words)]; end if;
        way := case when at_once and asked.exact_cost + asked.matches < expected then 'filter'
                    when at_once or most = 1000 and expected < most and asked.by_index is not true then 'few'
                    when most > 1000 and taken < cardinality(asked.words) then 'others' else 'rare' end;
        any_of := _search_any(case when at_once then asked.lexemes else asked.lexemes[:taken] end);
        others := case way when 'others' then _search_any(asked.lexemes[taken + 1:]) end;
        if way = 'filter' and passing is null then asked := _search_filtered_once(target, asked); end if;
        ignored := _search_words_set(target, asked, case when passing is null then way end);
        execute coalesce(passing, _search_words_statement(target, asked, way)) into list, candidates, near
        using any_of, others, asked.required, most, asked.wanted, asked.lexemes, asked.idfs,
              asked.embedding, asked.min_similarity, asked.average_length,
              way in ('filter', 'others') or 3 * asked.matches < expected;
        ignored := set_config('max_parallel_workers_per_gather', workers, true);
        continue when at_once and candidates[1] >= 5 * most;
        hits := case when cardinality(hits) < 10 then list
                     else _search_joined(hits, list, asked.wanted, asked.per, 'text') end;
        exit when at_once or cardinality(hits) >= asked.wanted / case asked.mode when 'hybrid' then 6 else 1 end
               or (others is not null or taken = cardinality(asked.words))
                  and candidates[1] < 5 * most and candidates[2] < most;
        most := 5 * most;
    end loop;
end $$;

-- Rows are read in the order of the table, by one process. To find words in all rows takes more than the planner
-- thinks. It decides by itself of a word that nearly all rows have, of which the first rows suffice; of words that a
-- policy keeps the index from; and where no index leads to the rows that pass the filter, unless each is looked up: by
-- their keys all rows would be read, in disorder. Null is the way of a statement that is kept, which has its own.
create or replace function pgembedd_internal._search_words_set(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked, way text
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return concat(set_config('max_parallel_workers_per_gather', '0', true), set_config('enable_seqscan', case
        when way is null or row_security_active(target.source) or asked.shares[1] > 0.9
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

create or replace function pgembedd_internal._search_any(lexemes tsquery[]) returns tsquery
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
    return nullif(array_to_string(lexemes, ' | '), '')::tsquery;
end $$;
