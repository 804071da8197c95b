-- Gives our SECURITY DEFINER functions to the role `pgembedd`, where it is to be had, which depends on the queues, too.
-- Triggers follow with the repair.
do $$
begin
    perform pgembedd_internal._ensure_queue(q) from unnest(pgembedd_internal._queues()) q;
    perform pgembedd_internal._ensure_role();
    if pgembedd_internal._is_member_of_role(pgembedd_internal._owner_of_schema()) then
        perform pgembedd_internal._grant_role();
    end if;
    if pgembedd_internal._role_remedy() is null then
        perform pgembedd_internal._give_functions();
    else
        raise notice 'pgembedd''s functions run with the rights of %, because the role pgembedd is not to be had here: '
                     '`pgembedd doctor` says what an administrator can do', pgembedd_internal._owner_of_schema();
    end if;
end $$;
