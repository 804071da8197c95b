-- create_pipeline(existing_vectors => ...): vectors that exist already, from a dropped pipeline or another program.
-- 'keep' keeps them, 'clear' deletes them, 'refuse' refuses the call, because a search may only compare vectors of one
-- model, and only the user knows which model these are of. Those of another number of dimensions than the model has are
-- refused whatever the option: they cannot be kept, and nothing would come in their place.

create or replace function pgembedd_internal._holds_vectors(
    made pgembedd_internal.pipeline, relation regclass
) returns boolean
language sql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when _may_have_rows(relation) then _execute_once(made, format(
        'select pg_catalog.to_jsonb(exists (select from %s where %I is not null))',
        relation, _vector_column(made)), is_query => true)::boolean else false end
$$;

-- Refuses vectors of which neither is said, and those that do not fit the model. `place` is the option that names them:
-- embedding_column or embedding_table.
create or replace function pgembedd_internal._check_existing_vectors(
    made pgembedd_internal.pipeline, what text, place text, existing_vectors text
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    known constant integer := _model_dimensions(made.model);
    -- Null where it is not known here, and where an operator may have a provider shorten them.
    of_model constant integer := case when strpos(made.model, ':') = 0 then (_known_model(made.model)).dimensions
                                      when known < made.dimensions then known end;
begin
    if of_model <> made.dimensions then
        raise exception using
            message = format('%s holds vectors of %s dimensions, and those of the model %s have %s.', what,
                made.dimensions, made.model, of_model),
            hint = format('Name another %s: it is created, and these vectors stay. Or name a model of %s dimensions.',
                place, made.dimensions), errcode = 'datatype_mismatch';
    elsif existing_vectors = 'refuse' and made.task = 'parse' then
        raise exception using message = format('%s holds pages already.', what),
            hint = format('Name another %s: it is created, and these pages stay. Or say existing_vectors => ''keep'' '
                'to keep those of files and a parser that are the same; ''clear'' deletes them all at once.', place),
            errcode = 'object_not_in_prerequisite_state';
    elsif existing_vectors = 'refuse' then
        raise exception using message = format('%s holds vectors already.', what),
            hint =
                format('Name another %s: it is created, and these vectors stay. Or say existing_vectors => ''keep'' to '
                   'keep them and embed what is missing, if they are of the model %s; existing_vectors => ''clear'' '
                   'deletes them all at once, and has every row embedded again.', place, made.model),
            errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

create or replace function pgembedd_internal._take_column(
    made pgembedd_internal.pipeline, existing_vectors text
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    ignored text;
begin
    if _holds_vectors(made, made.source) then
        ignored := _check_existing_vectors(made, format('%s.%I', made.source, made.embedding_column),
            'embedding_column', existing_vectors);
        if existing_vectors = 'clear' then
            -- One UPDATE, as it happens before this pipeline has any trigger. Triggers of the user's fire as they do
            -- when a vector is written, and so with the rights of the table's owner, hence the function.
            perform _execute_once(made, format('update %1$s set %2$I = null where %2$I is not null', made.source,
                made.embedding_column));
        end if;
    end if;
end $$;

-- The embedding table that is there already and may be taken, or null where there is none.
create or replace function pgembedd_internal._take_table(
    made pgembedd_internal.pipeline, existing_vectors text
) returns regclass
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    named text[] := _table_name(made);
    relation regclass := to_regclass(format('%I.%I', named[1], named[2]));
    taken text := (select p.name from pipeline p where p.embedding_table = relation);
    place constant text := (_table_option(made)).option;
    ignored text;
begin
    if relation is null then
        return null;
    elsif taken is not null then
        raise exception using message = format('%s is filled by the pipeline "%s" already.', relation, taken),
            hint = format('Name another %s.', place), errcode = 'object_in_use';
    elsif _owner(relation) <> _owner(made.source) then  -- as whom it would be written
        raise exception using
            message = format('%s belongs to %s, and %s to %s.', relation, _owner(relation), made.source,
            _owner(made.source)),
            hint =
                format('ALTER TABLE %s OWNER TO %s, or name another %s.', relation, _owner(made.source), place),
            errcode = 'insufficient_privilege';
    elsif _layout_problem(made, relation) is not null then
        raise exception using
            message = format('%s is there already, and is no %s of %s: %s.', relation, (_table_option(made)).noun,
                made.source, _layout_problem(made, relation)),
            hint = format('Name another %s: it is created.', place), errcode = 'duplicate_table';
    end if;
    ignored := _check_standing(made, relation, existing_vectors);
    if _holds_vectors(made, relation) then
        ignored := _check_existing_vectors(made, relation::text, place, existing_vectors);
    end if;
    if existing_vectors = 'clear' then perform _execute_once(made, format('truncate %s', relation)); end if;
    return relation;
end $$;

-- Refuses to take, or to clear, a table that other pipelines stand on, but for pages of which texts are embedded: a
-- switch to another model would take the table away from them, and no file is on a page.
create or replace function pgembedd_internal._check_standing(
    made pgembedd_internal.pipeline, relation regclass, existing_vectors text
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    standing constant text := (select string_agg(format('"%s"', p.name), ', ' order by p.name) from pipeline p
                               where p.source = relation);
    ok constant boolean := made.task = 'parse'
        and not exists (select from pipeline p where p.source = relation and p.task = 'parse');
begin
    if standing is not null and not (ok and existing_vectors <> 'clear') then
        raise exception using message = format('%s is the source of another pipeline: %s.', relation, standing),
            hint = case when ok then 'Say existing_vectors => ''keep'': pages of files that are the same stay.'
                        else format('Name another %s: it is created.', (_table_option(made)).option) end,
            errcode = 'object_in_use';
    end if;
end $$;

-- The first difference of a table from what we would have created, or null. Additional columns are allowed.
create or replace function pgembedd_internal._layout_problem(
    made pgembedd_internal.pipeline, relation regclass
) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    problem text;
begin
    select case when a.type is null then format('it has no column %I', w.name)
                else format('its column %I is %s, not %s', w.name, a.type, w.type) end into problem
    from (select k.nth, k.name, _type_of_column(made.source, k.name) as type from _key_columns(made.source) k
          union all select 1000 + c.nth, c.name, c.type from _table_columns(made) c) w
    cross join lateral _type_of_column(relation, w.name) as a(type)
    where a.type is distinct from w.type order by w.nth limit 1;
    if problem is null and (select relkind from pg_class where oid = relation) <> 'r' then
        problem := 'it is no ordinary table';
    elsif problem is null and array(select k.name from _key_columns(relation) k) <> _table_key(made) then
        problem := format('its primary key is not (%s)',
                          array_to_string(_table_key(made), ', '));
    end if;
    return problem;
end $$;
