-- The statements over a user's tables that claims, stores, status and upkeep need. _runner() may call the function that
-- holds them, and no other, so they are fixed when it is made; what they are asked with is a value, $1.
create or replace function pgembedd_internal._named_statements(pipeline pgembedd_internal.pipeline)
returns table (name text, statement text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with parts as materialized (select jsonb_build_object(  -- once, not for each statement
        'source', pipeline.source, 'target', _target(pipeline), 'vector', quote_ident(_vector_column(pipeline)),
        'key', _key_json(pipeline.source, 's'), 'lacking', _lacks_vector(pipeline),
        'version', case when pipeline.task = 'parse' then _file_hash(_file(pipeline, 's'))
                        when pipeline.watch_columns <> '{}' then _record(pipeline.watch_columns, 's')
                        else format('(pg_catalog.to_jsonb(s.*) operator(pg_catalog.-) %L::pg_catalog.text[])', array(
                            select a.attname from pg_attribute a where a.attrelid = pipeline.source and a.attnum > 0
                            and a.attname <> all (_watchable_columns(pipeline.source)))) end,
        'key_record', _key_record(pipeline.source, '$1'), 'item_record', _key_record(pipeline.source, 'i.key'),
        'is_row', _key_match(pipeline.source, 's', 'k'),
        'row_version', _row_version(pipeline.source, coalesce(pipeline.content_columns, pipeline.watch_columns)),
        'texts_hash', coalesce(case pipeline.task when 'embed' then
            _hash_of_texts(coalesce(pipeline.content_columns, pipeline.watch_columns)) end, 'null::pg_catalog.int8'),
        'after', _key_record(pipeline.source, $k$($1 operator(pg_catalog.->) 'after')$k$), 'by_key', o.by_key,
        'later', o.later, 'given_key', _key_json(pipeline.source, 'k'), 'given_columns', (
            select string_agg(format('%I %s', k.name, k.type), ', ' order by k.nth)
            from _key_columns(pipeline.source) k)) as parts from _key_order(pipeline.source) o)
    select q.name, _render(q.template, p.parts)
    from (values
        -- The keys of the rows of some partitions, and of those that have no vector.
        ('attached', $q$select {key} from {source} s where s.tableoid operator(pg_catalog.=) any (array(
            select p.oid::pg_catalog.oid from pg_catalog.jsonb_array_elements_text($1) as p(oid)))$q$),
        ('lacking', 'select {key} from {source} s where {lacking}'),
        ('first rows', _part_statement(first => true)),
        ('next rows', _part_statement(first => false)),
        -- How many rows there are in that share of the pages, how many of them lack a vector, and their keys.
        ('count', $q$select pg_catalog.jsonb_build_array(pg_catalog.count(*),
                pg_catalog.count(*) filter (where {lacking}), pg_catalog.jsonb_agg({key}) filter (
                    where ($1 operator(pg_catalog.->>) 'keys')::pg_catalog.bool and {lacking}))
            from {source} s tablesample pg_catalog.system (($1 operator(pg_catalog.->>) 'percent')::real)
                repeatable (0)$q$),
        ('has vectors', 'select pg_catalog.to_jsonb(exists (select from {target} s where s.{vector} is not null))'),
        -- A hash of the watched columns of the row of that key, or of all but its vectors.
        ('version', $q$select pg_catalog.to_jsonb(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
            {version}::pg_catalog.text, 'UTF8')), 'hex')) from {key_record} join {source} s on {is_row}$q$),
        -- The places of those keys whose rows are of the versions given with them (_row_version).
        ('of version', $q$select pg_catalog.jsonb_agg(i.nth)
            from rows from (pg_catalog.jsonb_array_elements($1 operator(pg_catalog.->) 'keys'),
                            pg_catalog.jsonb_array_elements_text($1 operator(pg_catalog.->) 'versions'))
                with ordinality as i(key, version, nth)
            cross join lateral {item_record} join {source} s on {is_row}
            where i.version operator(pg_catalog.=) {row_version}$q$),
        -- The places of those keys that have a row, and whose texts have the hash given with them, if there is one.
        ('same texts', $q$select coalesce(pg_catalog.jsonb_agg(i.nth), '[]')
            from rows from (pg_catalog.jsonb_array_elements($1 operator(pg_catalog.->) 'keys'),
                            pg_catalog.jsonb_array_elements_text($1 operator(pg_catalog.->) 'hashes'))
                with ordinality as i(key, hash, nth)
            cross join lateral {item_record} join {source} s on {is_row}
            where i.hash is null or i.hash operator(pg_catalog.=) {texts_hash}::pg_catalog.text$q$),
        -- The key of a row that was posted, as our jobs have it.
        ('key', 'select {given_key} from pg_catalog.jsonb_to_record($1) as k({given_columns})'))
        as q(name, template) cross join parts p
    union all
    select 'invalidate', _invalidate_statement(pipeline) where pipeline.embedding_table is not null
    union all
    select * from _object_statements(pipeline)
    union all
    select * from _words_statements(pipeline)
    union all
    select 'made of', _made_of_statement(pipeline, u) from pipeline u where u.embedding_table = pipeline.source
