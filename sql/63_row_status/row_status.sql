-- The status of rows, for an application whose users read a table under its policies.

-- As the caller: a row that he may not read is not there. One look costs as much for a page of rows as for one.
create or replace function pgembedd.row_status(pipeline text, keys jsonb[])
returns table (key jsonb, status text, reason text, attempts integer, since timestamptz)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
set extra_float_digits = '1'  -- a key goes through JSON
as $$
declare
    target pgembedd_internal._search_target;
    seen record;
    ignored text;
begin
    target := _search_target(pipeline, null, null);
    ignored := _check_row_status_rights(array[target.source, target.vectors]);
    ignored := _check_list('keys', cardinality(keys));
    perform _check_json('key', k) from unnest(keys) k;
    begin
        execute _search_keys_statement(target) into seen using keys;
    exception when data_exception then
        perform _check_search_key(target, k) from unnest(keys) k;
        raise;
    end;
    return query
        select k.key, coalesce(p.status, case when k.lacking then 'queued' when target.model is null then 'parsed'
                                                else 'embedded' end), p.reason,
               coalesce(p.attempts, 0), p.since
        from unnest(seen.keys, seen.lacking) with ordinality as k(key, lacking, nth)
        left join _row_statuses(target.id, seen.keys, seen.versions) p on p.nth = k.nth
        order by k.nth;
end $$;
comment on function pgembedd.row_status is
    'Whether rows are queued, embedding or parsing, embedded or parsed, blank or failed, of those that the caller may '
    'read.';

create or replace function pgembedd_internal._check_row_status_rights(tables regclass[]) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item regclass;
begin
    foreach item in array tables loop
        if not has_table_privilege(item, 'select') then
            raise exception 'The role % may not read all columns of %, so it is not told the status of its rows.',
                quote_ident(current_user), item using errcode = 'insufficient_privilege',
                hint = format('GRANT SELECT ON %s TO %I; policies still say which rows.', item, current_user);
        end if;
    end loop;
end $$;

