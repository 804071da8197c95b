-- Another model without downtime. The new vectors are made beside the old ones by a pipeline of their own, the shadow,
-- which is an ordinary one in every respect: writes reach both, its backfill is a backfill, its index an index. The
-- switch renames, in one transaction, so that what the application reads is the other one from then on; the old one
-- becomes the shadow, is kept up to date, and can be taken back by renaming once more.

create or replace function pgembedd.change_model(
    name text,
    model text default null,
    dimensions integer default null,
    vector_type text default null,
    distance text default null,
    m integer default null,
    ef_construction integer default null,
    chunk_tokens integer default null,
    chunk_overlap integer default null,
    splitter text default null,
    formatting text default null,
    index_within interval default '1 day',
    backfill boolean default true
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    current pgembedd.pipeline := _pipeline(name);
    next pgembedd.pipeline := current;
    queued bigint;
begin
    perform _check_change(current);
    next.name := current.name || '.next';
    next.id := null; next.fingerprint := null; next.index_name := null; next.index_due_at := null;
    next.created_indexes := null; next.embedding_table := null;
    next.own_triggers := true;
    next.model := coalesce(change_model.model, current.model);
    next.dimensions := coalesce(change_model.dimensions, current.dimensions);
    next.vector_type := coalesce(change_model.vector_type, current.vector_type);
    next.distance := coalesce(change_model.distance, current.distance);
    next.m := coalesce(change_model.m, current.m);
    next.ef_construction := coalesce(change_model.ef_construction, current.ef_construction);
    next.chunk_tokens := coalesce(change_model.chunk_tokens, current.chunk_tokens);
    next.chunk_overlap := coalesce(change_model.chunk_overlap, case when current.embedding_table is not null then current.chunk_overlap end);
    next.splitter := coalesce(change_model.splitter, current.splitter);
    next.formatting := coalesce(change_model.formatting, current.formatting);
    next.embedding_column := _beside(current.embedding_column, 'next');
    next.embedding_table_name := (
        select format('%I.%I', n.nspname, _beside(c.relname, 'next')) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = current.embedding_table);
    perform _check_room(current);
    queued := _create_pipeline(next, backfill, case when _index_state(current) in ('none') then null else 'auto' end, index_within);
    update pipeline p set shadow_of = current.id, shadow = 'next' where p.name = next.name;
    perform _tell('change_begun', current.id, jsonb_build_object('model', current.model, 'next', next.name, 'next_model', next.model));
    return queued;
end $$;
comment on function pgembedd.change_model is
    'Begin to embed a pipeline''s rows with another model or another chunking, beside what is there. Returns how many rows were queued.';

create or replace function pgembedd._beside(name text, suffix text) returns text
language sql immutable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select _cut(name, 54) || '_' || suffix $$;

create or replace function pgembedd._check_change(current pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    beside pgembedd.pipeline := _shadow(current);
begin
    if current.shadow_of is not null then
        perform _refuse(format('"%s" stands beside another pipeline itself.', current.name), 'Name that one.');
    elsif not current.own_triggers then
        perform _refuse(format('"%s" is a guest: the triggers that send its jobs fill one column only.', current.name),
            'Let a pipeline take its place: pgembedd import supabase, or pgembedd.create_pipeline() for that column.');
    elsif beside.id is not null then
        perform _refuse(format('"%s" has "%s" beside it already.', current.name, beside.name),
            format('Remove that first: select pgembedd.drop_pipeline(%L, drop_vectors => true).', beside.name));
    elsif _problem(current) is not null then
        perform _refuse(format('The model of "%s" cannot be changed: %s', current.name, _problem(current)));
    end if;
end $$;

-- Both names that the other side will have, before the switch and after it, must be free.
create or replace function pgembedd._check_room(current pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    suffix text;
    taken record;
begin
    if length(current.name) > 54 then
        perform _refuse(format('The name "%s" is too long: with ".previous" behind it, which the old side is called after a switch, it '
            'would have more than 63 characters.', current.name),
            'Drop the pipeline, and create it again under a name of at most 54 characters with adopt => true; the vectors stay.');
    end if;
    foreach suffix in array array['next', 'previous'] loop
        if exists (select from pipeline p where p.name = current.name || '.' || suffix) then
            perform _refuse(format('There is a pipeline "%s.%s" already.', current.name, suffix),
                format('Remove it first: select pgembedd.drop_pipeline(%L).', current.name || '.' || suffix));
        end if;
        for taken in
            select format('%s has a column %I', current.source, a.attname) as what,
                   format('ALTER TABLE %s DROP COLUMN %I', current.source, a.attname) as remedy
            from pg_attribute a
            where a.attrelid = current.source and a.attname = _beside(current.embedding_column, suffix) and not a.attisdropped
            union all
            select format('There is a relation %s', c.oid::regclass),
                   format('DROP %s %s', case c.relkind when 'v' then 'VIEW' when 'm' then 'MATERIALIZED VIEW' when 'i' then 'INDEX' else 'TABLE' end, c.oid::regclass)
            from pg_class e join pg_class c on c.relnamespace = e.relnamespace
            where e.oid = current.embedding_table
              and c.relname in (_beside(e.relname, suffix), _cut(_beside(e.relname, suffix), 58) || '_view')
            order by 2 desc
        loop
            perform _refuse(format('%s already, which is where vectors would go.', taken.what),
                format('Rename it, or drop it if nothing needs it: %s.', taken.remedy));
        end loop;
    end loop;
end $$;

-- The pipeline beside this one, or an empty row.
create or replace function pgembedd._shadow(current pgembedd.pipeline) returns pgembedd.pipeline
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select p from pipeline p where p.shadow_of = current.id $$;

-- How many of the one list are in the other; null where there are none.
create or replace function pgembedd._share(wanted jsonb[], found_ones jsonb[]) returns numeric
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select count(*) filter (where w = any (found_ones))::numeric / nullif(count(*), 0) from unnest(wanted) as w
$$;

-- The k rows nearest to the vectors of a row, as an SQL expression of the key `$1`: an array of keys.
create or replace function pgembedd._nearest(pipeline pgembedd.pipeline, k integer) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select format($q$array(
        select %1$s from %2$s n where n.%3$I is not null
        order by n.%3$I operator(%4$I.%5$s) (
            select o.%3$I from %2$s o, %6$s where %7$s and o.%3$I is not null limit 1)
        limit %8$s)$q$,
        _key_json(pipeline.source, 'n'), _target(pipeline), _vector_column(pipeline), n.nspname,
        case pipeline.distance when 'cosine' then '<=>' when 'l2' then '<->' else '<#>' end,
        _key_record(pipeline.source, '$1'), _key_match(pipeline.source, 'o', 'k'), k)
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'
$$;

create or replace function pgembedd._near(pipeline pgembedd.pipeline, key jsonb, k integer, exact boolean) returns jsonb[]
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_ones jsonb[];
    indexscan text := current_setting('enable_indexscan');
    seqscan text := current_setting('enable_seqscan');
begin
    perform set_config('enable_indexscan', case when exact then 'off' else 'on' end, true),
            set_config('enable_seqscan', case when exact then 'on' else 'off' end, true);
    execute 'select ' || _nearest(pipeline, k) into found_ones using key;
    perform set_config('enable_indexscan', indexscan, true), set_config('enable_seqscan', seqscan, true);
    return found_ones;
end $$;

create or replace function pgembedd._recall(pipeline pgembedd.pipeline, keys jsonb[], k integer) returns numeric
language sql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select round(avg(_share(_near(pipeline, s.key, k, true), _near(pipeline, s.key, k, false))), 3) from unnest(keys) as s(key)
$$;

create or replace function pgembedd._agreement(a pgembedd.pipeline, b pgembedd.pipeline, keys jsonb[], k integer) returns numeric
language sql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select round(avg(_share(_near(a, s.key, k, true), _near(b, s.key, k, true))), 3) from unnest(keys) as s(key)
$$;

-- How the two sides of a change of model stand: what each has, and how well its index finds what an exact search
-- finds, measured on vectors of its own; `agreement` is how many of the nearest rows are the same on both sides.
create or replace function pgembedd.compare_models(name text, sample integer default 20, k integer default 10)
returns table (pipeline text, model text, rows_embedded bigint, rows_missing bigint, index text, recall numeric, agreement numeric)
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'  -- as _key_settings
as $$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _shadow(current);
    side pgembedd.pipeline;
    keys jsonb[];
begin
    if beside.id is null then
        perform _refuse(format('"%s" stands alone; there is nothing to compare it with.', name), 'Begin with pgembedd.change_model().');
    elsif sample is null or sample not between 1 and 1000 or k is null or k not between 1 and 100 then
        perform _refuse(format('sample = %s and k = %s do not make a comparison.', coalesce(sample::text, 'NULL'), coalesce(k::text, 'NULL')),
            'sample goes from 1 to 1000, k from 1 to 100.');
    end if;
    execute format('select array_agg(r.key) from (select %s as key from %s s where not (%s) and not (%s) order by random() limit %s) r',
        _key_json(current.source, 's'), current.source, _waits(current), _waits(beside), sample) into keys;
    foreach side in array array[current, beside] loop
        pipeline := side.name; model := side.model; index := _index_state(side);
        execute format('select count(*) filter (where not (%1$s)), count(*) filter (where (%1$s) and not exists (
                            select from pgembedd.row_state r where r.pipeline_id = %2$s and r.state = ''blank'' and r.key = %3$s)) from %4$s s',
            _waits(side), side.id, _key_json(side.source, 's'), side.source) into rows_embedded, rows_missing;
        recall := _recall(side, keys, k);
        agreement := _agreement(current, beside, keys, k);
        return next;
    end loop;
end $$;
comment on function pgembedd.compare_models is
    'Both sides of a change of model: coverage, and for a sample of rows how many of the k nearest the index finds, and how many agree.';
