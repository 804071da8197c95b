-- name: import_triggers
-- Triggers of others with arguments, which is what the guide's are; a partition's copies left out.
select n.nspname, c.relname, t.tgname, f.proname,
       array(select convert_from(decode(a.part, 'escape'), getdatabaseencoding())
             from unnest(string_to_array(encode(t.tgargs, 'escape'), '\000')) with ordinality as a(part, nth)
             where a.nth <= t.tgnargs order by a.nth),
       t.tgtype::integer & 2 <> 0, t.tgtype::integer & 4 <> 0, t.tgtype::integer & 16 <> 0, t.tgqual is not null,
       pg_get_triggerdef(t.oid),
       array(select a.attname::text from unnest(t.tgattr::int2[]) as k(attnum)
             join pg_catalog.pg_attribute a on a.attrelid = t.tgrelid and a.attnum = k.attnum order by k.attnum)
from pg_catalog.pg_trigger t
join pg_catalog.pg_proc f on f.oid = t.tgfoid
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not t.tgisinternal and t.tgparentid = 0 and t.tgnargs > 0 and f.pronamespace <> 'pgembedd_code'::regnamespace
order by n.nspname, c.relname, t.tgname

-- name: import_column
-- What a column is that vectors are in, and whose; the content function by its whole name; a free name for a pipeline;
-- the dimensions of the model that is said to have made the vectors.
select format('%%I.%%I', %(schema)s::text, %(table)s::text),
       (select format('%%I.%%I', n.nspname, f.proname) from pg_catalog.pg_proc f
        join pg_catalog.pg_namespace n on n.oid = f.pronamespace
        where f.oid = pgembedd_internal._named_function(s.oid, %(function)s)),
       a.typname, a.atttypmod, p.name, pgembedd_internal._indexed_distance(s.oid, %(column)s),
       pgembedd_internal._free_pipeline_name(s.oid, %(column)s), pgembedd_internal._model_dimensions(%(model)s::text)
from (select to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)) as oid) s
left join lateral (
    select t.typname, a.atttypmod from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
    where a.attrelid = s.oid and a.attname = %(column)s and a.attnum > 0 and not a.attisdropped) a on true
left join pgembedd_internal.pipeline p on p.source = s.oid and p.embedding_column = %(column)s

-- name: import_undo
-- The columns whose triggers an import dropped, and those triggers.
select t.source_name, t.embedding_column, array_agg(t.definition order by t.name)
from pgembedd_internal.imported_trigger t group by t.source_name, t.embedding_column order by 1, 2

-- name: guide_limits
-- For one job of the guide; a policy that would hide its row is an error, or the row would be taken for gone.
select set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10s', true),
       set_config('row_security', 'off', true)

-- name: guide_message
-- A message of the guide's queue, and whether a posted job says the same.
select (select bool_and(j.job -> k.name is not distinct from q.message -> k.name)
        from (select %(job)s::jsonb as job) j
        cross join unnest('{id,schema,table,contentFunction,embeddingColumn}'::text[]) as k(name)),
       q.message ->> 'id', q.message ->> 'schema', q.message ->> 'table', q.message ->> 'contentFunction',
       q.message ->> 'embeddingColumn'
from pgmq.q_embedding_jobs q where q.msg_id = %(msg_id)s

