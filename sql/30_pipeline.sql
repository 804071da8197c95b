-- What a user calls: create_pipeline, drop_pipeline, pause, resume, backfill, retry_failed. Most run with the
-- caller's rights; whoever installed pgembedd, or a member of that role, may call them.

create or replace function pgembedd._refuse(message text, remedy text default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if remedy is null then
        raise exception using message = message, errcode = 'invalid_parameter_value';
    end if;
    raise exception using message = message, hint = remedy, errcode = 'invalid_parameter_value';
end $$;

create or replace function pgembedd._pipeline(name text) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_one pgembedd.pipeline;
begin
    select p.* into found_one from pipeline p where p.name = $1;
    if found_one.id is null then
        perform _refuse(format('There is no pipeline "%s".', name),
            coalesce('There are: ' || (select string_agg(p.name, ', ' order by p.name) from pipeline p) || '.',
                     'There is none at all; pgembedd.create_pipeline() makes one.'));
    end if;
    return found_one;
end $$;

-- Not pinned to a search_path: `source` and `content_function` are looked up under the caller's.
create or replace function pgembedd.create_pipeline(
    name text,
    source text,
    content_columns text[] default null,
    content_function text default null,
    embedding_column text default null,
    model text default 'gte-small',
    dimensions integer default 384,
    vector_type text default 'halfvec',
    distance text default 'cosine',
    watch_columns text[] default null,
    on_update text default 'keep',
    backfill boolean default true,
    queue text default 'embedding_jobs',
    max_attempts integer default 5,
    create_index boolean default true,
    m integer default 16,
    ef_construction integer default 64,
    index_when text default 'auto',
    index_within interval default '1 day',
    embedding_table text default null,
    chunk_tokens integer default null,
    chunk_overlap integer default null,
    splitter text default 'text',
    formatting text default null,
    adopt boolean default null,
    enable_always boolean default false,
    triggers boolean default true
) returns bigint
language plpgsql
as $$
declare
    made pgembedd.pipeline;
begin
    made.name := name;
    begin
        made.source := pg_catalog.to_regclass(source);
    exception when syntax_error or invalid_name or feature_not_supported then null;  -- 'a.b.c.d' is no table's name
    end;
    made.source_name := source;
    if content_function is not null and made.source is not null then
        made.content_function := pgembedd._content_function(
            pg_catalog.to_regprocedure(pg_catalog.format('%s(%s)', content_function, made.source)), content_function, source);
    end if;
    made.content_columns := content_columns;
    made.watch_columns := watch_columns;
    made.embedding_column := case when embedding_table is null then coalesce(embedding_column, 'embedding') else embedding_column end;
    made.embedding_table_name := embedding_table;
    made.chunk_tokens := chunk_tokens;
    made.chunk_overlap := chunk_overlap;
    made.splitter := splitter;
    made.formatting := formatting;
    made.enable_always := coalesce(enable_always, false);
    made.triggers := coalesce(triggers, true);
    made.model := model;
    made.dimensions := dimensions;
    made.vector_type := vector_type;
    made.distance := distance;
    made.on_update := on_update;
    made.queue := queue;
    made.max_attempts := max_attempts;
    made.m := m;
    made.ef_construction := ef_construction;
    made.search_path := pg_catalog.current_setting('search_path');
    return pgembedd._create_pipeline(made, backfill, case when create_index then coalesce(index_when, 'NULL') end, index_within,
                                    adopt);
end $$;
comment on function pgembedd.create_pipeline is
    'Register a table: its rows get vectors from now on. Returns how many existing rows were queued.';

create or replace function pgembedd._content_function(function regprocedure, given text, source text) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if function is null then
        perform _refuse(format('There is no function %s(%s).', given, source),
            'content_function takes one row of the source and returns text.');
    elsif not exists (select from pg_proc f where f.oid = function and f.prokind = 'f' and not f.proretset) then
        perform _refuse(format('%s(%s) is no function that returns one value.', given, source),
            'content_function takes one row of the source and returns text.');
    end if;
    return (select format('%I.%I', n.nspname, f.proname)
            from pg_proc f join pg_namespace n on n.oid = f.pronamespace where f.oid = function);
end $$;

-- index_when is null where no index is wanted.
create or replace function pgembedd._create_pipeline(
    made pgembedd.pipeline, backfill boolean, index_when text, index_within interval, adopt boolean default null
) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    queued bigint;
begin
    perform _dismiss_guest(made.source, made.embedding_column);
    perform _check_source(made);
    made.source_name := made.source::text;
    made.key_columns := array(select k.name from _key_columns(made.source) k);
    perform _check_options(made);
    perform _check_columns(made, made.content_columns, 'content_columns');
    perform _check_columns(made, made.watch_columns, 'watch_columns');
    made.watch_columns := _written_columns(made.source,
        coalesce(made.watch_columns,
                 case when made.content_function is null then made.content_columns || _formatting_columns(made.formatting) end,
                 _watchable_columns(made.source)));
    perform _check_table_options(made);
    made.backfill_queue := case made.queue when 'embedding_jobs' then 'embedding_backfill' else made.queue || '_backfill' end;
    perform _ensure_queue(made.queue), _ensure_queue(made.backfill_queue);
    perform _check_owner(made);
    if made.embedding_table_name is null then
        perform _ensure_column(made), _adopt_column(made, adopt);
    else
        made.embedding_table := coalesce(_adopt_table(made, adopt), _ensure_table(made));
        made.embedding_table_name := made.embedding_table::text;
    end if;
    if index_when is not null then
        perform _check_when(index_when, index_within);
        made := _ensure_indexes(made, index_when, index_within);
    end if;
    insert into pipeline (
        name, source, source_name, key_columns, content_columns, content_function, watch_columns, embedding_column,
        embedding_table, embedding_table_name, chunk_tokens, chunk_overlap, splitter, formatting,
        model, dimensions, vector_type, distance, on_update, queue, backfill_queue, max_attempts, search_path,
        m, ef_construction, index_name, index_due_at, created_indexes, enable_always, own_triggers, triggers)
    values (
        made.name, made.source, made.source_name, made.key_columns, made.content_columns, made.content_function,
        made.watch_columns, made.embedding_column, made.embedding_table, made.embedding_table_name, made.chunk_tokens,
        coalesce(made.chunk_overlap, 0), made.splitter, made.formatting, made.model, made.dimensions, made.vector_type, made.distance,
        made.on_update, made.queue, made.backfill_queue, made.max_attempts, made.search_path,
        made.m, made.ef_construction, made.index_name, made.index_due_at, coalesce(made.created_indexes, '{}'),
        made.enable_always, coalesce(made.own_triggers, true), coalesce(made.triggers, true))
    returning * into made;
    perform _regenerate(made);
    perform _propose_chunks(made);
    queued := case when not backfill then 0
                   when adopt and made.embedding_table is not null then _look_at_all(made)
                   else _backfill(made, false) end;
    perform _tell_created(made, queued);
    return queued;
end $$;

create or replace function pgembedd._check_source(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    kind "char" := (select relkind from pg_class where oid = made.source);
begin
    if made.name is null or made.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' then
        perform _refuse(format('The pipeline name %s is not usable.', coalesce(quote_literal(made.name), 'NULL')),
            'Take letters, digits, "_", "-" and ".", at most 63, not starting with "-" or ".".');
    elsif exists (select from pipeline p where p.name = made.name) then
        perform _refuse(format('There is a pipeline "%s" already.', made.name),
            format('Choose another name, or remove it with select pgembedd.drop_pipeline(%L).', made.name));
    elsif made.source is null then
        perform _refuse(format('There is no table %s.', coalesce(made.source_name, 'NULL')),
            'Name it with its schema, and quote it as in SQL where it needs quoting: ''my_schema."My Table"''.');
    elsif _space(made.source) in ('pgembedd', 'pgembedd_code', 'pgmq', 'pg_catalog', 'information_schema') then
        perform _refuse(format('%s is not a table of yours.', made.source), 'What pgembedd or Postgres itself writes to cannot be embedded.');
    elsif exists (select from pipeline p where p.embedding_table = made.source) then
        perform _refuse(format('%s is the embedding table of a pipeline.', made.source), 'Register the table that the texts are in.');
    elsif kind not in ('r', 'p') then
        perform _refuse(format('%s is %s, not a table.', made.source, case kind
            when 'v' then 'a view' when 'm' then 'a materialized view' when 'f' then 'a foreign table'
            when 'i' then 'an index' when 'S' then 'a sequence' else 'no ordinary relation' end),
            'Register the table that the rows are written to.');
    elsif _inherits(made.source) then
        perform _refuse(format('%s takes part in table inheritance, or is one partition of a table.', made.source),
            'Register the partitioned table itself; tables with inheritance children are not supported.');
    elsif (select relpersistence from pg_class where oid = made.source) = 't' then
        perform _refuse(format('%s is a temporary table.', made.source), 'The worker could not see its rows; register a permanent table.');
    elsif exists (select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
                  where i.indrelid = made.source and i.indisprimary and a.amname <> 'btree') then
        perform _refuse(format('%s has a primary key WITHOUT OVERLAPS.', made.source),
            'The queue names a row by a value that stays the same; a table with an ordinary primary key can be registered.');
    elsif not exists (select from _key_columns(made.source)) then
        perform _refuse(format('%s has no primary key.', made.source),
            'The queue names rows by their primary key: add one with ALTER TABLE ... ADD PRIMARY KEY.');
    end if;
end $$;

create or replace function pgembedd._check_options(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if num_nonnulls(made.content_columns, made.content_function) <> 1 or made.content_columns = '{}' then
        perform _refuse('Say what is to be embedded: content_columns or content_function, one of the two.',
            'For example content_columns => array[''title'', ''content''].');
    elsif coalesce(made.vector_type, '') not in ('halfvec', 'vector') then
        perform _refuse(format('vector_type %s is not known.', coalesce(quote_literal(made.vector_type), 'NULL')), 'Take halfvec or vector.');
    elsif coalesce(made.distance, '') not in ('cosine', 'l2', 'ip') then
        perform _refuse(format('distance %s is not known.', coalesce(quote_literal(made.distance), 'NULL')), 'Take cosine, l2 or ip.');
    elsif coalesce(made.on_update, '') not in ('keep', 'clear') then
        perform _refuse(format('on_update %s is not known.', coalesce(quote_literal(made.on_update), 'NULL')),
            'keep leaves the old vector in place until the new one is there; clear empties it at once.');
    elsif not made.triggers and (made.on_update = 'clear' or made.enable_always) then
        perform _refuse(format('%s is done by triggers, and this pipeline is to have none.',
                case when made.enable_always then 'enable_always' else 'on_update => ''clear''' end),
            'Leave out triggers => false, or this option.');
    elsif made.dimensions is null or made.dimensions not between 1 and (case made.vector_type when 'halfvec' then 4000 else 2000 end) then
        perform _refuse(format('%s dimensions cannot be indexed as %s.', coalesce(made.dimensions::text, 'NULL'), made.vector_type),
            'HNSW takes up to 4000 for halfvec and 2000 for vector.');
    elsif made.max_attempts is null or made.max_attempts not between 1 and 100 then
        perform _refuse(format('max_attempts %s is out of range.', coalesce(made.max_attempts::text, 'NULL')), 'Take 1 to 100.');
    elsif coalesce(made.model, '') = '' then
        perform _refuse('The pipeline needs a model.', 'Leave it out for gte-small, or see `pgembedd model list`.');
    elsif made.queue = 'embedding_backfill' or made.queue like '%\_backfill' then
        perform _refuse(format('The queue %s would be another one''s backfill lane.', quote_literal(made.queue)), 'Take a name that does not end with _backfill.');
    elsif made.embedding_column = '' then
        perform _refuse('The pipeline needs an embedding_column.', 'It is created when missing.');
    elsif octet_length(made.embedding_column) > 63 then
        perform _refuse(format('The embedding_column "%s" is longer than a name can be.', made.embedding_column), 'Take at most 63 bytes.');
    elsif exists (select from pg_attribute a where a.attrelid = made.source and a.attname = made.embedding_column and a.attnum < 0) then
        perform _refuse(format('"%s" is a system column of every table.', made.embedding_column), 'Name another embedding_column.');
    elsif made.m is null or made.m not between 2 and 100
       or made.ef_construction is null or made.ef_construction not between greatest(4, 2 * made.m) and 1000 then
        perform _refuse(format('m = %s and ef_construction = %s do not make an HNSW index.',
                coalesce(made.m::text, 'NULL'), coalesce(made.ef_construction::text, 'NULL')),
            'm goes from 2 to 100, ef_construction from twice m to 1000.');
    elsif made.embedding_column = any (made.content_columns || made.watch_columns || made.key_columns) then
        perform _refuse(format('The column "%s" cannot be content or key and hold the vector, too.', made.embedding_column));
    end if;
end $$;

create or replace function pgembedd._check_when(index_when text, index_within interval) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if index_when not in ('auto', 'now', 'later') then
        perform _refuse(format('index_when %s is not known.', quote_literal(index_when)),
            'now makes the index at once, later after the backfill, auto decides by the size of the table.');
    elsif index_within is null or index_within < interval '0' then
        perform _refuse(format('index_within %s is no time to build an index in.', coalesce(quote_literal(index_within), 'NULL')),
            'It is how long the backfill may put the index off; one day unless given.');
    end if;
end $$;

create or replace function pgembedd._check_columns(made pgembedd.pipeline, columns text[], option text) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    missing text;
begin
    select string_agg(format('"%s"', c), ', ') into missing from unnest(columns) as c
    where c is null or not exists (
        select from pg_attribute a where a.attrelid = made.source and a.attname = c and a.attnum > 0 and not a.attisdropped);
    if missing is not null then
        perform _refuse(format('%s has no column %s, named in %s.', made.source, missing, option),
            format('It has: %s.', (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
                                   where a.attrelid = made.source and a.attnum > 0 and not a.attisdropped)));
    end if;
end $$;

-- With a content function we cannot know what it reads: every column but vectors, which are results.
create or replace function pgembedd._watchable_columns(source regclass) returns text[]
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select array_agg(a.attname::text order by a.attnum)
    from pg_attribute a
    where a.attrelid = source and a.attnum > 0 and not a.attisdropped
      and not exists (
        select from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_type'::regclass and d.objid = a.atttypid and d.deptype = 'e' and e.extname = 'vector')
$$;

-- A generated column changes with those it is made of, and the triggers do not always see it: what stands in the
-- place of such a column is the columns behind it.
create or replace function pgembedd._written_columns(source regclass, columns text[]) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(distinct written.attname::text), '{}')
    from unnest(columns) as c(name)
    join pg_attribute named on named.attrelid = source and named.attname = c.name
    left join pg_attrdef made on made.adrelid = source and made.adnum = named.attnum and named.attgenerated <> ''
    left join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = made.oid and d.refobjid = source
                         and d.refclassid = 'pg_class'::regclass and d.refobjsubid not in (0, named.attnum)
    join pg_attribute written on written.attrelid = source and written.attgenerated = ''
                             and written.attnum = case named.attgenerated when '' then named.attnum else d.refobjsubid end
$$;

-- What runs for the pipeline runs as the table's owner, so the caller must be able to act as that role.
create or replace function pgembedd._check_owner(made pgembedd.pipeline) returns void
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    source_owner regrole := (select relowner from pg_class where oid = made.source);
begin
    if not pg_has_role(current_user, source_owner, 'usage') then
        perform _refuse(format('%s belongs to %s, and %s may not act for that role.', made.source, source_owner, quote_ident(current_user)),
            format('Run this as %s or as a superuser, or GRANT %s TO %s.', source_owner, source_owner, quote_ident(current_user)));
    elsif _hidden_from_owner(made.source) is not null then
        perform _refuse(_hidden_from_owner(made.source));
    end if;
end $$;

-- FORCE ROW LEVEL SECURITY subjects the owner to the policies: rows would be missed, or taken for gone.
create or replace function pgembedd._hidden_from_owner(source regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select format('Row level security is forced on %s, so that %s, who owns it, would not see every row. Have an administrator '
                  'run ALTER ROLE %s BYPASSRLS, or ALTER TABLE %s NO FORCE ROW LEVEL SECURITY.',
                  source, c.relowner::regrole, c.relowner::regrole, source)
    from pg_class c join pg_roles r on r.oid = c.relowner
    where c.oid = source and c.relrowsecurity and c.relforcerowsecurity and not (r.rolsuper or r.rolbypassrls)
$$;

create or replace function pgembedd._ensure_column(made pgembedd.pipeline) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    wanted text := format('%s(%s)', _vector_type(made.vector_type), made.dimensions);
    actual text;
    taken text := (select p.name from pipeline p where p.source = made.source and p.embedding_column = made.embedding_column);
    generated "char";
begin
    if taken is not null then
        perform _refuse(format('%s.%s is filled by the pipeline "%s" already.', made.source, quote_ident(made.embedding_column), taken),
            'Two pipelines cannot share a column: name another embedding_column.');
    end if;
    select format_type(a.atttypid, a.atttypmod), a.attgenerated into actual, generated from pg_attribute a
    where a.attrelid = made.source and a.attname = made.embedding_column and a.attnum > 0 and not a.attisdropped;
    if actual is null then
        execute format('alter table %s add column %I %s', made.source, made.embedding_column, wanted);
    elsif actual <> wanted then
        perform _refuse(format('%s.%s is %s, but this pipeline writes %s.', made.source, quote_ident(made.embedding_column),
            replace(actual, 'character varying', 'varchar'), wanted),
            'Name another embedding_column (it is created when missing), or give the vector_type and dimensions that the column has.');
    elsif generated <> '' then
        perform _refuse(format('%s.%s is a generated column; nobody can write to it.', made.source, quote_ident(made.embedding_column)),
            'Name another embedding_column.');
    end if;
end $$;

create or replace function pgembedd.drop_pipeline(name text, drop_vectors boolean default false) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    gone pgembedd.pipeline := _pipeline(name);
    item record;
begin
    if (_shadow(gone)).id is not null then
        perform _refuse(format('"%s" has "%s" beside it.', name, (_shadow(gone)).name),
            format('Drop that first: select pgembedd.drop_pipeline(%L, drop_vectors => true).', (_shadow(gone)).name));
    end if;
    -- First: whoever builds it holds a lock that dropping a trigger would wait for.
    if _exists(gone.source) then
        perform _abandon_index(gone);
    end if;
    for item in
        select t.tgname, t.tgrelid::regclass as relation from pg_trigger t join pg_proc f on f.oid = t.tgfoid
        where f.pronamespace = 'pgembedd_code'::regnamespace and not t.tgisinternal and t.tgparentid = 0
          and f.proname like format('pipeline\_%s\_%%', gone.id)
    loop
        execute format('drop trigger %I on %s', item.tgname, item.relation);
    end loop;
    for item in
        select f.oid::regprocedure as signature from pg_proc f
        where f.pronamespace = 'pgembedd_code'::regnamespace and f.proname like format('pipeline\_%s\_%%', gone.id)
    loop
        execute format('drop function %s', item.signature);
    end loop;
    -- The index of waiting rows is ours alone; the HNSW index serves searches and goes with the column.
    for item in
        select i.indexrelid::regclass as index from unnest(gone.created_indexes) as c(name)
        join pg_index i on i.indexrelid = to_regclass(c.name)
        where i.indpred is not null
    loop
        execute format('drop index %s', item.index);
    end loop;
    if drop_vectors and gone.embedding_table is not null and _exists(gone.embedding_table) then
        if _view(gone) is not null then
            execute format('drop view %s', _view(gone));
        end if;
        execute format('drop table %s', gone.embedding_table);
    elsif drop_vectors and gone.embedding_table is null and _exists(gone.source) then
        execute format('alter table %s drop column if exists %I', gone.source, gone.embedding_column);
    end if;
    perform _forget_jobs(gone.queue, gone.id), _forget_jobs(gone.backfill_queue, gone.id);
    delete from pipeline p where p.id = gone.id;
    perform _tell('dropped', gone.id, name => gone.name);
    perform _foretell_return(gone);
end $$;
comment on function pgembedd.drop_pipeline is
    'Stop embedding a table: triggers, jobs and dead letters go; vectors and a finished index stay unless drop_vectors.';

create or replace function pgembedd._exists(source regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select exists (select from pg_class where oid = source) $$;

create or replace function pgembedd._forget_jobs(queue text, pipeline_id integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if to_regclass(_queue_table(queue)) is not null then
        execute format('delete from %s q where %s', _queue_table(queue), _is_for(pipeline_id));
    end if;
end $$;

-- The condition that the message of `q` is a job of that pipeline: by our own name for it, or by the names that
-- another's trigger gave.
create or replace function pgembedd._is_for(pipeline_id integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select format('(q.message ->> ''pipeline'' = %L or not q.message ? ''pipeline'' and pgembedd._pipeline_of(q.message) = %s)',
                  pipeline_id, pipeline_id)
$$;

create or replace function pgembedd.pause(name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
begin
    update pipeline p set state = 'paused', state_reason = 'paused by ' || current_user, state_since = clock_timestamp()
    where p.id = found_one.id;
    perform _tell('paused', found_one.id);
end $$;
comment on function pgembedd.pause is 'Keep enqueueing, stop embedding. What is in flight is finished.';

create or replace function pgembedd.resume(name text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
    problem text := _problem(found_one);
begin
    if problem is not null then
        perform _refuse(format('The pipeline "%s" cannot resume: %s', name, problem));
    end if;
    update pipeline p set state = 'running', state_reason = null, state_since = clock_timestamp()
    where p.id = found_one.id returning * into found_one;
    perform _regenerate(found_one), _unpark(found_one.queue, found_one.id), _unpark(found_one.backfill_queue, found_one.id);
    perform _wake(found_one.queue), _tell('resumed', found_one.id);
end $$;
comment on function pgembedd.resume is 'Go on after a pause or after what stopped the pipeline has been mended.';

-- The claim sets jobs of a pipeline that does not run aside, out of every worker's sight.
create or replace function pgembedd._unpark(queue text, pipeline_id integer) returns void
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    if to_regclass(_queue_table(queue)) is not null then
        execute format('update %s q set vt = clock_timestamp() where q.vt = ''infinity'' and %s',
            _queue_table(queue), _is_for(pipeline_id));
    end if;
end $$;

-- What is wrong with a pipeline, in one sentence, or null.
create or replace function pgembedd._problem(pipeline pgembedd.pipeline) returns text
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    missing text;
    actual text;
begin
    if not _exists(pipeline.source) then
        return format('The table %s was dropped. Remove the pipeline with pgembedd.drop_pipeline(%L)%s.', pipeline.source_name, pipeline.name,
            case when to_regclass(pipeline.source_name) is not null then ', then create it again for the new table of that name' else '' end);
    end if;
    if _inherits(pipeline.source) then
        return format('%s takes part in table inheritance, or is one partition of a table, by now. Undo that, or drop the pipeline "%s" '
            'and register the partitioned table.', pipeline.source, pipeline.name);
    end if;
    select string_agg(distinct format('"%s"', c), ', ') into missing
    from unnest(pipeline.content_columns || pipeline.watch_columns || pipeline.embedding_column
                || _formatting_columns(pipeline.formatting)) as c
    where c is not null and not exists (select from pg_attribute a where a.attrelid = pipeline.source and a.attname = c and not a.attisdropped);
    if missing is not null then
        return format('%s has no column %s any more. Rename it back, or drop the pipeline "%s" and create it again.', pipeline.source, missing, pipeline.name);
    end if;
    if pipeline.key_columns is distinct from array(select k.name from _key_columns(pipeline.source) k) then
        return format('The primary key of %s changed. Drop the pipeline "%s" and create it again; the vectors stay.', pipeline.source, pipeline.name);
    end if;
    if pipeline.content_function is not null
       and to_regprocedure(format('%s(%s)', pipeline.content_function, pipeline.source)) is null then
        return format('The content function %s(%s) is gone. Create it again, then call pgembedd.resume(%L).', pipeline.content_function, pipeline.source, pipeline.name);
    end if;
    if _hidden_from_owner(pipeline.source) is not null then
        return _hidden_from_owner(pipeline.source);
    end if;
    select format_type(a.atttypid, a.atttypmod) into actual from pg_attribute a
    where a.attrelid = pipeline.source and a.attname = pipeline.embedding_column;
    if actual <> format('%s(%s)', _vector_type(pipeline.vector_type), pipeline.dimensions) then
        return format('%s.%I is %s now, but the pipeline writes %s(%s). Change the type back, or drop the pipeline "%s" and create it again.',
            pipeline.source, pipeline.embedding_column, actual, pipeline.vector_type, pipeline.dimensions, pipeline.name);
    end if;
    return case when pipeline.embedding_table is not null then _table_problem(pipeline) end;
end $$;

-- A pipeline by name, refused with a sentence when it cannot work.
create or replace function pgembedd._sound(name text) returns pgembedd.pipeline
language plpgsql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    found_one pgembedd.pipeline := _pipeline(name);
begin
    if _problem(found_one) is not null then perform _refuse(_problem(found_one)); end if;
    return found_one;
end $$;

create or replace function pgembedd.backfill(name text, force boolean default false) returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
as $$
begin
    return _backfill(_sound(name), force);
end $$;
comment on function pgembedd.backfill is
    'Queue the rows that have no vector and are not queued; with force, every row. Returns how many.';

-- Rows that wait without anybody knowing: no vector, no reason for that, no job.
create or replace function pgembedd._backfill(pipeline pgembedd.pipeline, force boolean, at_most bigint default null)
returns bigint
language plpgsql
set search_path = pg_catalog, pgembedd, pg_temp
set row_security = off
set datestyle = 'ISO' set intervalstyle = 'postgres' set extra_float_digits = '1' set timezone = 'UTC'  -- as _key_settings
as $$
declare
    keys text := format('%s(%L) with ordinality as k(id, n)', _pipeline_function(pipeline.id, 'as_owner'), format('select %s from %s s where %s',
        _key_json(pipeline.source, 's'), pipeline.source, case when force then 'true' else _waits(pipeline) end));
    queued bigint;
begin
    if force then
        execute _enqueue(pipeline, pipeline.backfill_queue, 'k.id', keys);
        get diagnostics queued = row_count;
        -- What is there stays, but no chunk is taken over for its text any more. Only now, with a hold on the source:
        -- who empties that waits there, and not for our rows here. What somebody writes at this moment is new anyway.
        if pipeline.embedding_table is not null then
            perform _distrust(pipeline);
        end if;
    else
        execute _enqueue(pipeline, pipeline.backfill_queue, 'w.id', format($q$(
            select k.id from %1$s
            where not exists (
                select from pgembedd.row_state r where r.pipeline_id = %2$s and r.state in ('blank', 'dead') and r.key = k.id)
              and not exists (
                select from (select q.message -> 'id' as id from %3$s q where %6$s
                             union all select q.message -> 'id' from %4$s q where %6$s) queued
                where queued.id = k.id)
            order by k.n limit %5$s) w$q$,
            keys, pipeline.id, _queue_table(pipeline.queue),
            _queue_table(pipeline.backfill_queue), coalesce(at_most::text, 'all'), _is_for(pipeline.id)));
        get diagnostics queued = row_count;
    end if;
    if queued > 0 then perform _wake(pipeline.backfill_queue); end if;
    return queued;
end $$;

-- The condition that the row `s` of the source has no vector.
create or replace function pgembedd._waits(pipeline pgembedd.pipeline) returns text
language sql stable
set search_path = pg_catalog, pgembedd, pg_temp
as $$
    select case when pipeline.embedding_table is null then format('s.%I is null', pipeline.embedding_column)
                else format('not exists (select from %s e where %s)', pipeline.embedding_table,
                            _key_match(pipeline.source, 'e', 's')) end
$$;

-- As our owner, so that an operator can be allowed this without a right on any queue.
create or replace function pgembedd.retry_failed(name text default null, reason text default null) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pgembedd, pg_temp
as $$
declare
    item record;
    retried bigint := 0;
    pipelines integer[];  -- of each job its pipeline
    only_id integer := case when name is not null then (_pipeline(name)).id end;
begin
    for item in
        delete from dead_letter d
        where (only_id is null or d.pipeline_id = only_id) and (retry_failed.reason is null or d.reason = retry_failed.reason)
        returning d.*
    loop
        delete from row_state r where r.pipeline_id = item.pipeline_id and r.key = item.key and r.state = 'dead';
        perform _ensure_queue(item.queue);
        -- The change is as old as it was: that the job died in between made no vector.
        execute format('insert into %s (vt, enqueued_at, message) values (clock_timestamp(), $1, $2)', _queue_table(item.queue))
        using item.enqueued_at, item.message;
        perform _wake(item.queue);
        retried := retried + 1;
        pipelines := pipelines || item.pipeline_id;
    end loop;
    perform _tell('retried', r.id, jsonb_build_object('jobs', r.jobs, 'reason', retry_failed.reason))
    from (select p.id, count(*) as jobs from unnest(pipelines) as p(id) group by p.id) r;
    return retried;
end $$;
comment on function pgembedd.retry_failed is
    'Put dead letters back into the queue: of one pipeline or of all, of one reason or of any. Returns how many.';
