-- The source of a pipeline with objects_uri has a row for each object below that URI. A worker lists them in pages,
-- which are kept in listed_object until it has all; only then the source is changed, in one transaction, where it
-- differs. So a listing that fails changes nothing. Each has a number, and one that another has overtaken does nothing.

create or replace function pgembedd_internal.due_listings() returns table (
    pipeline_id integer, pipeline text, objects_uri text, prefixes text[])
language sql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select p.id, p.name, p.objects_uri, p.uri_prefixes
    from pipeline p left join object_listing l on l.pipeline_id = p.id
    where p.state = 'running' and p.objects_uri is not null and coalesce(l.due_at, '-infinity') <= clock_timestamp()
    order by l.due_at nulls first
$$;
comment on function pgembedd_internal.due_listings is 'The pipelines whose objects are to be listed now.';

-- Null where another worker has begun it, or the pipeline is gone.
create or replace function pgembedd_internal.begin_listing(pipeline_id integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
#variable_conflict use_column
declare
    begun integer;
begin
    insert into object_listing as l (pipeline_id, number, due_at)
    select p.id, 1, clock_timestamp() + _listed_every(p) from pipeline p
    where p.id = begin_listing.pipeline_id and p.objects_uri is not null
    on conflict (pipeline_id) do update set number = l.number + 1, due_at = excluded.due_at
    where l.due_at <= clock_timestamp() returning l.number into begun;
    if begun is not null then
        delete from listed_object o where o.pipeline_id = begin_listing.pipeline_id;
    end if;
    return begun;
end $$;
comment on function pgembedd_internal.begin_listing is 'Begin to list the objects of a pipeline. Returns its number.';

create or replace function pgembedd_internal._listed_every(pipeline pgembedd_internal.pipeline) returns interval
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select coalesce(pipeline.recheck_interval, interval '10 minutes') $$;

-- False where another listing has begun.
create or replace function pgembedd_internal.add_objects(
    pipeline_id integer, number integer, objects json
) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    update object_listing l set due_at = clock_timestamp() + _listed_every(p) from pipeline p
    where l.pipeline_id = $1 and l.number = $2 and p.id = l.pipeline_id;
    if not found then return false; end if;
    insert into listed_object (pipeline_id, uri, size, etag, modified)
    select $1, o.uri, o.size, o.etag, o.modified
    from json_to_recordset(objects) as o(uri text, size bigint, etag text, modified timestamptz);
    return true;
end $$;
comment on function pgembedd_internal.add_objects is 'Keep a page of a listing until all are there.';

-- Writes the source: objects that are new or differ, then those that are gone. Null where another listing has begun, or
-- not as many objects are kept as were listed. `left_out` is a sentence about others, which have no rows.
create or replace function pgembedd_internal.finish_listing(
    pipeline_id integer, number integer, objects bigint, left_out text
) returns table (written bigint, deleted bigint)
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set row_security = off
set lock_timeout = '2s'
as $$
declare
    one pgembedd_internal.pipeline;
    page jsonb;
    gone jsonb;
    changed bigint;
begin
    perform from object_listing l where l.pipeline_id = $1 and l.number = $2 for no key update;
    if not found or objects <> (select count(*) from listed_object o where o.pipeline_id = $1) then return; end if;
    select p.* into one from pipeline p where p.id = $1 for key share;
    written := 0; deleted := 0;
    for page in
        select jsonb_agg(to_jsonb(o) - 'pipeline_id') from (
            select o.*, row_number() over () / 10000 as page from listed_object o where o.pipeline_id = $1) o
        group by o.page
    loop
        execute format('select count(*) from %s', _named_statement(one, 'put objects')) into changed using page;
        perform pgembedd_internal._check_session();
        written := written + changed;
    end loop;
    execute format('select jsonb_agg(r.uri) from %s as r(uri) where not exists (select from '
                   'pgembedd_internal.listed_object o where o.pipeline_id = $2 and o.uri = r.uri #>> ''{}'')',
        _named_statement(one, 'objects')) into gone using null::jsonb, $1;
    if gone is not null then
        execute format('select count(*) from %s', _named_statement(one, 'delete objects')) into deleted using gone;
    end if;
    perform pgembedd_internal._check_session();
    update object_listing l set listed_at = clock_timestamp(), problem = left($4, 1000) where l.pipeline_id = $1;
    delete from listed_object o where o.pipeline_id = $1;
    return next;
end $$;
comment on function pgembedd_internal.finish_listing is
    'Write what was listed into the source of the pipeline. Returns how many rows were written, and how many deleted.';

create or replace function pgembedd_internal.fail_listing(
    pipeline_id integer, number integer, problem text
) returns void
language plpgsql security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    update object_listing l
    set problem = format('The objects of %s could not be listed: %s', left(p.objects_uri, 1000), left($3, 1000))
    from pipeline p where p.id = l.pipeline_id and l.pipeline_id = $1 and l.number = $2;
    if found then
        delete from listed_object o where o.pipeline_id = $1;
    end if;
end $$;
comment on function pgembedd_internal.fail_listing is
    'Note why the objects of a pipeline could not be listed: status shows it until a listing succeeds.';

create or replace function pgembedd_internal._listing_problem(pipeline pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$ select l.problem from object_listing l where l.pipeline_id = pipeline.id $$;

-- What the worker asks of the source, as the rest of its named statements.
create or replace function pgembedd_internal._object_statements(pipeline pgembedd_internal.pipeline)
returns table (name text, statement text)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select q.name, _render(q.template, jsonb_build_object('source', pipeline.source,
        'uri', quote_ident(pipeline.content_columns[1]), 'prefix', quote_literal(pipeline.objects_uri)))
    from (values
        ('objects', $q$select pg_catalog.to_jsonb(s.{uri}::pg_catalog.text) from {source} s
            where pg_catalog.starts_with(s.{uri}::pg_catalog.text, {prefix})$q$),
        ('put objects', $q$insert into {source} as t ({uri}, size, etag, modified)
            select o.uri, o.size, o.etag, o.modified from pg_catalog.jsonb_to_recordset($1)
                as o(uri pg_catalog.text, size pg_catalog.int8, etag pg_catalog.text, modified pg_catalog.timestamptz)
            left join {source} s on s.{uri} operator(pg_catalog.=) o.uri
            where s.{uri} is null or row(s.size, s.etag, s.modified)::pg_catalog.record operator(pg_catalog.*<>)
                row(o.size, o.etag, o.modified)::pg_catalog.record
            on conflict ({uri}) do update set
                size = excluded.size, etag = excluded.etag, modified = excluded.modified
            returning 'true'::pg_catalog.jsonb$q$),
        ('delete objects', $q$delete from {source} s where s.{uri} operator(pg_catalog.=) any (array(
            select pg_catalog.jsonb_array_elements_text($1))) returning 'true'::pg_catalog.jsonb$q$))
        as q(name, template)
    where pipeline.objects_uri is not null
$$;
