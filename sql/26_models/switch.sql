-- switch_model() and revert_model() swap all names in one transaction, while writers, readers and workers go on.

create or replace function pgembedd.switch_model(pipeline text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text;
begin
    ignored := _swap(pipeline, 'next', 'previous', force);
end $$;
comment on function pgembedd.switch_model is
    'Put the vectors that change_model() made in the place of the old ones, which stay for revert_model().';

create or replace function pgembedd.revert_model(pipeline text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text;
begin
    ignored := _swap(pipeline, 'previous', 'next', force);
end $$;
comment on function pgembedd.revert_model is 'Undo switch_model(): put the old vectors back in their place.';

create or replace function pgembedd_internal._swap(name text, shadow text, suffix text, force boolean) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    current pgembedd_internal.pipeline;
    successor pgembedd_internal.pipeline;
    one pgembedd_internal.pipeline;
    ignored text;
begin
    current := _pipeline(name);
    successor := _successor(current, shadow);
    if force is not true then
        begin
            ignored := _check_swap(current, successor);
            ignored := _await_vectors(current, successor);
            -- The locks of having looked go with the subtransaction: with them, a writer's TRUNCATE and we would wait
            -- for each other.
            raise exception using errcode = 'PGE01';
        exception when sqlstate 'PGE01' then
            null;
        end;
    end if;
    perform _rename_when_free(current, successor, suffix);
    update pipeline p
    set name = current.name || '.' || suffix, shadow_of = successor.id, shadow = suffix,
        embedding_column = _suffixed_name(current.embedding_column, suffix),
        embedding_table_name = p.embedding_table::text
    where p.id = current.id;
    update pipeline p
    set name = current.name, shadow_of = null, shadow = null,
        embedding_column = current.embedding_column, embedding_table_name = p.embedding_table::text
    where p.id = successor.id;
    perform _rename_indexes(current.id), _rename_indexes(successor.id);
    for one in select p.* from pipeline p where p.id in (current.id, successor.id) loop
        perform _rename_in_comments(one), _generate(one);
    end loop;
    perform _notify(case suffix when 'previous' then 'switched' else 'reverted' end, successor.id,
        jsonb_build_object('model', successor.model, 'replaced_id', current.id,
                           'replaced', current.name || '.' || suffix, 'replaced_model', current.model));
end $$;
