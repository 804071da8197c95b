create or replace function pgembedd.grant_search(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _grant(role, 'search');
begin
end $$;
comment on function pgembedd.grant_search is
    'Let a role call pgembedd.search() and pgembedd.embed(). What it finds is what it may read.';

create or replace function pgembedd.revoke_search(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _revoke(role, 'search');
begin
end $$;
comment on function pgembedd.revoke_search is
    'Take back what grant_search() gave, with the right to call embed().';

create or replace function pgembedd_internal._search_privileges() returns setof text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
    select 'execute on function schema_version()'  -- the command line asks it first
    union all
    select format('execute on routine %s', f) from _search_functions() f
$$;

-- A search runs as the caller, and so do the functions that it consists of. None of them has more rights than the
-- caller, except those that read our own tables.
create or replace function pgembedd_internal._search_functions() returns setof regprocedure
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select f.oid::regprocedure from pg_proc f
    where f.pronamespace = any (_schemas())
      and (f.proname ~ '^_?(check_|explain_)?search' or f.proname in (
          'similar', '_asked', '_vector_of', '_unreadable_columns', '_check_whole_row',
          'pipeline_status', 'row_status', '_check_row_status_rights', '_row_statuses', '_row_version',
          '_counted', '_cut', '_most', '_most_members', '_check_texts', '_check_list', '_check_members',
          '_check_json', '_render', '_blank', '_base_type', '_qualified_type', '_shortened', '_compared_by_btree',
          '_beginning', '_plain_types', '_explain_nearest', '_explain_words', '_scans_of', '_rows_visited',
          '_with_partitions', '_is_hypertable'))
$$;
