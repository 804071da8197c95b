-- Changing the model online. change_model() creates a second pipeline, the shadow, whose vectors are stored alongside
-- the old ones: writes reach both, and it has a backfill and an index like every pipeline. switch_model() swaps the
-- names in one transaction. The old pipeline becomes the shadow, stays up to date, and revert_model() swaps the names
-- back.

create or replace function pgembedd.change_model(
    pipeline text,
    model text default null,
    dimensions integer default null,
    vector_type text default null,
    distance text default null,
    index_options jsonb default null,
    chunk_tokens integer default null,
    chunk_overlap_tokens integer default null,
    splitter text default null,
    formatting text default null,
    index_within interval default '1 day',
    backfill boolean default true
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    current pgembedd_internal.pipeline := _pipeline(pipeline);
    -- All but what became of the pipeline since it was made, and what is made for one pipeline alone.
    next pgembedd_internal.pipeline := jsonb_populate_record(null::pgembedd_internal.pipeline, to_jsonb(current) - '{
        id, fingerprint, shape, created_at, watch_columns, embedding_table, words_table,
        index_name, index_due_at, created_indexes,
        state, state_reason, state_since, unserved_reason, unserved_since, unserved_at, unserved_tried, problem_since,
        sweep_due_at, sweep_error, requeued_reason, requeued_at, slow_reason, slow_until, slow_pause, slow_ends,
        upkeep_after}'::text[]);
    queued bigint;
    ignored text := _check_texts('{model,vector_type,distance,splitter,formatting}',
                                 array[model, vector_type, distance, splitter, formatting]);
begin
    ignored := _check_change(current);
    next := _with_index_options(next, index_options);
    next := jsonb_populate_record(next, jsonb_strip_nulls(jsonb_build_object(
        'name', current.name || '.next', 'model', model,
        'dimensions', coalesce(dimensions, _dimensions_after(current, model)), 'vector_type', vector_type,
        'distance', distance, 'chunk_tokens', chunk_tokens, 'splitter', splitter, 'formatting', formatting,
        'embedding_column', _suffixed_name(current.embedding_column, 'next'))));
    next.chunk_overlap_tokens := coalesce(change_model.chunk_overlap_tokens,
        case when current.embedding_table is not null then current.chunk_overlap_tokens end);
    next.embedding_table_name := (
        select format('%I.%I', n.nspname, _suffixed_name(c.relname, 'next'))
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = current.embedding_table);
    ignored := _check_room(current);
    queued := _create_pipeline(_checked(next), backfill, 'auto', index_within, 'refuse', if_not_exists => false);
    update pipeline p set shadow_of = current.id, shadow = 'next' where p.name = next.name;
    perform _notify('change_begun', current.id,
        jsonb_build_object('model', current.model, 'next', next.name, 'next_model', next.model));
    return queued;
end $$;
comment on function pgembedd.change_model is
    'Begin to embed a pipeline''s rows with another model or another '
    'chunking, next to what is there. Returns how many rows were queued.';

-- Those of the new model where it is known or one of the two is a provider's: others are taken to be alike.
create or replace function pgembedd_internal._dimensions_after(
    current pgembedd_internal.pipeline, model text
) returns integer
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when strpos(model || current.model, ':') > 0 or (_known_model(model)).name is not null
                then _model_dimensions(model) else current.dimensions end
$$;

create or replace function pgembedd_internal._suffixed_name(name text, suffix text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _truncate_name(name, 54) || '_' || suffix $$;

create or replace function pgembedd_internal._check_change(current pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    successor pgembedd_internal.pipeline := _shadow(current);
    ignored text;
begin
    if current.shadow_of is not null then
        raise exception using message = format('"%s" is the second pipeline of a change of model.', current.name),
            hint = format('Name the first, "%s".', (_pipeline_of(current.shadow_of)).name),
            errcode = 'object_not_in_prerequisite_state';
    elsif current.task = 'parse' then
        raise exception using message = format('"%s" makes text of files and has no model.', current.name),
            hint = format('select pgembedd.backfill(%L, force => true) parses the files again that another parser '
                'read.', current.name), errcode = 'wrong_object_type';
    elsif successor.id is not null then
        raise exception using message = format('"%s" has a second pipeline, "%s".', current.name, successor.name),
            hint =
                format('Remove that first, with its vectors: select pgembedd.drop_pipeline(%L, drop_vectors => true).',
                successor.name), errcode = 'object_not_in_prerequisite_state';
    end if;
    ignored := _check_problem(current, 'The model of "%s" cannot be changed: %s');
end $$;

-- Of a pipeline of that name the other side must be able to have its name, before the switch and after it.
create or replace function pgembedd_internal._check_names(name text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    taken constant text := (
        select p.name from pipeline p where p.name in ($1 || '.next', $1 || '.previous') order by p.name limit 1);
begin
    if length(name) > 54 then
        raise exception using message = format('The name "%s" is too long: with ".previous" behind it, which the old '
                               'side is called after a switch, it would have more than 63 characters.', name),
            hint = 'Take one of at most 54 characters; alter_pipeline() renames a pipeline.', errcode = 'name_too_long';
    elsif taken is not null then
        raise exception using message = format('There is a pipeline "%s" already.', taken),
            hint = format('Remove it first: select pgembedd.drop_pipeline(%L).', taken), errcode = 'duplicate_object';
    end if;
end $$;

-- What holds vectors must have free names as well.
create or replace function pgembedd_internal._check_room(current pgembedd_internal.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    suffix text;
    taken record;
    ignored text := _check_names(current.name);
begin
    foreach suffix in array array['next', 'previous'] loop
        for taken in
            select format('%s has a column %I', current.source, a.attname) as what,
                   format('ALTER TABLE %s RENAME COLUMN %I TO ...', current.source, a.attname) as remedy,
                   'duplicate_column' as code
            from pg_attribute a
            where a.attrelid = current.source and a.attname = _suffixed_name(current.embedding_column, suffix)
              and not a.attisdropped
            union all
            select format('There is a relation %s', c.oid::regclass),
                   format('ALTER %s %s RENAME TO ...',
                       case c.relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'i' then 'INDEX'
                                      else 'TABLE' end, c.oid::regclass), 'duplicate_table'
            from pg_class e join pg_class c on c.relnamespace = e.relnamespace
            where e.oid = current.embedding_table
              and c.relname in (_suffixed_name(e.relname, suffix),
                  _truncate_name(_suffixed_name(e.relname, suffix), 58) || '_view')
            order by 2 desc
        loop
            raise exception using message = format('%s already, which is where vectors would go.', taken.what),
                hint = format('Give it another name, under which it stays: %s', taken.remedy), errcode = taken.code;
        end loop;
    end loop;
end $$;
