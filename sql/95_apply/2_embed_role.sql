-- embed() works from the start where this role may make its second connection's role: after an upgrade, which drops and
-- makes functions, that role is granted what it needs again; after a restore elsewhere it is made again.
do $$
declare
    username text := (select l.username from pgembedd.loopback l);
begin
    if to_regrole(quote_ident(username)) is not null then
        perform pgembedd._grant_embed_role(username);
    elsif pgembedd._dblink() is not null and (username is null or username like E'pgembedd\\_embed\\_%') then
        perform pgembedd.embed_through((select l.host from pgembedd.loopback l),
            (select l.port from pgembedd.loopback l),
            options => (select l.options from pgembedd.loopback l));
    end if;
exception when insufficient_privilege then
    raise notice 'pgembedd.embed() is not set up, because this role may not create roles: see pgembedd.embed_through()';
end $$;
