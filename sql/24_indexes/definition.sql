-- The links of the index, and the candidates of its build: those that were asked for, or by the number of rows that
-- the server estimates now, of the largest partition. Beyond 300,000 a search by pgvector's defaults misses too many of
-- the nearest (decision 9).
create or replace function pgembedd_internal._graph(
    made pgembedd_internal.pipeline, out m integer, out ef_construction integer
)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select coalesce(made.m, case when r.many then 32 else 16 end),
           coalesce(made.ef_construction, case when r.many then 128 else 64 end)
    from (select max(c.reltuples) > 300000 as many from pg_class c
          where c.relkind = 'r' and c.oid = any (array(select _tables(made)))) r
$$;

create or replace function pgembedd_internal._hnsw(made pgembedd_internal.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select format('using hnsw (%I %s.%s_%s_ops) with (m = %s, ef_construction = %s)', _vector_column(made),
                  _schema_of_vector(), made.vector_type, made.distance, g.m, g.ef_construction)
    from _graph(made) g
$$;

create or replace function pgembedd_internal._index_base(relation regclass, embedding_column text) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select _truncate_name(c.relname, 20) || '_' || _truncate_name(embedding_column, 20)
    from pg_class c where c.oid = relation
$$;

-- The name of our index on the source, or on one of its partitions, whose names tend to begin alike.
create or replace function pgembedd_internal._index_name(
    made pgembedd_internal.pipeline, relation regclass
) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when relation = _target(made) then made.index_name
                else _index_base(relation, _vector_column(made)) || '_hnsw_' || relation::oid end
$$;

-- Indexes of a table that answer this pipeline's searches, or will once they are valid.
create or replace function pgembedd_internal._fitting_indexes(made pgembedd_internal.pipeline, relation regclass)
returns table (index regclass, name text, kind "char", method text, valid boolean)
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select i.indexrelid::regclass, c.relname::text, c.relkind, a.amname::text, i.indisvalid
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    join pg_opclass o on o.oid = i.indclass[0]
    join pg_attribute k on k.attrelid = i.indrelid and k.attnum = i.indkey[0]
    where i.indrelid = relation and k.attname = _vector_column(made) and i.indpred is null
      and a.amname in ('hnsw', 'ivfflat') and o.opcname = format('%s_%s_ops', made.vector_type, made.distance)
$$;
