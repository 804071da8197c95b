-- What takes chunks away. A writer's statement must not fail because the embedding table is not there any more, so
-- its name is looked up, and EXECUTE plans afresh: a plan made for one row would be kept for a hundred thousand.
create or replace function pgembedd._if_table_exists(pipeline pgembedd.pipeline, statement text, given text, ending text) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('begin if pg_catalog.to_regclass(%L) is not null then execute %L %s; end if; %s %s %s end', pipeline.embedding_table,
                  statement, given, ending, _ignore_schema_errors(pipeline), ending)
$$;

create or replace function pgembedd._generate_chunks_forget(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    forget text := _pipeline_function(pipeline.id, 'forget');
    on_delete text := _pipeline_function(pipeline.id, 'on_delete');
    on_truncate text := _pipeline_function(pipeline.id, 'on_truncate');
    tidy text := _pipeline_function(pipeline.id, 'tidy');
begin
    execute format('create or replace function %s(ids jsonb[]) returns void language plpgsql security definer
                    set row_security = off as %L', forget,
        _if_table_exists(pipeline, format(
            'delete from %s e using pg_catalog.unnest($1) i(id) cross join lateral %s where %s', pipeline.embedding_table,
            _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'e', 'k')), 'using ids', ''));
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set row_security = off as %L', on_delete,
        _if_table_exists(pipeline, format(
            'delete from %s e using old_rows o where %s', pipeline.embedding_table, _key_match(pipeline.source, 'e', 'o')),
            '', 'return null;'));
    -- One partition alone may have been emptied, so what is left decides.
    execute format('create or replace function %s() returns trigger language plpgsql security definer
                    set row_security = off as %L', on_truncate, format($body$
declare
    emptied boolean;
begin
    if pg_catalog.to_regclass(%1$L) is null then return null; end if;
    execute %2$L into emptied;
    if emptied then execute %3$L; else execute %4$L; end if;
    return null;%5$s return null;
end $body$, pipeline.embedding_table, format('select not exists (select from %s)', pipeline.source),
            format('truncate %s', pipeline.embedding_table),
            format('delete from %s e where not exists (select from %s s where %s)', pipeline.embedding_table,
                pipeline.source, _key_match(pipeline.source, 's', 'e')), _ignore_schema_errors(pipeline)));
    execute format('create or replace function %s() returns void language plpgsql security definer
                    set row_security = off as %L', tidy, format('begin delete from %s e where not exists (select from %s s where %s); end',
        pipeline.embedding_table, pipeline.source, _key_match(pipeline.source, 's', 'e')));
    perform _run_as_owner(pipeline, forget || '(pg_catalog.jsonb[])'), _run_as_owner(pipeline, on_delete || '()'),
            _run_as_owner(pipeline, on_truncate || '()'), _run_as_owner(pipeline, tidy || '()');
end $$;

-- No chunk is to be taken over for its text any more: of the keys `ids`, or of all when that is null. Nothing here waits
-- for a row, and whoever calls has read the source before, so that its lock comes first, as with a writer's DELETE and
-- TRUNCATE: no writer can come into a deadlock with this. What somebody deletes or writes at this moment is left out.
create or replace function pgembedd._invalidate_chunks(pipeline pgembedd.pipeline, ids jsonb[] default null) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _ask(pipeline, format($q$
        with held as materialized (
            select c.ctid as place from %1$s c where c.content_hash operator(pg_catalog.<>) '' and %2$s for update of c skip locked),
        u as (update %1$s e set content_hash = '' from held h where e.ctid operator(pg_catalog.=) h.place returning 1)
        select pg_catalog.to_jsonb(pg_catalog.count(*)) from u $q$, pipeline.embedding_table,
        case when ids is null then 'true' else format('exists (select from pg_catalog.unnest(%L::pg_catalog.jsonb[]) as i(id) cross join lateral %s where %s)',
            ids, _key_record(pipeline.source, 'i.id'), _key_match(pipeline.source, 'c', 'k')) end));
end $$;
