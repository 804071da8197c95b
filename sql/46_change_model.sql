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

create or replace function pgembedd.switch(name text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _swap(name, 'next', 'previous', force);
end $$;
comment on function pgembedd.switch is
    'Put the vectors that change_model() made in the place of the old ones, which stay beside them for rollback().';

create or replace function pgembedd.rollback(name text, force boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    perform _swap(name, 'previous', 'next', force);
end $$;
comment on function pgembedd.rollback is 'Undo switch(): put the old vectors back in their place.';

-- The pipeline that would take this one's place, or a refusal.
create or replace function pgembedd._successor(current pgembedd.pipeline, shadow text) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    beside pgembedd.pipeline := _shadow(current);
begin
    if beside.shadow is not distinct from _successor.shadow then
        return beside;
    elsif _successor.shadow = 'next' then
        perform _refuse(format('There is nothing to switch "%s" to.', current.name), 'Begin with pgembedd.change_model().');
    end if;
    perform _refuse(format('There is nothing to take "%s" back to.', current.name),
        'rollback() undoes switch(), until the previous pipeline is dropped.');
end $$;

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

-- A row that changed may have its new vector here and an old one there. What is queued there alone is waited for a
-- while: no later changes are, or a busy table could never be switched.
create or replace function pgembedd._await_vectors(
    current pgembedd.pipeline, beside pgembedd.pipeline, patience interval default '5 s'
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    began_at timestamptz := clock_timestamp();
    behind bigint;
begin
    loop
        execute format($q$
            select count(*) from (
                select q.message -> 'id' from (select b.enqueued_at, b.message from %1$s b union all select b.enqueued_at, b.message from %2$s b) q
                where %3$s and q.enqueued_at <= $1
                except select q.message -> 'id' from %4$s q where %6$s
                except select q.message -> 'id' from %5$s q where %6$s) r$q$,
            _queue_table(beside.queue), _queue_table(beside.backfill_queue), _is_for(beside.id),
            _queue_table(current.queue), _queue_table(current.backfill_queue), _is_for(current.id))
        into behind using began_at;
        exit when behind = 0;
        if clock_timestamp() > began_at + patience then
            perform _refuse(format('%s rows of "%s" are up to date, but still queued for "%s".', behind, current.name, beside.name),
                format('Call pgembedd.wait_for(%L), and see that a worker runs. force => true shows their old vectors until then.', beside.name));
        end if;
        perform pg_sleep(0.1);
    end loop;
end $$;

-- Everything that names a column or a table is said anew in the same transaction. A worker that writes holds this
-- lock of its pipeline, shared, so that none writes under a name that means the other's by now.
create or replace function pgembedd._swap_key(pipeline_id integer) returns bigint
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$ select hashtextextended('pgembedd.swap', pipeline_id) $$;

create or replace function pgembedd._swap(name text, shadow text, suffix text, force boolean) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    current pgembedd.pipeline := _pipeline(name);
    beside pgembedd.pipeline := _successor(current, shadow);
    one pgembedd.pipeline;
begin
    if not force then
        perform _check_swap(current, beside), _await_vectors(current, beside);
    end if;
    perform _rename_when_free(current, beside, suffix);
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

-- Several locks are needed at once, and nobody else may come to grief of it: a transaction that has read one of the
-- tables and then writes to another would be in a deadlock with us. So each wait of ours is so short that no
-- deadlock_timeout of theirs can end within them all, and whatever we hold is given back before the next attempt.
create or replace function pgembedd._rename_when_free(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    give_up_at timestamptz := clock_timestamp() + interval '10 s';
begin
    loop
        begin
            perform _rename_both(current, beside, suffix);
            return;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > give_up_at then
                perform _refuse(format('Others use %s, or what holds its vectors, all the time; nothing was changed.', current.source),
                    'See pg_stat_activity for transactions that stay open, and call it again.');
            end if;
        end;
        perform _await_free(current.source, _swap_mode(current));
        if current.embedding_table is not null then
            perform _await_free(current.embedding_table, 'access exclusive'), _await_free(beside.embedding_table, 'access exclusive');
        end if;
    end loop;
end $$;

-- To rename a column of the source keeps its readers out, too.
create or replace function pgembedd._swap_mode(current pgembedd.pipeline) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select case when current.embedding_table is null then 'access exclusive' else 'share row exclusive' end $$;

-- Wait until nobody uses a table, and hold nothing on return. After deadlock_timeout this sends autovacuum away.
create or replace function pgembedd._await_free(relation regclass, mode text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '2s'  -- readers and writers stand in line behind us
as $$
begin
    execute format('lock table %s in %s mode', relation, mode);
    raise exception using errcode = 'PGE01';
exception when lock_not_available or deadlock_detected or sqlstate 'PGE01' then
    null;
end $$;

-- Writers wait at the source, before their triggers' functions are looked up, so they find the new ones.
create or replace function pgembedd._rename_both(current pgembedd.pipeline, beside pgembedd.pipeline, suffix text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set lock_timeout = '100ms'
as $$
begin
    perform pg_advisory_xact_lock(_swap_key(least(current.id, beside.id))), pg_advisory_xact_lock(_swap_key(greatest(current.id, beside.id)));
    perform from pipeline p where p.id in (current.id, beside.id) order by p.id for update;
    if (_successor(_pipeline(current.name), beside.shadow)).id <> beside.id then
        perform _refuse(format('"%s" is not the pipeline any more that it was a moment ago.', beside.name), 'See pgembedd.status.');
    end if;
    perform set_config('lock_timeout', '500ms', true);
    execute format('lock table %s in %s mode', current.source, _swap_mode(current));
    perform set_config('lock_timeout', '100ms', true);
    if current.embedding_table is null then
        perform _copy_rights(current.source, current.embedding_column, beside.embedding_column);
        perform _rename_column(current, _beside(current.embedding_column, suffix)), _rename_column(beside, current.embedding_column);
    else
        perform _rename_table(t.pipeline, t.to_name)
        from (select relname from pg_class where oid = current.embedding_table) c,
             lateral (values (1, current, _beside(c.relname, suffix)), (2, beside, c.relname)) as t(nth, pipeline, to_name)
        order by t.nth;
    end if;
end $$;

-- Rights on a single column: whoever had them on the one has them on the other, and nobody else.
create or replace function pgembedd._copy_rights(source regclass, from_column text, to_column text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    item record;
begin
    for item in
        select case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee, x.privilege_type as allowed,
               x.is_grantable, t.attname = from_column as wanted
        from pg_attribute t, aclexplode(t.attacl) x
        where t.attrelid = source and t.attname in (from_column, to_column) and not t.attisdropped
        order by wanted, x.is_grantable  -- what is there goes first
    loop
        execute format(case when item.wanted then 'grant %s (%I) on %s to %s' else 'revoke %s (%I) on %s from %s cascade' end
            || case when item.wanted and item.is_grantable then ' with grant option' else '' end,
            item.allowed, to_column, source, item.grantee);
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
    -- In the order in which a reader of the view locks them.
    if joined is not null then
        execute format('alter view %s rename to %I', joined, _cut(to_name, 58) || '_view');
    end if;
    execute format('alter table %s rename to %I', pipeline.embedding_table, to_name);
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
