-- What is wrong is one expression, here and below: Postgres initialises each expression in each transaction anew.
create or replace function pgembedd_internal._check_search(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    vector constant real[] := asked.embedding::real[];
    ignored constant text := case when octet_length(concat(asked.query, asked.mode, asked.per)) > 64
        then _check_texts('{query,mode,per}', array[asked.query, asked.mode, asked.per]) end;
    wrong constant text := case
        when asked.k is null or asked.k not between 1 and 1000 then 'k'
        when asked.per is null or asked.per not in ('row', 'chunk') then 'per'
        when asked.skip not between 0 and 1000 then 'skip'
        when (vector is null or asked.mode = 'text') and (asked.query is null or _blank(asked.query)) then 'query'
        when _search_similarity_range(target.distance, asked.min_similarity) is not null then 'min_similarity'
        when asked.mode = 'text' and asked.min_similarity is not null then 'mode'
        when cardinality(vector) <> target.dimensions then 'dimensions'
        when target.distance = 'cosine' and 0 = all (vector) then 'zeros' end;
begin
    if wrong is null then return; end if;
    raise exception using errcode = 'invalid_parameter_value', message = case wrong
        when 'k' then format('k %s is out of range.', coalesce(asked.k::text, 'NULL'))
        when 'per' then format('per %L is not known.', asked.per)
        when 'skip' then format('skip %s is out of range.', asked.skip)
        when 'query' then 'The query is empty.'
        when 'min_similarity' then format('min_similarity %s is out of range.', asked.min_similarity)
        when 'mode' then 'min_similarity needs the query''s vector, and the mode text asks for none.'
        when 'dimensions' then format('The vector has %s, and those of the pipeline "%s" have %s.',
            _counted(cardinality(vector), 'dimension'), target.name, target.dimensions)
        when 'zeros' then 'The vector has zeros alone, and the cosine of that is not defined.' end, hint = case wrong
        when 'k' then 'It is how many hits are wanted, 1 to 1000.'
        when 'per' then 'row gives each row once, with its best chunk; chunk gives every chunk.'
        when 'skip' then 'It is how many hits to leave out, of an order of 1000: 0 for the first page.'
        when 'query' then 'Say in some words what is searched; pgembedd.search() takes its vector, too, as embedding.'
        when 'min_similarity' then _search_similarity_range(target.distance, asked.min_similarity)
        when 'mode' then 'Take mode => ''hybrid'' with options => ''{"semantic_weight": 0}''.'
        else 'Give a vector of the pipeline''s model.' end;
end $$;

-- A similarity that no two vectors have would find nothing, or leave out nothing. Says what there is; null for others.
create or replace function pgembedd_internal._search_similarity_range(distance text, min_similarity double precision)
returns text
language sql immutable strict
set search_path = pg_catalog, pg_temp
as $$
    select case when distance = 'cosine' and min_similarity not between -1 and 1
                then 'With the cosine distance it goes from -1 to 1.'
                when distance = 'l2' and min_similarity not between 0 and 1
                then 'With the distance l2 it goes from 0 to 1.'
                when distance = 'ip' and abs(min_similarity) >= 'Infinity'  -- NaN is above it
                then 'With the distance ip it is any finite number.' end
$$;

-- Without these rights Postgres would only say that permission was denied for the table.
create or replace function pgembedd_internal._check_search_rights(target pgembedd_internal._search_target) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    hidden text;
    closed regnamespace;
    lacking constant text := case
        when not has_schema_privilege(target.source_schema, 'usage') then 'source schema'
        when not has_schema_privilege(target.vectors_schema, 'usage') then 'vectors schema'
        when not has_table_privilege(target.source, 'select') and _unreadable_columns(target, false) is not null
        then 'columns'
        when target.chunked and not has_table_privilege(target.vectors, 'select') then 'vectors' end;
begin
    if lacking is null then return; end if;
    if lacking in ('source schema', 'vectors schema') then
        closed := case lacking when 'source schema' then target.source_schema else target.vectors_schema end;
        raise exception 'The role % may not use the schema %, without which it cannot search.',
            quote_ident(current_user), closed using errcode = 'insufficient_privilege',
            hint = format('Have its owner GRANT USAGE ON SCHEMA %s TO %I.', closed, current_user);
    elsif lacking = 'columns' then
        hidden := _unreadable_columns(target, false);
        raise exception 'The role % may not read % of %, without which it cannot search.', quote_ident(current_user),
            hidden, target.source using errcode = 'insufficient_privilege',
            hint = format('Have its owner GRANT SELECT (%s) ON %s TO %I.', hidden, target.source, current_user);
    else
        raise exception 'The role % may not read %, without which it cannot search.', quote_ident(current_user),
            target.vectors using errcode = 'insufficient_privilege',
            hint = format('Roles with SELECT on the whole of %s get it with the next sweep.', target.source);
    end if;
end $$;

create or replace function pgembedd_internal._check_whole_row(target pgembedd_internal._search_target) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    hidden constant text := case when not has_table_privilege(target.source, 'select')
                                 then _unreadable_columns(target, true) end;
begin
    if hidden is not null then
        raise exception 'The role % may not read % of %, so it cannot have whole rows.', quote_ident(current_user),
            hidden, target.source using errcode = 'insufficient_privilege',
            hint = format('Search by name, for the columns that it may read: pgembedd.search(%L, ...).', target.name);
    end if;
end $$;

-- The columns of the row, or those that a search needs, that a caller without the right on the table may not read; null
-- where there are none.
create or replace function pgembedd_internal._unreadable_columns(
    target pgembedd_internal._search_target, whole boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
            where a.attrelid = target.source and a.attnum > 0 and not a.attisdropped
              and (whole or a.attname = any (target.key_names)
                   or not target.chunked and a.attnum = target.embedding_no)
              and not has_column_privilege(target.source, a.attnum, 'select'));
end $$;

create or replace function pgembedd_internal._searched_table(type regtype) returns regclass
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    relation oid := (select t.typrelid from pg_type t where t.oid = type);
begin
    if relation = 0 then
        raise exception using message = format('%s is not the type of a table''s rows.', type),
            hint =
                'Search null::some_table, or a pipeline by its name: pgembedd.search(''documents'', ''some words'').',
            errcode = 'wrong_object_type';
    end if;
    return relation;
end $$;

-- How many jobs are in the backfill. Where that is `told`: of their rows some may have no vector yet, and others the
-- one of what they were before. Null where none are to be told, and for a caller from whom policies hide rows: it may
-- not know how many there are. A change of the model renames: what was looked up at the beginning may hold other
-- vectors by now. Volatile, so that it sees what was committed since the search began.
create or replace function pgembedd_internal._search_waiting(
    pipeline_id integer, name text, told boolean default false
) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set enable_seqscan = off set plan_cache_mode = force_generic_plan  -- one plan, by the queue's index
as $$
declare
    one record;
    waiting bigint;
begin
    select p.source, b.rows_left into one from pipeline p left join open_backfill b on b.pipeline_id = p.id
    where p.id = $1 and p.name = $2;
    if one.source is null then
        raise exception using message = format('The model of "%s" was changed at this moment.', name),
            hint = 'Search again.', errcode = 'serialization_failure';
    end if;
    waiting := coalesce(one.rows_left, 0);
    if to_regclass('pgmq.q_pgembedd_backfill') is not null then
        waiting := waiting + (select count(*) from (
            select from pgmq.q_pgembedd_backfill q
            -- As in _is_for(), so that the queue's index serves.
            where "left"(coalesce(q.message ->> 'pipeline', ''), 20) collate "C" = pipeline_id::text limit 10001) w);
    end if;
    if told and waiting = 0 or not _sees_all_rows(one.source, one.source) then
        return null;
    elsif told then
        raise notice '% in the backfill: rows without a vector are not found yet, others by their old one.',
            case when waiting > 10000 then 'More than ' else '' end || _counted(least(waiting, 10000),
                format('job of "%s" waits', name), format('jobs of "%s" wait', name));
    end if;
    return waiting;
end $$;
