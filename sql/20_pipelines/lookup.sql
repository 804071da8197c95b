create or replace function pgembedd_internal._pipeline(name text) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    found_one pgembedd_internal.pipeline;
begin
    select p.* into found_one from pipeline p where p.name = $1;
    if found_one.id is null then
        raise exception using message = _cut(format('There is no pipeline %s.', coalesce('"' || name || '"', 'NULL'))),
            hint = _pipelines_there(), errcode = 'undefined_object';
    end if;
    return found_one;
end $$;

-- With `if_exists` an unknown name is a notice, and the row empty.
create or replace function pgembedd_internal._pipeline_if_exists(
    name text, if_exists boolean
) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    if if_exists and name is not null and not exists (select from pipeline p where p.name = $1) then
        raise notice using message = _cut(format('There is no pipeline "%s": nothing to do.', name));
        return null;
    end if;
    return _pipeline(name);
end $$;

create or replace function pgembedd_internal._pipelines_there() returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce('There are: ' || string_agg(p.name, ', ' order by p.name) || '.',
                    'There is none at all; pgembedd.create_pipeline() makes one.') from pipeline p
$$;

-- A pipeline by name, refused with a sentence when it cannot work.
create or replace function pgembedd_internal._working_pipeline(name text) returns pgembedd_internal.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    found_one pgembedd_internal.pipeline := _pipeline(name);
    ignored text := _check_problem(found_one);
begin
    return found_one;
end $$;

-- Refuses what a pipeline cannot do for its problem. `refusal` is a sentence that ends with the problem.
create or replace function pgembedd_internal._check_problem(
    pipeline pgembedd_internal.pipeline, refusal text default '%2$s'
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    problem constant text := _problem(pipeline);
begin
    if problem is not null then
        raise exception using message = format(refusal, pipeline.name, problem),
            errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

-- The table and the column that hold a pipeline's vectors; of one that parses, its pages, and what each page has.
create or replace function pgembedd_internal._target(pipeline pgembedd_internal.pipeline) returns regclass
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select coalesce(pipeline.embedding_table, pipeline.source) $$;

create or replace function pgembedd_internal._vector_column(pipeline pgembedd_internal.pipeline) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case pipeline.task when 'parse' then 'content_hash' else coalesce(pipeline.embedding_column, 'embedding') end
$$;

-- The pipeline next to this one, or an empty row.
create or replace function pgembedd_internal._shadow(
    current pgembedd_internal.pipeline
) returns pgembedd_internal.pipeline
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select p from pipeline p where p.shadow_of = current.id $$;
