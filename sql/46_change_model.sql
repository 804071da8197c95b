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
    index_within interval default '1 day'
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
    if next.embedding_column is not null and exists (
        select from pg_attribute a where a.attrelid = current.source and a.attname = next.embedding_column and not a.attisdropped)
    then
        perform _refuse(format('%s has a column %I already, which is where the new vectors would go.', current.source, next.embedding_column),
            format('Rename or drop it: ALTER TABLE %s DROP COLUMN %I.', current.source, next.embedding_column));
    end if;
    queued := _create_pipeline(next, true, case when _index_state(current) in ('none') then null else 'auto' end, index_within);
    update pipeline p set shadow_of = current.id, shadow = 'next' where p.name = next.name;
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

-- The pipeline beside this one, or an empty row.
create or replace function pgembedd._shadow(current pgembedd.pipeline) returns pgembedd.pipeline
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$ select p from pipeline p where p.shadow_of = current.id $$;

create or replace function pgembedd.switch(name text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _shadow(current);
begin
    if beside.shadow is distinct from 'next' then
        perform _refuse(format('There is nothing to switch "%s" to.', name), 'Begin with pgembedd.change_model().');
    end if;
    perform _swap(current, beside, 'previous', force);
end $$;
comment on function pgembedd.switch is
    'Put the vectors that change_model() made in the place of the old ones, which stay beside them for rollback().';

create or replace function pgembedd.rollback(name text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _shadow(current);
begin
    if beside.shadow is distinct from 'previous' then
        perform _refuse(format('There is nothing to take "%s" back to.', name),
            'rollback() undoes switch(), until the previous pipeline is dropped.');
    end if;
    perform _swap(current, beside, 'next', force);
end $$;
comment on function pgembedd.rollback is 'Undo switch(): put the old vectors back in their place.';

-- What a switch would lose: rows that have a vector here and none there. Rows that wait on both sides are no loss.
create or replace function pgembedd._check_swap(current pgembedd.pipeline, beside pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
as $$
declare
    missing bigint;
    problem text := coalesce(_problem(beside), case when beside.state <> 'running' then beside.state_reason end);
begin
    if problem is not null then
        perform _refuse(format('"%s" is not fit to take over: %s', beside.name, problem));
    elsif _index_state(current) = 'valid' and _index_state(beside) <> 'valid' then
        perform _refuse(format('The index of "%s" is not there yet (%s).', beside.name, _index_state(beside)),
            format('Wait for it, or build it: pgembedd index %s. force => true does without.', beside.name));
    end if;
    execute format('select count(*) from %s s where (%s) and not (%s)', current.source, _waits(beside), _waits(current)) into missing;
    if missing > 0 then
        perform _refuse(format('%s rows of "%s" have no vector in "%s" yet.', missing, current.name, beside.name),
            format('See pgembedd.status, and pgembedd.failures for rows that cannot be embedded; call pgembedd.wait_for(%L). '
                   'force => true does without them.', beside.name));
    end if;
end $$;

-- Everything that names a column or a table is said anew in the same transaction. A worker that writes holds this
-- lock of its pipeline, shared, so that none writes under a name that means the other's by now.
create or replace function pgembedd._swap_key(pipeline_id integer) returns bigint
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select hashtextextended('pgembedd.swap', pipeline_id) $$;

create or replace function pgembedd._swap(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text, force boolean) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '10s'  -- readers and writers stand in line behind us
as $$
declare
    one pgembedd.pipeline;
begin
    if not force then
        perform _check_swap(current, beside);
    end if;
    perform pg_advisory_xact_lock(_swap_key(least(current.id, beside.id))), pg_advisory_xact_lock(_swap_key(greatest(current.id, beside.id)));
    if current.embedding_table is null then
        perform _rename_column(current, _beside(current.embedding_column, suffix)), _rename_column(beside, current.embedding_column);
    else
        perform _rename_table(t.pipeline, t.to_name)
        from (select relname from pg_class where oid = current.embedding_table) c,
             lateral (values (1, current, _beside(c.relname, suffix)), (2, beside, c.relname)) as t(nth, pipeline, to_name)
        order by t.nth;
    end if;
    update pipeline p
    set name = current.name || '.' || suffix, shadow_of = beside.id, shadow = suffix,
        embedding_column = _beside(current.embedding_column, suffix), embedding_table_name = p.embedding_table::text
    where p.id = current.id;
    update pipeline p
    set name = current.name, shadow_of = null, shadow = null,
        embedding_column = current.embedding_column, embedding_table_name = p.embedding_table::text
    where p.id = beside.id;
    for one in select p.* from pipeline p where p.id in (current.id, beside.id) loop
        perform _generate(one);
    end loop;
end $$;

create or replace function pgembedd._rename_column(pipeline pgembedd.pipeline, to_name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    execute format('alter table %s rename column %I to %I', pipeline.source, pipeline.embedding_column, to_name);
end $$;

create or replace function pgembedd._rename_table(pipeline pgembedd.pipeline, to_name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    joined regclass := to_regclass(_view_name(pipeline));
begin
    execute format('alter table %s rename to %I', pipeline.embedding_table, to_name);
    if joined is not null then
        execute format('alter view %s rename to %I', joined, _cut(to_name, 58) || '_view');
    end if;
end $$;

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
