-- The number of rows with a vector. Counted: a build reads them all twice, and a wrong estimate makes it slow.
create or replace function pgembedd_internal._vectors(made pgembedd_internal.pipeline) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    return _ask(made, format('select pg_catalog.to_jsonb(pg_catalog.count(s.%I)) from %s s',
        _vector_column(made), _target(made)))::bigint;
end $$;

-- The table that holds the vectors, and all its partitions.
create or replace function pgembedd_internal._tables(made pgembedd_internal.pipeline) returns setof regclass
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select _with_partitions(_target(made)) $$;

-- Our indexes that are not valid: they are being built, or the build failed. Writers maintain them.
create or replace function pgembedd_internal._unfinished_indexes(made pgembedd_internal.pipeline) returns setof regclass
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select f.index from _tables(made) t, _fitting_indexes(made, t) f
    where not f.valid and f.kind = 'i' and f.name = _index_name(made, t)
$$;

-- The processes that build one of them.
create or replace function pgembedd_internal._builders(made pgembedd_internal.pipeline) returns setof integer
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select b.pid from pg_stat_progress_create_index b where b.index_relid in (select i from _unfinished_indexes(made) i)
$$;

-- Only a role that may see what others do sees them.
create or replace function pgembedd_internal._is_being_built(pipeline_id integer) returns boolean
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select exists (select from pipeline p, _builders(p) where p.id = pipeline_id) $$;

create or replace function pgembedd_internal._index_state(made pgembedd_internal.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    unfinished boolean;
begin
    if not _exists(_target(made)) then
        return null;
    elsif exists (select from _fitting_indexes(made, _target(made)) f where f.valid)
          and not _lacks_words_index(made) then
        return 'valid';
    end if;
    unfinished := exists (select from _unfinished_indexes(made));  -- only now: it looks at every partition
    -- The note as well, because other roles' activity is hidden from most roles.
    if unfinished and (_is_being_built(made.id)
                       or exists (select from index_build b
                                  where _alive(b.pid, b.backend_start, b.application_name)))
    then
        return 'building';
    elsif unfinished then
        return 'invalid';
    elsif made.index_due_at is null then
        return case made.index_type when 'none' then 'none' else 'dropped' end;
    end if;
    return case when made.index_due_at <= clock_timestamp() then 'due' else 'deferred' end;
end $$;
