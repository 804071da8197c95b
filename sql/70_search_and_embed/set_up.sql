-- Sets the host and the role with which embed() connects to its own database. Without a username it makes a role of its
-- own, which may do nothing but ask; its password is random and stored in the table `loopback`, on which no right is
-- granted.
create or replace function pgembedd.embed_through(
    host text default null, port integer default null, username text default null, password text default null,
    options text default null
) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    made text := 'pgembedd_embed_' || (select d.oid from pg_database d where d.datname = current_database());
    former text := (select l.username from loopback l);
begin
    perform _check_texts('{host,username,password,options}', array[host, username, password, options]);
    if port is not null and port not between 1 and 65535 then
        raise exception using message = format('%s is no port.', port),
            hint = 'It is a number from 1 to 65535.', errcode = 'invalid_parameter_value';
    elsif username is null and password is not null then
        raise exception using message = 'A password was given without a username.',
            hint = 'Give both, or neither: then a role is made.', errcode = 'invalid_parameter_value';
    elsif username is not null and to_regrole(quote_ident(username)) is null then
        raise exception using message = format('There is no role "%s".', username),
            hint = 'Create it with LOGIN, or leave the username out: then one is made.', errcode = 'undefined_object';
    end if;
    if username is null then
        password := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
        perform _set_password(made, password);
    end if;
    insert into loopback (host, port, username, password, options)
    values (host, port, coalesce(username, made), password, options)
    on conflict on constraint loopback_pkey do update
    set host = excluded.host, port = excluded.port, username = excluded.username, password = excluded.password,
        options = excluded.options, secret = excluded.secret;
    perform _grant_embed_role(coalesce(username, made));
    if former <> coalesce(username, made) and to_regrole(quote_ident(former)) is not null then
        execute format('revoke execute on function pgembedd_internal._post_embed_request, '
                       'pgembedd_internal._await_vector, pgembedd_internal._forget_embed_request from %I', former);
        perform _revoke_names(to_regrole(quote_ident(former)));
    end if;
end $$;
comment on function pgembedd.embed_through is
    'Say where and as whom pgembedd.embed() connects to its own database; without a username a role is made for it.';

-- Makes the role where it is missing.
create or replace function pgembedd_internal._set_password(username text, password text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    execute format('%s role %I login noinherit password %L',
        case when to_regrole(quote_ident(username)) is null then 'create' else 'alter' end, username,
        _scram(password));
exception when insufficient_privilege then
    raise exception 'The role % may not make the role % for pgembedd.embed().', current_user, username
        using errcode = 'insufficient_privilege', hint = _embed_remedy();
end $$;

-- A SCRAM verifier for a random password: one round of hashing, since it cannot be guessed, and each further round
-- would cost time at every connection. So the password itself is in no statement either.
create or replace function pgembedd_internal._scram(password text) returns text
language plpgsql volatile
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    salt bytea := uuid_send(gen_random_uuid());
    salted bytea := _hmac(convert_to(password, 'UTF8'), salt || E'\\x00000001');
begin
    return format('SCRAM-SHA-256$1:%s$%s:%s', encode(salt, 'base64'),
        encode(sha256(_hmac(salted, 'Client Key')), 'base64'), encode(_hmac(salted, 'Server Key'), 'base64'));
end $$;

-- HMAC with SHA-256 (RFC 2104), for keys of up to 64 bytes.
create or replace function pgembedd_internal._hmac(key bytea, message bytea) returns bytea
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
begin
    for i in 0 .. length(key) - 1 loop
        inner_pad := set_byte(inner_pad, i, get_byte(key, i) # 54);
        outer_pad := set_byte(outer_pad, i, get_byte(key, i) # 92);
    end loop;
    return sha256(outer_pad || sha256(inner_pad || message));
end $$;

-- The texts that are to be embedded stand in statements of the second connection, as dblink has no parameters: so the
-- server logs none of a role of ours. Only a superuser may say so.
create or replace function pgembedd_internal._grant_embed_role(username text) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
declare
    item record;
begin
    execute format('grant usage on schema pgembedd_internal to %I', username);
    execute format('grant execute on function pgembedd_internal._post_embed_request, '
                   'pgembedd_internal._await_vector, pgembedd_internal._forget_embed_request to %I', username);
    begin
        for item in select * from (values ('log_statement', 'none'), ('log_min_duration_statement', '-1'),
            ('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0'),
            ('log_min_error_statement', 'panic')) as s(name, value)
            where username like E'pgembedd\\_embed\\_%'
        loop
            execute format('alter role %I set %s = %L', username, item.name, item.value);
        end loop;
    exception when insufficient_privilege then null;
    end;
end $$;

create or replace function pgembedd.grant_embed(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _grant(role, 'embed');
begin
end $$;
comment on function pgembedd.grant_embed is
    'Let a role call pgembedd.embed().';

create or replace function pgembedd.revoke_embed(role regrole) returns void
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
set quote_all_identifiers = off
as $$
declare
    ignored text := _revoke(role, 'embed');
begin
end $$;
comment on function pgembedd.revoke_embed is
    'Take back what grant_embed() gave.';

create or replace function pgembedd_internal._embed_privileges() returns setof text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$ select 'execute on function pgembedd.embed' $$;
