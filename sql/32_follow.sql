-- What somebody alters under a running pipeline. What the pipeline can do without asking is followed: a table that is
-- renamed, moved to another schema or given to another owner, a key of another type, partitions. Its code is made anew then, by the
-- sweep, or at once when a worker stumbles over the change. What needs a decision stops it (_problem).

create or replace function pgembedd._owner(relation regclass) returns regrole
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select relowner::regrole from pg_class where oid = relation $$;

-- What the generated code depends on, as text to be compared.
create or replace function pgembedd._shape(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select concat_ws(' ', pipeline.source, _owner(pipeline.source), pipeline.embedding_table, _owner(pipeline.embedding_table),
                     (select string_agg(concat_ws(' ', k.name, k.type, k.equals, k.compared), ', ' order by k.nth) from _key_columns(pipeline.source) k),
                     (select md5(string_agg(t.relid::oid::text, ' ' order by t.relid)) from pg_partition_tree(pipeline.source) t))
$$;

-- Bring the code of a pipeline up to date. Null when that was not needed, 'followed' when it was done, else a sentence
-- on what is wrong.
create or replace function pgembedd._follow(pipeline pgembedd.pipeline) returns text
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '2s'
as $$
declare
    problem text := _problem(pipeline);
    known text;
begin
    if problem is not null or pipeline.shape is not distinct from _shape(pipeline) then
        return problem;
    end if;
    -- Several workers stumble at once; whoever comes second finds it done.
    select p.shape into known from pipeline p where p.id = _follow.pipeline.id for no key update;
    if known is distinct from _shape(pipeline) then
        -- Writers queue behind whoever waits to create a trigger, so that must not be long.
        perform set_config('lock_timeout', '100ms', true), _regenerate(pipeline), set_config('lock_timeout', '2s', true);
    end if;
    return 'followed';
exception when insufficient_privilege then
    return format('The table %s is now %s of %s, which may not be followed without asking (%s). Call pgembedd.resume(%L) as a role '
        'that may act for %s.', pipeline.source_name, pipeline.source, _owner(pipeline.source), sqlerrm, pipeline.name, _owner(pipeline.source));
end $$;

-- Everything that is generated, for tables that may have been altered, or filled without our triggers.
create or replace function pgembedd._regenerate(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    owner regrole := _owner(pipeline.source);
    relation regclass;
    item record;
begin
    -- A partition that was detached is nothing to us any more.
    for item in
        select g.tgname as name, g.tgrelid::regclass as relation from pg_trigger g join pg_proc f on f.oid = g.tgfoid
        where f.pronamespace = 'pgembedd_code'::regnamespace and starts_with(f.proname, format('pipeline_%s_', pipeline.id))
          and g.tgparentid = 0 and g.tgrelid <> pipeline.source
          and not exists (select from pg_partition_tree(pipeline.source) t where t.relid = g.tgrelid)
    loop
        execute format('drop trigger %I on %s', item.name, item.relation);
    end loop;
    if pipeline.embedding_table is not null then
        foreach relation in array array[pipeline.embedding_table, _view(pipeline)] loop
            if _owner(relation) <> owner then
                execute format('alter table %s owner to %s', relation, owner);
            end if;
        end loop;
    end if;
    perform _generate(pipeline);
    if pipeline.embedding_table is not null then
        execute format('select %s()', _pipeline_function(pipeline.id, 'tidy'));
    end if;
end $$;

-- Inheritance proper, or one partition of something: statements on the other tables would not fire our triggers.
create or replace function pgembedd._inherits(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_inherits i join pg_class c on c.oid = i.inhparent
                   where (i.inhrelid = source or i.inhparent = source) and not (c.relkind = 'p' and i.inhparent = source))
$$;

-- Triggers that do not fire for an ordinary session's statements. A load may have disabled them for a while, and the
-- sweep finds its rows: so the pipeline runs on, and says so.
create or replace function pgembedd._trigger_warning(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('Triggers of the pipeline on %1$s are disabled: the sweep finds new rows, but changes go unseen. ALTER TABLE %1$s '
                  'ENABLE TRIGGER ALL, then call pgembedd.backfill(%2$L, force => true) if content may have changed meanwhile.',
                  g.tgrelid::regclass, pipeline.name)
    from pg_trigger g
    where g.tgrelid in (select pipeline.source union select t.relid from pg_partition_tree(pipeline.source) t)
      and starts_with(g.tgname, format('pgembedd_%s_', pipeline.id))
      and (g.tgenabled = 'D' or g.tgenabled = 'R' and g.tgname <> format('pgembedd_%s_row', pipeline.id))
    order by g.tgrelid limit 1
$$;

create or replace function pgembedd._note_triggers(pipeline pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    warning text := _trigger_warning(pipeline);
begin
    if warning is not distinct from pipeline.state_reason then return; end if;
    update pipeline p set state_reason = warning where p.id = _note_triggers.pipeline.id and p.state = 'running';
    if warning is null and pipeline.embedding_table is not null then  -- rows were deleted, perhaps, and their chunks were not
        execute format('select %s()', _pipeline_function(pipeline.id, 'tidy'));
    end if;
end $$;

-- Chunks are named by the source's key, so its columns must be able to hold it.
create or replace function pgembedd._chunk_key_problem(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format('%1$s.%2$I is %3$s now, and %4$s.%2$I still %5$s. Run ALTER TABLE %4$s ALTER COLUMN %2$I TYPE %3$s (the view is made '
                  'again: drop it first), then call pgembedd.resume(%6$L).', pipeline.source, k.name,
                  format_type(s.atttypid, s.atttypmod), pipeline.embedding_table, format_type(e.atttypid, e.atttypmod), pipeline.name)
    from _key_columns(pipeline.source) k
    join pg_attribute s on s.attrelid = pipeline.source and s.attname = k.name
    join pg_attribute e on e.attrelid = pipeline.embedding_table and e.attname = k.name
    where (s.atttypid, s.atttypmod) is distinct from (e.atttypid, e.atttypmod)
    order by k.nth limit 1
$$;
