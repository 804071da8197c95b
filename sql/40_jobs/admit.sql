-- The jobs among messages of one pipeline that were just read; those that are not to be worked become dead letters.
create or replace function pgembedd_internal._admit(
    one pgembedd_internal.pipeline, queue text, messages pgembedd_internal.message[]
) returns setof pgembedd_internal.job
language plpgsql
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
begin
    perform _dead_letter(queue, m.msg_id, case when u.reason <> 'unknown_pipeline' then one.id end, u.reason, u.error,
        _note(m.message, 'alone') + _note(m.message, 'attempts'))
    from unnest(messages) m cross join lateral _unfit(m, one.max_attempts) u
    where (m.message ? 'pgembedd' or m.message ->> 'id' is null or getdatabaseencoding() <> 'UTF8')
      and u.reason is not null;
    return query
        select queue, m.msg_id, m.read_ct, (m.message -> 'id')::text, one.id, one.name, one.model, one.fingerprint,
               one.dimensions, m.read_ct - 1 - n.attempts - n.deferrals >= 2, one.embedding_table is not null,
               one.chunk_tokens, one.chunk_overlap_tokens, one.splitter,
               case when n.traced then left(m.message -> 'pgembedd' ->> 'traceparent', 55) end,
               case when n.traced then extract(epoch from clock_timestamp() - m.enqueued_at)::double precision end,
               n.attempts + 1, one.source::oid
        from unnest(messages) with ordinality as m(msg_id, read_ct, message, enqueued_at, nth)
        -- The usual message was never read before: it gets by without a call of a function.
        cross join lateral (
            select case when m.message ? 'pgembedd' then _note(m.message, 'attempts') else 0 end as attempts,
                   case when m.message ? 'pgembedd' then _note(m.message, 'deferrals') else 0 end as deferrals,
                   case when m.message ? 'pgembedd' then _note(m.message, 'alone') else 0 end as alone,
                   -- Of a hundred jobs per claim, as no trace shows more. Validated by its reader.
                   m.nth <= 100 and m.message -> 'pgembedd' ? 'traceparent' as traced) n
        where m.message ->> 'id' is not null
          and (not m.message ? 'pgembedd' and getdatabaseencoding() = 'UTF8'
               or (_unfit(messages[m.nth], one.max_attempts)).reason is null)
        order by n.alone, m.msg_id;  -- jobs that were never alone go before one that a worker died of
end $$;

-- Why a message that was read is not to be worked; nulls when it is.
create or replace function pgembedd_internal._unfit(
    message pgembedd_internal.message, max_attempts integer, out reason text, out error text
)
language sql immutable
set search_path = pg_catalog, pgembedd_internal, pgembedd, pg_temp
as $$
    select case when u.nameless then 'unknown_pipeline' when u.deadly then 'worker_died'
                when not u.readable then 'content' end,
           case when u.nameless then 'The job names no row.'
                when u.deadly then 'The worker died each time it worked on this job alone.'
                when not u.readable then 'The key has bytes that are no text in UTF-8, as which a worker reads it: '
                                         'give the row another key.' end
    from (select message.message ->> 'id' is null as nameless,
                 _note(message.message, 'alone') > 0
                 and _note(message.message, 'alone') + _note(message.message, 'attempts') >= max_attempts as deadly,
                 getdatabaseencoding() = 'UTF8'
                 or _shown(message.message -> 'id') = message.message -> 'id' as readable) u
$$;

-- A key or a message as it is shown. Where it cannot be sent to a client that reads UTF-8, it is a text with the
-- numbers of its bytes: SQL_ASCII takes any bytes, and other encodings have characters that UTF-8 has not.
create or replace function pgembedd_internal._shown(given jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if getdatabaseencoding() = 'UTF8' then return given; end if;
    begin
        perform convert_to(given::text, 'UTF8');
        return given;
    exception when character_not_in_repertoire or untranslatable_character then
        return to_jsonb(encode(convert_to(given #>> '{}', getdatabaseencoding()), 'escape'));
    end;
end $$;
