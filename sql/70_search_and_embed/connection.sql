-- The schema of dblink, quoted; null where it is not installed.
create or replace function pgembedd_internal._dblink() returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select e.extnamespace::regnamespace::text from pg_extension e where e.extname = 'dblink'
$$;

-- What sets embed() up, again where its role is not on this server any more, as after a restore.
create or replace function pgembedd_internal._embed_remedy() returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when _dblink() is null
                then 'It needs the extension dblink, which comes with Postgres. As an administrator: create extension '
                     'dblink; ' else '' end
        || case when not (r.rolsuper or r.rolcreaterole)
                then format('As an administrator, because %s may not create roles: create role asker login password '
                            '''...''; As the owner of pgembedd: select pgembedd.embed_through(username => ''asker'', '
                            'password => ''...'');', _owner_of_schema())
                when exists (select from loopback l where to_regrole(quote_ident(l.username)) is null)
                then 'Run `pgembedd migrate`.'
                else 'As the owner of pgembedd: select pgembedd.embed_through();' end
    from pg_roles r where r.oid = _owner_of_schema()
$$;

-- A statement for the second connection. pg_stat_activity keeps only the beginning, so it does not show the statement:
-- all askers have one role, which sees its own sessions there; with the text and the id of a request it could have its
-- vector, too.
create or replace function pgembedd_internal._hidden(statement text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select '/* pgembedd.embed() */'
        || repeat(' ', pg_size_bytes(current_setting('track_activity_query_size'))::integer) || statement
$$;

-- What it returns.
create or replace function pgembedd_internal._run_over(line text, statement text) returns text
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    result text;
begin
    execute format('select t.result from %s.dblink($1, $2) as t(result text)', _dblink()) into result
    using line, _hidden(statement);
    return result;
end $$;

create or replace function pgembedd_internal._connect(line text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    through pgembedd_internal.loopback := (select l from loopback l);
    problem text;
begin
    execute format('select %s.dblink_connect($1, $2)', _dblink()) using line, _conninfo(through);
exception when others then
    get stacked diagnostics problem = pg_exception_detail;
    raise exception 'pgembedd.embed() cannot connect to its own database as %: %', through.username,
        coalesce(nullif(regexp_replace(btrim(problem), E'\\s*\\n.*', ''), ''), sqlerrm) using errcode = sqlstate,
        hint = 'pgembedd.embed_through() says where and as whom it connects; `pgembedd doctor` tries it.';
end $$;

-- The schema of dblink, and the name of the connection that a session keeps open between its requests: another one
-- embed_through(), and null where every role may call dblink's functions, and so use a connection that is open in its
-- session.
create or replace function pgembedd_internal._way_to_ask(out dblink text, out kept text)
language plpgsql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    select e.extnamespace::regnamespace, case when not has_schema_privilege('public', e.extnamespace, 'usage') then
        'pgembedd ' || left(encode(sha256(uuid_send(l.secret) || 'line'), 'hex'), 40) end
    into dblink, kept
    from pg_extension e, loopback l where e.extname = 'dblink';
    if dblink is null then
        raise exception using message = 'pgembedd.embed() is not set up in this database.',
            hint = _embed_remedy(), errcode = 'object_not_in_prerequisite_state';
    end if;
end $$;

create or replace function pgembedd_internal._is_connected(line text) returns boolean
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    open text[];
begin
    execute format('select %s.dblink_get_connections()', _dblink()) into open;
    return coalesce(line = any (open), false);
end $$;

-- Also for a caller who cancels again and again: as long as the connection is there, it is tried once more.
create or replace function pgembedd_internal._disconnect(line text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    loop
        begin
            if _is_connected(line) then
                execute format('select %s.dblink_disconnect($1)', _dblink()) using line;
            end if;
            return;
        exception when query_canceled then null;
        end;
    end loop;
end $$;

-- libpq's key='value' pairs. What is not given is what this server says of itself.
create or replace function pgembedd_internal._conninfo(through pgembedd_internal.loopback) returns text
language sql stable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select string_agg(format('%s=''%s''', o.name, replace(replace(o.value, E'\\', E'\\\\'), '''', E'\\''')), ' ') || ' '
        || coalesce(through.options, '')
    from (select regexp_split_to_array(btrim(current_setting('listen_addresses')), E'\\s*,\\s*') as addresses) a,
    lateral (values
        ('dbname', current_database()::text),
        -- The loopback address if the server listens there, else the first that it names, else its socket.
        ('host', coalesce(through.host, case
            when a.addresses && array['*', '0.0.0.0', 'localhost', '127.0.0.1'] then '127.0.0.1'
            when a.addresses && array['::', '::1'] then '::1' else nullif(a.addresses[1], '') end)),
        ('port', coalesce(through.port::text, current_setting('port'))),
        ('user', through.username),
        ('password', through.password),
        ('application_name', 'pgembedd embed'),
        ('connect_timeout', '5'),
        ('gssencmode', 'disable'),
        -- Encrypting what does not leave the machine would be most of what a connection costs.
        ('sslmode', case when through.host is null then 'allow' else 'prefer' end),
        -- Not the defaults of role or database: every query must see what was committed before it.
        ('options', E'-c default_transaction_isolation=read\\ committed -c '
                    'default_transaction_read_only=off -c statement_timeout=0 '
            -- Neither a timeout nor a cancellation waits for a lock on the table of the requests.
            '-c lock_timeout=1s '
            -- The server closes what a session keeps, and what a caller left who cancelled twice.
            '-c idle_session_timeout=10s')
    ) as o(name, value) where o.value is not null
$$;