$$;

-- The statement for what another pipeline made of the rows of those keys: the place, the key of each row that it made,
-- and whether that lacks a vector.
create or replace function pgembedd_internal._made_of_statement(
    pipeline pgembedd_internal.pipeline, upstream pgembedd_internal.pipeline
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$
        select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(i.nth, {key}, {lacking})), '[]')
        from pg_catalog.jsonb_array_elements($1) with ordinality as i(key, nth)
        cross join lateral {key_record} join {source} s on {is_row}$q$, jsonb_build_object(
        'key', _key_json(pipeline.source, 's'), 'lacking', _lacks_vector(pipeline), 'source', pipeline.source,
        'key_record', _key_record(upstream.source, 'i.key'), 'is_row', _key_match(upstream.source, 's', 'k')))
$$;

-- The statement for a part of a backfill: of the first rows in the order of the key, or of the next ones `after` a key,
-- the keys of all or of those that lack a vector; the last key, and whether there may be more.
create or replace function pgembedd_internal._part_statement(first boolean) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$
        select pg_catalog.jsonb_build_object(
            'keys', coalesce(pg_catalog.jsonb_agg(r.id) filter (where r.wanted), '[]'),
            'last', (pg_catalog.array_agg(r.id))[%3$s], 'more', pg_catalog.count(*) operator(pg_catalog.=) %3$s)
        from %1$s (
            select {key} as id,
                   not ($1 operator(pg_catalog.->>) 'lacking')::pg_catalog.bool or {lacking} as wanted
            from {source} s %2$s order by {by_key} limit %3$s) r $q$,
        case when not first then '{after} cross join lateral' end, case when not first then 'where {later}' end,
        _rows_of_a_part())
$$;

create or replace function pgembedd_internal._rows_of_a_part() returns integer
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select 10000 $$;

-- One expression chooses the statement: PL/pgSQL keeps a plan for each, in every session that calls the function.
create or replace function pgembedd_internal._generate_named_statements(
    pipeline pgembedd_internal.pipeline
) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'named', 'pg_catalog.text, pg_catalog.jsonb', 'setof pg_catalog.jsonb',
        _key_settings(pipeline.source), format(
            'begin %s return query execute case %s end using $2; set constraints all immediate; end',
            _refuse_others(pipeline), (
                select string_agg(format('when $1 operator(pg_catalog.=) %L then %L', e.name, e.statement), ' ')
                from _named_statements(pipeline) e)))
$$;

-- One of these statements as a FROM item, in which $1 is what it is asked with.
create or replace function pgembedd_internal._named_statement(
    pipeline pgembedd_internal.pipeline, name text
) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select format('%s(%L, $1::pg_catalog.jsonb)', _pipeline_function(pipeline.id, 'named'), name) $$;

-- The value of one of these statements that changes nothing: what the owner's code does meanwhile is undone.
create or replace function pgembedd_internal._ask_named(
    pipeline pgembedd_internal.pipeline, name text, given jsonb default null
) returns jsonb
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _query_and_undo(format('select a from %s as a', _named_statement(pipeline, name)), given::text) $$;
