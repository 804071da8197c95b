-- name: search
-- Searches; the arguments are those that the caller gave.
select s.* from pgembedd.search({arguments}) s

-- name: keys_without_row
-- The places, from 1, of those keys that are of no row that the caller may read.
select k.nth from pg_catalog.unnest(%(keys)s::jsonb[]) with ordinality as k(key, nth)
where pgembedd.search_row(%(pipeline)s::text, k.key) is null order by k.nth

-- name: answer_threshold
-- From which similarity on ask() takes a source.
select coalesce(s.min_similarity, pgembedd_internal._answer_threshold(p.model))
from pgembedd.search_pipelines(%(pipeline)s::text) p
left join pgembedd_internal.answer_settings s on s.pipeline operator(pg_catalog.=) p.pipeline

-- name: search_many
-- Searches several pipelines at once.
select s.* from pgembedd.search_many({arguments}) s

-- name: similar
-- The rows like one of the rows.
select s.* from pgembedd.similar({arguments}) s

-- name: explain_search
-- How a search finds what it finds.
select e from pgembedd.explain_search({arguments}) e

-- name: search_session
-- For this transaction, or the session: the claims that policies ask for and the limit of time. And what is wrong with
-- the role, and the process.
select r.rolname,
       case when r.rolsuper then 'is a superuser' when r.rolbypassrls then 'has BYPASSRLS'
            when r.rolcreaterole then 'has CREATEROLE' when r.rolreplication then 'has REPLICATION'
            when r.rolinherit then 'has INHERIT'
            when exists (select from pg_catalog.pg_auth_members m where m.member operator(pg_catalog.=) r.oid)
            then 'is a member of another role'
            when exists (select from pg_catalog.pg_shdepend d
                         where d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass
                           and d.refobjid operator(pg_catalog.=) r.oid and d.deptype operator(pg_catalog.=) 'o')
            then 'owns tables or other objects' end,
       pg_catalog.set_config('request.jwt.claims', %(claims)s, %(local)s),
       pg_catalog.set_config('statement_timeout', %(milliseconds)s, %(local)s),
       pg_catalog.pg_backend_pid()
from pg_catalog.pg_roles r where r.rolname operator(pg_catalog.=) session_user

-- name: search_row
-- The row of a key, as far as the caller may read it.
select r from pgembedd.search_row({arguments}) r

-- name: search_pipelines
-- What the caller may search.
select p.* from pgembedd.search_pipelines({arguments}) p

-- name: trial_role
-- For the private Postgres alone: a role that searches and asks over HTTP, with the rights on tables that are there and
-- on those that follow.
do $do$ begin
    if to_regrole({role_name}) is null then create role {role}; end if;
end $do$;
alter role {role} login noinherit password {password};
grant select on all tables in schema public to {role};
alter default privileges in schema public grant select on tables to {role};
select pgembedd.grant_search({role_name}), pgembedd.grant_ask({role_name})

-- name: limit_trial
-- For this transaction: a table that takes longer is not worth the wait of a person at a terminal.
select pg_catalog.set_config('statement_timeout', '30s', true)

-- name: trial_table
-- The table that a name means: its kind, estimates of rows and pages, its columns with their place in the key, the
-- tables that are called as one of its embeddings would be, whether this database has a schema of ours, and the role.
select n.nspname, c.relname, pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.relkind,
       coalesce(p.rows, c.reltuples), coalesce(p.bytes, pg_catalog.pg_relation_size(c.oid))::bigint
           operator(pg_catalog./) pg_catalog.current_setting('block_size')::bigint,
       (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'name', a.attname, 'quoted', pg_catalog.quote_ident(a.attname), 'key', k.nth,
                   'readable', pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')) order by a.attnum)
        from pg_catalog.pg_attribute a
        left join (select key.attnum, key.nth from pg_catalog.pg_index i
                   cross join pg_catalog.unnest(i.indkey) with ordinality as key(attnum, nth)
                   where i.indrelid operator(pg_catalog.=) c.oid and i.indisprimary
                     and key.nth operator(pg_catalog.<=) i.indnkeyatts) k on k.attnum operator(pg_catalog.=) a.attnum
        where a.attrelid operator(pg_catalog.=) c.oid and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped),
       array(select r.relname::pg_catalog.text from pg_catalog.pg_class r
             where r.relnamespace operator(pg_catalog.=) c.relnamespace and pg_catalog.starts_with(
                 r.relname::pg_catalog.text, pg_catalog.concat(c.relname, '_embeddings'))),
       pg_catalog.to_regnamespace('pgembedd') is not null, pg_catalog.quote_ident(current_user)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
cross join lateral (
    select pg_catalog.sum(greatest(l.reltuples, 0)) as rows, pg_catalog.sum(pg_catalog.pg_relation_size(l.oid)) as bytes
    from (select t.relid from pg_catalog.pg_partition_tree(c.oid) t
          union select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent operator(pg_catalog.=) c.oid) t(oid)
    join pg_catalog.pg_class l on l.oid operator(pg_catalog.=) t.oid and l.relkind operator(pg_catalog.=) 'r') p
where c.oid operator(pg_catalog.=) pg_catalog.to_regclass(%(table)s)

-- name: trial_pipelines
select pipeline from pgembedd.pipelines

-- name: trial_rows
-- Keys and texts of random rows; the text is made as that of content_columns is.
select r.key, pg_catalog.left(r.content, %(characters)s)
from (select {key} as key, pg_catalog.concat_ws(E'\n\n', {content}) as content from {table} s {clause}) r
where r.content operator(pg_catalog.~) '\S'
order by pg_catalog.random() limit %(rows)s
