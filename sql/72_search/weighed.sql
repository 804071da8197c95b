-- What a search by words weighs words by: how many rows there are, how long they are, and which share holds each word.
-- Of the upkeep's sample of all rows; for a caller from whom policies hide some, of those that it may read, lest scores
-- tell what is in the others.
create or replace function pgembedd_internal._search_weighed(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    select s.* into asked.documents, asked.average_length, asked.shares
    from _search_shares(target.id, asked.words) s where not row_security_active(target.source);
    return case when asked.documents is null then _search_weighed_by_visible(target, asked) else asked end;
end $$;

-- Of the first rows that the caller may read. Several processes would read others each time, and scores would change.
create or replace function pgembedd_internal._search_weighed_by_visible(
    target pgembedd_internal._search_target, asked pgembedd_internal._asked
) returns pgembedd_internal._asked
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set synchronize_seqscans = off set max_parallel_workers_per_gather = 0
as $$
declare
    sampled bigint;
    counts bigint[];
begin
    execute format('select (select pg_catalog.count(*) from (select from %1$s s limit 10000) d), '
        'greatest(coalesce(pg_catalog.avg(pg_catalog.length(v.pgembedd_words)), ''infinity''), 1), '
        'pg_catalog.count(*), array[%2$s]::pg_catalog.int8[] '
        'from (select w.pgembedd_words from %1$s s join %3$s w on %4$s limit 500) v', target.source, (
            select string_agg(format(
                'pg_catalog.count(*) filter (where v.pgembedd_words operator(pg_catalog.@@) $1[%s])', n), ', ')
            from generate_series(1, cardinality(asked.words)) n),
        asked.words_table, format(target.key_match, 'w', 's'))
    into asked.documents, asked.average_length, sampled, counts using _search_each(asked.words);
    asked.shares := array(select case when n >= 5 then n / sampled::float8 else 2.5 / greatest(sampled, 5) end
                          from unnest(counts) with ordinality as c(n, nth) order by nth);
    return asked;
end $$;

-- How many rows a pipeline has, how long they are, and the share that holds each word, as of the last sample; rare
-- words have one value, so that this says of no word whether it occurs in less than five of the sampled rows. Nulls for
-- a role that may not read all rows.
create or replace function pgembedd_internal._search_shares(
    pipeline_id integer, words text[], out documents double precision, out average_length double precision,
    out shares double precision[]
)
language plpgsql stable security definer
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    select coalesce(one.documents, 0), coalesce(one.average_length, 'infinity'), array(
        select coalesce((select f.share from word_frequency f where f.pipeline_id = $1 and f.word = w.word),
                        2.5 / greatest(least(one.documents, 5000), 5))
        from unnest($2) with ordinality as w(word, nth) order by w.nth)
    into documents, average_length, shares
    from (select s.documents, s.average_length from pipeline p left join word_statistics s on s.pipeline_id = p.id
          where p.id = $1 and _sees_all_rows(p.source, p.words_table) offset 0) one;
end $$;

-- Whether no policy of the source hides a row of that table from the role that the session has taken, which a function
-- of another owner hides, and which may read it. Only then is it told what is counted over all rows.
create or replace function pgembedd_internal._sees_all_rows(source oid, relation oid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    caller constant name := coalesce(nullif(current_setting('role'), 'none'), session_user);
    found_one record;
begin
    select has_any_column_privilege(caller, relation, 'select') as may_read, c.relrowsecurity, c.relforcerowsecurity,
           c.relowner into found_one
    from pg_class c where c.oid = source;
    if found_one.may_read is not true or not found_one.relrowsecurity then  -- without the subquery, which costs more
        return coalesce(found_one.may_read, false);
    end if;
    return not found_one.relforcerowsecurity and pg_has_role(caller, found_one.relowner, 'usage')
        or (select r.rolsuper or r.rolbypassrls from pg_roles r where r.rolname = caller);
end $$;
