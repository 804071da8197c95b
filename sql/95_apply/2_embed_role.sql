-- embed() works from the start where this role may make its second connection's role: after an upgrade, which drops and
-- makes functions, that role is granted what it needs again; after a restore elsewhere it is made again.
do $$
declare
    username text := (select l.username from pgembedd_internal.loopback l);
begin
    if to_regrole(quote_ident(username)) is not null then
        perform pgembedd_internal._grant_embed_role(username);
    elsif pgembedd_internal._dblink() is not null and (username is null or username like E'pgembedd\\_embed\\_%') then
        perform pgembedd.embed_through((select l.host from pgembedd_internal.loopback l),
            (select l.port from pgembedd_internal.loopback l),
            options => (select l.options from pgembedd_internal.loopback l));
    end if;
exception when insufficient_privilege then
    raise notice 'pgembedd.embed() is not set up, because this role may not create roles: see pgembedd.embed_through()';
end $$;
