-- The triggers of a pipeline, each with the function that it calls, in the words of pg_get_triggerdef(). Those for each
-- statement are on the table and on every leaf of a partitioned one, as a statement fires only the triggers of the
-- table it names; those for each row are on the root, and Postgres clones them. With an embedding table, chunks are
-- deleted with their row.
create or replace function pgembedd_internal._triggers(pipeline pgembedd_internal.pipeline)
returns table (verb text, function text, for_each text, event text, condition text)
language sql stable rows 10
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select t.verb, t.function, t.for_each, t.event, t.condition
    from (select pipeline.embedding_table is not null,
                 pipeline.on_update = 'clear' and pipeline.embedding_column is not null) as p(chunked, clears),
    lateral (values
        ('insert', 'on_insert', 'STATEMENT', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows', '', true),
        ('update', 'on_update', 'STATEMENT',
         'AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows', '', true),
        ('delete', 'on_delete', 'STATEMENT', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows', '', p.chunked),
        ('truncate', 'on_truncate', 'STATEMENT', 'AFTER TRUNCATE ON %s', '', p.chunked),
        ('row', 'on_row', 'ROW', case when p.chunked then 'AFTER INSERT OR DELETE OR UPDATE ON %s'
                                      else 'AFTER INSERT OR UPDATE ON %s' end, '', pipeline.enable_always),
        -- The function, not its operator *<>, of which a dump would make a comparison of each column by itself.
        ('clear', 'clear', 'ROW', 'BEFORE UPDATE ON %s', format('when (pg_catalog.record_image_ne(%s, %s))',
            _record(pipeline.watch_columns, 'new'), _record(pipeline.watch_columns, 'old')), p.clears)
    ) as t(verb, function, for_each, event, condition, is_wanted)
    where t.is_wanted
$$;

-- Whether a trigger that calls the pipeline's code is one of this version.
create or replace function pgembedd_internal._is_trigger(
    pipeline pgembedd_internal.pipeline, trigger pg_trigger
) returns boolean
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select exists (
        select from _triggers(pipeline) t
        where trigger.tgname = format('pgembedd_%s_%s', pipeline.id, t.verb)
          and starts_with(pg_get_triggerdef(trigger.oid), format('CREATE TRIGGER %I %s FOR EACH %s ', trigger.tgname,
                          format(t.event, trigger.tgrelid::regclass), t.for_each)))
$$;

-- Creates what is missing of the triggers, and again the one of the verb `renewed`. Called again by maintenance, for
-- partitions attached later.
create or replace function pgembedd_internal._attach(
    pipeline pgembedd_internal.pipeline, renewed text default null
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    if not pipeline.triggers then return; end if;
    for item in
        select r as relation, format('pgembedd_%s_%s', pipeline.id, t.verb) as name, t.*
        from _with_partitions(pipeline.source) r
        join pg_class c on c.oid = r and (c.relispartition or r = pipeline.source) and c.relkind in ('r', 'p')
        join _triggers(pipeline) t on t.for_each = 'STATEMENT' or r = pipeline.source
        -- Not by `not exists`, for which all triggers of the database would be read.
        where t.verb = renewed or (select g.oid from pg_trigger g where g.tgrelid = r
                          and g.tgname = format('pgembedd_%s_%s', pipeline.id, t.verb)) is null
        order by r = pipeline.source desc, r, t.verb
    loop
        execute format('create or replace trigger %I %s for each %s %s execute function %s()', item.name,
            format(item.event, item.relation), item.for_each, item.condition,
            _pipeline_function(pipeline.id, item.function));
    end loop;
    if pipeline.enable_always then perform _enable_always(pipeline); end if;
end $$;