-- What our tables and the queues say of rows; nothing of a row that is only embedded or waits for its first vector.
-- By our role, because callers read neither. So a caller shows with each key that he has read the row.
create or replace function pgembedd_internal._row_statuses(pipeline_id integer, keys jsonb[], versions text[])
returns table (nth bigint, status text, reason text, attempts integer, since timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
as $$
declare
    one pgembedd_internal.pipeline;
begin
    perform _check_list('keys', greatest(cardinality(keys), cardinality(versions)));
    select p.* into one from pipeline p where p.id = $1;
    return query
        select distinct on (s.nth) s.nth, s.status, s.reason, s.attempts, s.since
        from (select e.* from _exceptional_rows(one, keys) e
              union all select e.nth, 'embedded', null, 0, null from _rows_with_pages_embedded(one, keys) e
              union all select j.* from unnest(_queues()) as q(name), _rows_in_queue(one, q.name, keys) j) s
        where s.nth in (select jsonb_array_elements(_ask_named(one, 'of version',
            jsonb_build_object('keys', keys, 'versions', versions)))::bigint)
        order by s.nth, array_position('{embedding,parsing,queued,failed,blank,embedded}'::text[], s.status),
                 s.since desc;
end $$;

create or replace function pgembedd_internal._exceptional_rows(pipeline pgembedd_internal.pipeline, keys jsonb[])
returns table (nth bigint, status text, reason text, attempts integer, since timestamptz)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select k.nth, case r.state when 'dead' then 'failed' else 'blank' end, d.reason, coalesce(d.attempts, 0),
           coalesce(d.died_at, r.since)
    from unnest(keys) with ordinality as k(key, nth)
    join row_state r on r.pipeline_id = pipeline.id and r.state in ('blank', 'dead') and r.key = k.key
        and jsonb_hash_extended(r.key, 0) = jsonb_hash_extended(k.key, 0)
    left join dead_letter d on r.state = 'dead' and d.pipeline_id = pipeline.id and d.key = k.key
        and jsonb_hash_extended(d.key, 0) = jsonb_hash_extended(k.key, 0)
$$;

-- The rows with a job. Of the backfill only what is under a lease or waits for another attempt, which the index has at
-- its end: a row of it that is only queued has no vector yet, and is known by that.
create or replace function pgembedd_internal._rows_in_queue(
    pipeline pgembedd_internal.pipeline, queue text, keys jsonb[]
) returns table (nth bigint, status text, reason text, attempts integer, since timestamptz)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    held text := nullif(_shown_state(pipeline), 'running');
begin
    if to_regclass(_queue_table(queue)) is null then return; end if;
    -- Triggers of other programs may write a number as a string, so keys are compared as text.
    return query execute format($q$
        select k.nth, case when q.leased then %s else 'queued' end, case when not q.leased then $2 end,
               pgembedd_internal._note(q.message, 'attempts'), q.enqueued_at
        from (select q.*, q.vt > $3 and q.read_ct <> pgembedd_internal._note(q.message, 'answered') as leased
              from %s q where %s and (%s or q.vt > $3)) q
        join unnest($1) with ordinality as k(key, nth) on k.key #>> '{}' = q.message ->> 'id'
        $q$, case pipeline.task when 'parse' then '''parsing''' else '''embedding''' end, _queue_table(queue),
        _is_for(pipeline.id), case queue when 'pgembedd_fresh' then 'true' else 'false' end)
    using keys, held, clock_timestamp();
end $$;

-- Of rows of files, those with pages that all have their vectors, or are blank, in each pipeline that stands on them.
create or replace function pgembedd_internal._rows_with_pages_embedded(
    pipeline pgembedd_internal.pipeline, keys jsonb[]
) returns table (nth bigint)
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    one pgembedd_internal.pipeline;
    pages record;
    waiting bigint[];
    done bigint[];
begin
    if pipeline.task <> 'parse' then return; end if;
    for one in select p.* from pipeline p where p.source = pipeline.embedding_table and p.shadow_of is null loop
        select array_agg((a -> 0)::bigint) as nths, array_agg(a -> 1) as keys,
               array_agg((a -> 2)::boolean) as lacking into pages
        from jsonb_array_elements(_ask_named(one, 'made of', to_jsonb(keys))) a;
        waiting := waiting || array(
            select p.n from unnest(pages.nths, pages.keys, pages.lacking) as p(n, key, lacking)
            where p.lacking and not exists (
                select from _exceptional_rows(one, array[p.key]) e where e.status = 'blank'))
            || array(select pages.nths[j.nth] from unnest(_queues()) as q(name),
                                                  _rows_in_queue(one, q.name, pages.keys) j);
        done := coalesce(done, '{}') || pages.nths;
    end loop;
    return query select distinct d from unnest(done) d where d <> all (waiting);
end $$;

-- Where a row lies, which transaction wrote it, and a hash of those columns, as an expression over `s`. Places and
-- transactions alone could be tried in bulk; so it is NULL where there is no column that is written alike in every
-- session. Of a file the beginning counts, as all of it would have to be read.
create or replace function pgembedd_internal._row_version(source regclass, columns text[]) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when count(*) = 0 then 'null::pg_catalog.text' else format(
        'pg_catalog.format(''%%s %%s %%s %%s'', s.tableoid::pg_catalog.oid, s.ctid, s.xmin, '
        'pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat_ws(pg_catalog.chr(31), variadic array[%s]), '
        '''UTF8'')))',
        string_agg(format(case t.oid when 'bytea'::regtype
                               then 'pg_catalog.octet_length(s.%1$I)::pg_catalog.text, '
                                    'pg_catalog.substr(s.%1$I, 1, 8192)::pg_catalog.text'
                               else 's.%I::pg_catalog.text' end, a.attname), ', ' order by a.attnum)) end
    from pg_attribute a join pg_type t on t.oid = _base_type(a.atttypid)
    left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
    where a.attrelid = source and a.attname = any (columns) and not a.attisdropped
      and (coalesce(e.typcategory, t.typcategory) in ('S', 'E', 'B')
           or coalesce(e.oid, t.oid) = any ('{json,jsonb,int2,int4,int8,numeric,uuid}'::regtype[])
           or t.oid = 'bytea'::regtype)
$$;
