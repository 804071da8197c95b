-- Schema changes under a running pipeline. A table that is renamed, moved to another schema or given to another owner,
-- a key of another type and new partitions are followed: the generated code is made again by the sweep, or when a
-- worker meets the change. A change that needs a decision stops the pipeline (problem.sql).

-- A text of everything that the generated code depends on, to be compared.
create or replace function pgembedd_internal._shape(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select concat_ws(' ', pipeline.source, _owner(pipeline.source),
        pipeline.embedding_table, _owner(pipeline.embedding_table),
        pipeline.words_table, _owner(pipeline.words_table), _has_words(pipeline.words_table),
        (select string_agg(concat_ws(' ', k.name, k.type, k.equals, k.compared), ', ' order by k.nth)
         from _key_columns(pipeline.source) k),
        (select md5(string_agg(t::oid::text, ' ' order by t)) from _with_partitions(pipeline.source) t),
        -- Which versions of the catalog's rows name the tables and the columns in use. A name that is changed and
        -- changed back is the same name again, but code may have been made for the other one meanwhile.
        md5(concat_ws(' ',
            (select string_agg(t.xmin::text, ' ' order by t.oid) from pg_type t
             where t.oid in (select c.reltype from pg_class c
                             where c.oid in (pipeline.source, pipeline.embedding_table))),
            (select string_agg(a.xmin::text, ' ' order by a.attrelid, a.attnum) from pg_attribute a
             where a.attnum > 0 and not a.attisdropped
               and a.attrelid in (pipeline.source, pipeline.embedding_table)
               and (a.attrelid = pipeline.embedding_table or (a.attrelid = pipeline.source and a.attname = any (
                   pipeline.key_columns || pipeline.content_columns || pipeline.watch_columns
                   || pipeline.embedding_column || _formatting_columns(pipeline))))))))
$$;

-- Brings the generated code of a pipeline up to date; runs no code of the table's owner. Returns null when that was not
-- needed, 'followed' when it was done, else a sentence about the problem.
create or replace function pgembedd_internal._follow(pipeline pgembedd_internal.pipeline) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set lock_timeout = '2s'
as $$
declare
    problem text := _problem(pipeline);
    known text;
begin
    -- Each of the looks into the catalog sees another moment: what a rename in between makes of it is gone at once.
    if problem is not null then problem := _problem(pipeline); end if;
    if problem is not null then return problem; end if;
    if pipeline.shape is not distinct from _shape(pipeline) and _is_search_prepared(pipeline.id) then
        return null;
    end if;
    -- Several workers may come at once; the second one finds it done.
    select p.shape into known from pipeline p where p.id = _follow.pipeline.id for no key update;
    if known is distinct from _shape(pipeline) then
        -- Writers queue behind a session that waits to create a trigger, so that must not be long.
        perform set_config('lock_timeout', '100ms', true), _remake(pipeline),
            set_config('lock_timeout', '2s', true);
    elsif known = pipeline.shape then
        perform _follow_search(pipeline);
        return null;
    end if;
    return 'followed';
exception when insufficient_privilege then
    return format('The table %s is now %s of %s, which may not be followed without '
                  'asking (%s). Call pgembedd.resume(%L) as a role that may act for %s.',
        pipeline.source_name, pipeline.source, _owner(pipeline.source), sqlerrm, pipeline.name,
        _owner(pipeline.source));
end $$;

-- Everything that is generated, for tables that may have been altered, or filled without our triggers.
create or replace function pgembedd_internal._regenerate(pipeline pgembedd_internal.pipeline) returns void
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _remake(pipeline), _tidy(pipeline) $$;

-- Deletes the chunks of rows that are gone.
create or replace function pgembedd_internal._tidy(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if pipeline.embedding_table is not null then
        execute format('select %s()', _pipeline_function(pipeline.id, 'tidy'));
        perform pgembedd_internal._check_session();
    end if;
end $$;

create or replace function pgembedd_internal._remake(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    item record;
    before constant oid[] := array(select f.oid from _generated(pipeline.id) f order by f.oid);
    versions constant tid[] := array(select f.version from _generated(pipeline.id) f order by f.oid);
begin
    -- A partition that was detached is nothing to us any more; another version may have had other triggers.
    for item in
        select g.tgname as name, g.tgrelid::regclass as relation from _triggers_of(before) t
        join pg_trigger g on g.oid = t.oid
        where not g.tgisinternal and g.tgparentid = 0
          and not (_is_trigger(pipeline, g) and g.tgrelid in (select _with_partitions(pipeline.source)))
        order by g.tgrelid desc
    loop
        execute format('drop trigger %I on %s', item.name, item.relation);
    end loop;
    perform _give_to_owner(pipeline.embedding_table, pipeline.source), _give_to_owner(_view(pipeline), pipeline.source);
    pipeline := _follow_words(pipeline);
    begin
        perform _generate(pipeline);
    exception when invalid_function_definition or wrong_object_type then  -- another version's, of other parameters
        perform _drop_generated(array(
            select f.oid from _generated(pipeline.id) f
            where not exists (select from _triggers_of(array[f.oid]))));
        perform _generate(pipeline);
    end;
    -- What is still as it was has not been made again: this version has no such function.
    perform _drop_generated(array(
        select f.oid from _generated(pipeline.id) f
        join unnest(before, versions) as b(oid, version) using (oid, version)));
    update pipeline p set code_version = _code_version(p.id) where p.id = _remake.pipeline.id;
end $$;

-- Which versions of the catalog's rows the code and the triggers of a pipeline are, by which sql/ they were made, for
-- which roles, and with vector in which schema: what was made again, altered, granted or restored since has another
-- text. The tables are followed by their shape.
create or replace function pgembedd_internal._code_version(pipeline_id integer) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    with made as (select array_agg(f.oid) as functions from _generated($1) f)
    select md5(concat_ws(' ', (select i.sql_digest from installation i), _runner()::oid, _owner_of_schema()::oid,
        _schema_of_vector()::oid,
        (select string_agg(concat_ws('.', f.oid, f.xmin, f.ctid), ' ' order by f.oid)
         from pg_proc f where f.oid = any (m.functions)),
        (select string_agg(concat_ws('.', g.oid, g.xmin, g.ctid), ' ' order by g.oid)
         from _triggers_of(m.functions) t join pg_trigger g on g.oid = t.oid)))
    from made m
$$;
