-- Adds the table whose rows get their vectors to a publication, by default that of Supabase's Realtime. As the caller,
-- who has to own both.
create or replace function pgembedd.publish_vectors(pipeline text, publication text default 'supabase_realtime')
returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(pipeline);
    published regclass := coalesce(one.embedding_table, one.source);
begin
    perform _check_publication(publication);
    if not _is_published(publication, published)
       and not (select p.puballtables from pg_publication p where p.pubname = publication)
    then
        execute format('alter publication %I add table %s', publication, published);
    end if;
    return published::text;
end $$;
comment on function pgembedd.publish_vectors is
    'Add the table that gets a pipeline''s vectors to a publication, for subscribers; returns its name.';

-- Not where the publication is of all tables or of a schema alone: then there is no table of its own to take out.
create or replace function pgembedd.unpublish_vectors(pipeline text, publication text default 'supabase_realtime')
returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    one pgembedd_internal.pipeline := _pipeline(pipeline);
    published regclass := coalesce(one.embedding_table, one.source);
begin
    perform _check_publication(publication);
    if not _is_published(publication, published) then return false; end if;
    execute format('alter publication %I drop table %s', publication, published);
    return true;
end $$;
comment on function pgembedd.unpublish_vectors is
    'Take the table that gets a pipeline''s vectors out of a publication; returns whether it was in it.';

-- By itself. The view pg_publication_tables names the partitions in the place of a partitioned table.
create or replace function pgembedd_internal._is_published(publication text, relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                   where p.pubname = publication and r.prrelid = relation)
$$;

create or replace function pgembedd_internal._check_publication(publication text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _check_texts('{publication}', array[publication]);
    if not exists (select from pg_publication p where p.pubname = publication) then
        raise exception using message = format('There is no publication "%s".', publication),
            hint = 'Name one; Supabase''s Realtime listens to supabase_realtime.', errcode = 'undefined_object';
    end if;
end $$;