-- name: guide_target
-- A sentence about why what a message of the guide names cannot be used, or null; the content function's schema and
-- name, and the types of id and vector. An unqualified function is looked for as in a call, then next to the table. The
-- role runs the code of its own tables and functions only.
select case when c.oid is null then format('There is no table %%s.%%s.', %(schema)s::text, %(table)s::text)
            when c.relowner <> u.oid then format('%%s.%%s does not belong to the role %%s: connect the service as the '
                'table''s owner, or run `pgembedd import supabase`.', %(schema)s::text, %(table)s::text, u.rolname)
            when c.relforcerowsecurity and not (u.rolsuper or u.rolbypassrls) then format(
                'Row level security is forced on %%s.%%s: ALTER ROLE %%I BYPASSRLS, or ALTER TABLE ... NO FORCE ROW '
                'LEVEL SECURITY.', %(schema)s::text, %(table)s::text, u.rolname)
            when f.name is null then format('There is no function %%s that takes a row of %%s.%%s.', %(function)s::text,
                %(schema)s::text, %(table)s::text)
            when f.owner <> u.oid and not f.superuser then format('The function %%s.%%s belongs neither to the role '
                '%%s nor to a superuser: change its owner, or run `pgembedd import supabase`.', f.schema, f.name,
                u.rolname)
            when k.attname is null then format('%%s.%%s has no column id.', %(schema)s::text, %(table)s::text)
            when v.attname is null then format('%%s.%%s has no column "%%s" of the type halfvec or vector.',
                %(schema)s::text, %(table)s::text, %(column)s::text)
            when v.atttypmod <> %(dimensions)s then format(
                '"%%s" has %%s dimensions, but %%s makes %%s: name the model '
                'of its vectors first in PGEMBEDD_HTTP_MODELS, or run `pgembedd import supabase`.', %(column)s::text,
                case when v.atttypmod > 0 then v.atttypmod::text else 'no' end, %(model)s::text, %(dimensions)s) end,
       f.schema, f.name, format_type(k.atttypid, k.atttypmod), format_type(v.atttypid, v.atttypmod)
from pg_catalog.pg_roles u
left join lateral (
    select c.oid, c.relowner, c.relrowsecurity and c.relforcerowsecurity as relforcerowsecurity
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %(schema)s and c.relname = %(table)s and c.relkind in ('r', 'p')) c on true
left join lateral (
    select n.nspname as schema, p.proname as name, p.proowner as owner, o.rolsuper as superuser
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join pg_catalog.pg_roles o on o.oid = p.proowner
    join pg_catalog.pg_class r on r.oid in (c.oid, pg_partition_root(c.oid)) and r.reltype = p.proargtypes[0]
    where p.proname = regexp_replace(%(function)s, '^.*\.', '')
      and p.pronargs = 1 and p.prokind = 'f'
      and n.nspname = any (case when strpos(%(function)s, '.') > 0
                                then array[regexp_replace(%(function)s, '\.[^.]*$', '')::name]
                                else current_schemas(true) || %(schema)s::name end)
    order by array_position(current_schemas(true), n.nspname), r.oid <> c.oid limit 1) f on true
left join pg_catalog.pg_attribute k on k.attrelid = c.oid and k.attname = 'id' and not k.attisdropped
left join (pg_catalog.pg_attribute v join pg_catalog.pg_type t
           on t.oid = v.atttypid and t.typname in ('halfvec', 'vector'))
    on v.attrelid = c.oid and v.attname = %(column)s and v.attnum > 0 and not v.attisdropped and v.attgenerated = ''
where u.rolname = current_user

-- name: guide_content
select {function}(t.*)::text from {source} t where t.id operator(pg_catalog.=) %(id)s::text::{id_type}

-- name: guide_write
-- Compares the content again; its function runs once more.
update {source} t set {column} = %(vector)s::text::{vector_type}
where t.id operator(pg_catalog.=) %(id)s::text::{id_type}
  and {function}(t.*)::text collate "C" is not distinct from %(content)s

-- name: guide_row
select exists (select from {source} t where t.id operator(pg_catalog.=) %(id)s::text::{id_type})

-- name: guide_done
delete from pgmq.q_embedding_jobs q where q.msg_id = %(msg_id)s

-- name: import_catalogue
-- Whether pgai is here.
select to_regclass('ai.vectorizer') is not null

-- name: import_vectorizers
-- pgai's vectorizers, whatever columns its version gives them.
select to_jsonb(v) from ai.vectorizer v order by v.id

-- name: import_relation
-- The relation of that name, quoted; null where there is none.
select to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))::text

-- name: import_name_taken
-- Whether a pipeline is called that.
select exists (select from pgembedd_internal.pipeline p where p.name = %(name)s)
