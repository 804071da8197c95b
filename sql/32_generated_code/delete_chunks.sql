-- A table of that name that belongs to whom the function runs as: where ours was dropped or renamed, another role may
-- have made one, with triggers that would run with the owner's rights.
create or replace function pgembedd_internal._is_own_table(named text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('exists (select from pg_catalog.pg_class c '
                  'where c.oid operator(pg_catalog.=) pg_catalog.to_regclass(%L) '
                  'and pg_catalog.pg_get_userbyid(c.relowner) operator(pg_catalog.=) current_user)', named)
$$;

-- The statement by which other generated functions refuse such a table, with the error for one that is missing.
create or replace function pgembedd_internal._refuse_others(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format($q$if not (%s) then raise exception 'A table of the pipeline has another name or owner.'
                     using errcode = 'undefined_table'; end if;$q$,
        concat_ws(' and ', _is_own_table(pipeline.source::text), case when pipeline.embedding_table is not null
                  then _is_own_table(pipeline.embedding_table::text) end))
$$;

-- A block that deletes chunks. A writer's statement must not fail because the embedding table was dropped, so its name
-- is looked up, and EXECUTE plans afresh: a plan made for one row would be kept for a hundred thousand.
create or replace function pgembedd_internal._if_table_exists(
    pipeline pgembedd_internal.pipeline, statement text, given text, ending text
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('begin if %s then execute %L %s; end if; %s %s %s end',
        _is_own_table(pipeline.embedding_table::text), statement, given, ending, _ignore_schema_errors(pipeline),
        ending)
$$;

create or replace function pgembedd_internal._generate_chunks_forget(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _generate_for_owner(pipeline, 'forget', 'pg_catalog.jsonb[]', 'pg_catalog.void', '',
        _if_table_exists(pipeline, format(
            'delete from %s e using pg_catalog.unnest($1) i(id) cross join lateral %s where %s',
            pipeline.embedding_table, _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'e', 'k')),
            'using $1', '')),
        _generate_for_owner(pipeline, 'on_delete', '', 'pg_catalog.trigger', '', _if_table_exists(pipeline, format(
            'delete from %s e using old_rows o where %s',
            pipeline.embedding_table, _key_match(pipeline.source, 'e', 'o')), '', 'return null;')),
        -- One partition alone may have been emptied, so what is left decides.
        _generate_for_owner(pipeline, 'on_truncate', '', 'pg_catalog.trigger', '', format($body$
declare
    emptied boolean;
begin
    if not (%s and %s) then return null; end if;
    execute %L into emptied;
    if emptied then execute %L; else execute %L; end if;
    return null;%s return null;
end $body$, _is_own_table(pipeline.embedding_table::text), _is_own_table(pipeline.source::text),
            format('select not exists (select from %s)', pipeline.source),
            format('truncate %s', pipeline.embedding_table), _delete_orphans(pipeline),
            _ignore_schema_errors(pipeline))),
        _generate_for_owner(pipeline, 'tidy', '', 'pg_catalog.void', '', format(
            'begin %s %s; set constraints all immediate; end', _refuse_others(pipeline), _delete_orphans(pipeline)))
$$;

create or replace function pgembedd_internal._delete_orphans(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('delete from %s e where not exists (select from %s s where %s)',
        pipeline.embedding_table, pipeline.source, _key_match(pipeline.source, 's', 'e'))
$$;

-- Marks the chunks of the rows with those keys, so that the next store takes over no vector for an equal text. It waits
-- for no row; the source is named first, so that its lock comes first, as with a writer's DELETE and TRUNCATE, which
-- rules out deadlocks. Chunks that are being deleted or written now are left out.
create or replace function pgembedd_internal._invalidate_chunks(
    pipeline pgembedd_internal.pipeline, keys jsonb
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    execute format('select a from %s as a', _named_statement(pipeline, 'invalidate')) using keys;
    perform pgembedd_internal._check_session();
end $$;

create or replace function pgembedd_internal._invalidate_statement(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _render($q$
        with source as (select from {source}), held as materialized (
            select c.ctid as place from pg_catalog.jsonb_array_elements($1) as i(id) cross join lateral {key_record}
            join {chunks} c on {is_chunk}
            where c.content_hash operator(pg_catalog.<>) '' for update of c skip locked),
        u as (update {chunks} e set content_hash = '' from held h
              where e.ctid operator(pg_catalog.=) h.place returning 1)
        select pg_catalog.to_jsonb(pg_catalog.count(*)) from u $q$, jsonb_build_object(
        'source', pipeline.source, 'chunks', pipeline.embedding_table,
        'key_record', _key_record(pipeline.source, 'i.id'), 'is_chunk', _key_match(pipeline.source, 'c', 'k')))
$$;
