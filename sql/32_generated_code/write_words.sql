-- Writes the words of rows that have a vector, and deletes those of rows and chunks that have none any more. What
-- to_tsvector does not take (a tsvector holds a megabyte) is tried again row by row with less of the text, so that no
-- vector is lost to it. With the second parameter
-- false the words that are there stay.
create or replace function pgembedd_internal._generate_words(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'words', 'pg_catalog.jsonb[], boolean', 'pg_catalog.void',
        'set lock_timeout = ''2s'' set client_min_messages = ''error''', format($body$
declare
    one jsonb;
    most integer;
begin
    if not (%4$s) then return; end if;
    begin
        execute %1$L using $1;
        execute %2$L using $1, $2, 250000;
        set constraints all immediate;
        return;
    exception
        when lock_not_available or transaction_rollback or insufficient_resources then raise;
        when others then null;
    end;
    foreach one in array $1 loop
        foreach most in array '{250000,20000,-1}'::pg_catalog.int4[] loop
            begin
                execute %1$L using array[one];
                if most operator(pg_catalog.<) 0 then execute %3$L using array[one];
                else execute %2$L using array[one], $2, most; end if;
                set constraints all immediate;
                exit;
            exception
                when lock_not_available or transaction_rollback or insufficient_resources then raise;
                when others then null;
            end;
        end loop;
    end loop;
end $body$, _words_delete(pipeline), _words_put(pipeline), _words_delete(pipeline, 'true'),
        concat_ws(' and ', _is_own_table(pipeline.source::text), _is_own_table(pipeline.words_table::text))))
$$;

create or replace function pgembedd_internal._words_delete(
    pipeline pgembedd_internal.pipeline, condition text default null
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('delete from %s w using pg_catalog.unnest($1) i(id) cross join lateral %s where %s and %s',
        pipeline.words_table, _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'w', 'k'),
        coalesce(condition, format('not exists (select from %s v where %s and %s)', _target(pipeline),
            _key_match(pipeline.source, 'v', 'w'),
            case when pipeline.embedding_table is null then format('v.%I is not null', pipeline.embedding_column)
                 else 'v.chunk_index operator(pg_catalog.=) w.chunk_index' end)))
$$;

create or replace function pgembedd_internal._words_put(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$
        insert into {words} as w ({keys}, pgembedd_words)
        select {values}, {new_words}
        from pg_catalog.unnest($1) as i(id) cross join lateral {key_record}
        join {source} s on {is_source_row} {chunks}
        where {has_vector}
        on conflict ({keys}) do update set pgembedd_words = excluded.pgembedd_words
        where $2 and w.pgembedd_words operator(pg_catalog.<>) excluded.pgembedd_words $q$, jsonb_build_object(
        'words', pipeline.words_table, 'source', pipeline.source, 'new_words', _words_of(pipeline),
        'keys', _column_list(t.columns), 'values', _column_list(t.columns, t.alias),
        'key_record', _key_record(pipeline.source, 'i.id'), 'is_source_row', _key_match(pipeline.source, 's', 'k'),
        'chunks', case when pipeline.embedding_table is not null then
            format('join %s v on %s', pipeline.embedding_table, _key_match(pipeline.source, 'v', 's')) end,
        'has_vector', case when pipeline.embedding_table is null
                           then format('s.%I is not null', pipeline.embedding_column) else 'true' end))
    from (select case when pipeline.embedding_table is null then pipeline.key_columns
                      else pipeline.key_columns || 'chunk_index'::text end,
                 case when pipeline.embedding_table is null then 's' else 'v' end) as t(columns, alias)
$$;

-- The words as an SQL expression of the source row `s` and its chunk `v`: those of the first of several columns, and of
-- what the formatting puts around a chunk, have the weight A, like a title; the others have B. $3 bounds each text.
create or replace function pgembedd_internal._words_of(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format(
        'pg_catalog.setweight(pg_catalog.to_tsvector(%s, pg_catalog.left(%s, $3)), %L)',
        _row_config(pipeline, 's'), p.expression, p.weight), ' operator(pg_catalog.||) ' order by p.nth)
    from (
        select 1 as nth, format('pg_catalog.concat(%s, '' '', %s)', _around(pipeline, 's', false),
                                _around(pipeline, 's', true)) as expression, 'A' as weight
        where pipeline.formatting is not null
        union all select 2, 'v.chunk', 'B' where pipeline.embedding_table is not null
        union all select 2, _content(pipeline, 's'), 'B'
        where pipeline.embedding_table is null and pipeline.content_function is not null
        union all select c.nth, format('pg_catalog.concat(s.%I)', c.name),
                         case when c.nth = 1 and cardinality(pipeline.content_columns) > 1 then 'A' else 'B' end
        from unnest(pipeline.content_columns) with ordinality as c(name, nth)
        where pipeline.embedding_table is null) p
$$;

-- Called by a store, in whose transaction the rows are locked.
create or replace function pgembedd_internal._store_words(
    pipeline_id integer, keys jsonb[], outcomes text[]
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ids jsonb[];
begin
    if not exists (select from pipeline p where p.id = _store_words.pipeline_id and p.words_table is not null) then
        return;
    end if;
    ids := array(select t.key from unnest(keys, outcomes) as t(key, outcome)
                 where t.outcome in ('written', 'unchanged', 'cleared', 'gone'));
    if ids <> '{}' then
        execute format('select %s($1, true)', _pipeline_function(pipeline_id, 'words')) using ids;
    end if;
end $$;
