-- Triggers that do not fire for an ordinary session's statements. A load may have disabled them for a while, and the
-- sweep finds its rows: so the pipeline runs on, and says so.
create or replace function pgembedd_internal._trigger_warning(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('Triggers of the pipeline on %1$s are disabled: the sweep finds new rows, but '
                  'changes go unseen. ALTER TABLE %1$s ENABLE TRIGGER ALL, then call '
                  'pgembedd.backfill(%2$L, force => true) if content may have changed meanwhile.',
                  g.tgrelid::regclass, pipeline.name)
    from pg_trigger g
    where g.tgrelid in (select _with_partitions(pipeline.source))
      and starts_with(g.tgname, format('pgembedd_%s_', pipeline.id))
      and (g.tgenabled = 'D' or g.tgenabled = 'R' and g.tgname <> format('pgembedd_%s_row', pipeline.id))
    order by g.tgrelid limit 1
$$;

create or replace function pgembedd_internal._note_triggers(pipeline pgembedd_internal.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    warning text := _trigger_warning(pipeline);
begin
    if warning is not distinct from pipeline.state_reason then return; end if;
    update pipeline p set state_reason = warning where p.id = _note_triggers.pipeline.id and p.state = 'running';
    -- rows were deleted, perhaps, and their chunks were not
    if warning is null then perform _tidy(pipeline); end if;
end $$;
