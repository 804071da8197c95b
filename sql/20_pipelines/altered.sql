-- ALTER that rewrites contents fires no trigger of a row. Neither does ATTACH PARTITION, which brings rows that were
-- changed elsewhere. The sweep notices both: what the catalog says of the columns that a content is made of, and of the
-- partitions, is noted for each pipeline. Where contents were altered all rows are queued; where a partition was
-- attached, all of its rows.

-- Notes of the content: by column its number (a column of that name may be another one by now), its kind of type (all
-- strings are alike), its expression, the labels of its enum, and the transaction that last defined it; and the file of
-- each table, which a rewrite replaces, as VACUUM FULL does; and the transaction that attached each partition. `of`
-- changes with a restore, after which none of the numbers can be compared.
create or replace function pgembedd_internal._content_shape(pipeline pgembedd_internal.pipeline) returns jsonb
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select jsonb_build_object(
        'of', format('%s %s', pipeline.source::oid, (select c.system_identifier from pg_control_system() c)),
        'files', (select coalesce(jsonb_object_agg(c.oid, pg_relation_filenode(c.oid)), '{}')
                  from _with_partitions(pipeline.source) t join pg_class c on c.oid = t where c.relkind = 'r'),
        'attached', (select coalesce(jsonb_object_agg(i.inhrelid, i.xmin::text), '{}')
                     from pg_partition_tree(pipeline.source) t join pg_inherits i on i.inhrelid = t.relid),
        'columns', (
            select coalesce(jsonb_object_agg(a.attname, jsonb_strip_nulls(jsonb_build_object(
                'type', case when t.typcategory = 'S' then 'S' else format_type(a.atttypid, null) end,
                'expression', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end,
                'defined', a.xmin::text, 'number', a.attnum,
                'labels', (select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum e
                           where e.enumtypid = _base_type(coalesce(nullif(t.typelem, 0), t.oid)))))), '{}')
            from pg_attribute a join pg_type t on t.oid = a.atttypid
            left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            where a.attrelid = pipeline.source and a.attnum > 0 and not a.attisdropped
              and (a.attname = any (coalesce(pipeline.content_columns || _formatting_columns(pipeline),
                                             pipeline.watch_columns))
                   or (pipeline.content_function is not null and a.attgenerated <> ''))))
$$;

-- The columns whose contents were changed between two notes; null when none was.
create or replace function pgembedd_internal._altered_columns(before jsonb, after jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    with files as (
        select coalesce(bool_or(b.value <> a.value), false) as replaced
        from jsonb_each(before -> 'files') b join jsonb_each(after -> 'files') a using (key))
    select string_agg(quote_ident(b.key), ', ' order by b.key)
    from jsonb_each(before -> 'columns') b join jsonb_each(after -> 'columns') a using (key) cross join files
    where before -> 'of' = after -> 'of'
      and (b.value - '{defined,labels}'::text[] <> a.value - '{defined,labels}'::text[]
           or (files.replaced and b.value -> 'defined' <> a.value -> 'defined')
           -- A label that was added is in no row yet.
           or b.value -> 'labels' <> (
               select coalesce(jsonb_agg(l.value order by l.nth), '[]')
               from jsonb_array_elements(nullif(a.value -> 'labels', 'null')) with ordinality as l(value, nth)
               where b.value -> 'labels' @> l.value))
$$;

-- Queues what was altered or attached since the last sweep, which `present` was noted before the triggers were made: of
-- what came later the next sweep sees that it came. Returns how many rows.
create or replace function pgembedd_internal._enqueue_altered(
    pipeline pgembedd_internal.pipeline, present jsonb
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    altered text := _altered_columns(pipeline.content_shape, present);
    before constant jsonb := pipeline.content_shape;
    -- The partitions that hold rows and were attached since, themselves or with what they are parts of.
    attached constant oid[] := array(
        select distinct t.relid::oid
        from jsonb_each(present -> 'attached') a cross join lateral pg_partition_tree(a.key::oid) t
        where t.isleaf and before -> 'of' = present -> 'of' and before ? 'attached'
          and before -> 'attached' -> a.key is distinct from a.value);
    queued bigint := 0;
begin
    if present is distinct from pipeline.content_shape then
        update pipeline p set content_shape = present where p.id = _enqueue_altered.pipeline.id;
    end if;
    if altered is not null then
        queued := _backfill(pipeline, 'anew');
        update pipeline p set requeued_at = clock_timestamp(), requeued_reason = format(
            'The contents of %s were altered (%s), so its %s queued at %s.', pipeline.source, altered,
            _counted(queued, 'row was', 'rows were'),
            to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI UTC'))
        where p.id = _enqueue_altered.pipeline.id;
    elsif attached <> '{}' then
        -- All of their rows: whether a vector is that of the text is known by computing it.
        queued := _enqueue_rows(pipeline, _named_statement(pipeline, 'attached'), to_jsonb(attached));
    end if;
    return queued;
end $$;
