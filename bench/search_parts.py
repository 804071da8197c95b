"""Where the time of a search goes: microseconds of the server in each part, and what some pieces cost alone.

The server counts the time of each function less that of the functions which it calls (track_functions). A scan has the
statement that it executes, so it is what a statement by hand has, too.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

import psycopg

from bench.report import Result, timed
from bench.search_statements import HYBRID, NEAREST, ORDER, OURS, STATEMENTS

ROUNDS, ASKED = 7, 60
PARTS = {
    "the pipeline": "_search_target|_searched|_with_search_words|_words_view|_holds_pages|_exists"
    "|_text_config_oid|_truncate_name|_check_has_vectors|_sees_all_rows",
    "checks and options": "_asked|_check_.*|_search_mode|_search_with_options|_search_number"
    "|_search_marks|_search_options|_unreadable_columns|_blank|_search_similarity_range",
    "the filter": "_search_filter.*|_search_plain_filter|_search_condition.*"
    "|_search_operand|_search_plain_operand|_plain_types"
    "|_search_compared|_search_literal|_search_columns|_base_type",
    "the choice of a path": "_search_expected|_search_read_cost|_search_filtered_once|_search_path|_search_partitions"
    "|_search_steps?|_search_lengths?|_with_partitions",
    "the query's words": "_search_words_asked|_search_syntax|_search_rarest|_search_weighed|_search_shares|_search_each"
    "|_search_any",
    "statements put together": "_render|_search_(made_)?statement|_search_from|_search_kept|_search_placed"
    "|_search_parts|_search_visited_now|_search_found|_search_passing|_search_words_(statement|joins|vectors)"
    "|_search_ranks|_search_(passing_)?candidates|_search_late|_search_rows_statement",
    "the scan by meaning": r"_search_\d+_(nearest.*|page)|_search_page|_search_at_once|_search_by_index|_search_exactly"
    "|_search_set|_search_visited|.*_distance|.*_to_halfvec",
    "the scan by words": r"_search_words(_set)?|_search_\d+_passing",
    "the lists": "_search_hits|_search_list|_search_nearest|_search_joined|_search_depths",
    "what is shown": r"_search_\d+_rows|_search_rows|_search_shown|_search_cut|_search_snippet|_search_headline"
    "|_search_passage|_search_marked|_beginning|_search_ellipsis",
    "jobs that wait": "_search_waiting",
}
BARE = """
    create or replace function bare() returns int language plpgsql stable set search_path = pg_catalog, pg_temp as
    'begin return 1; end';
    create or replace function bare_us(dynamic boolean) returns float8 language plpgsql as $$
    declare
        began constant timestamptz := clock_timestamp();
        ignored int;
    begin
        for n in 1 .. 1000 loop
            if dynamic then execute 'select public.bare()' into ignored; else ignored := public.bare(); end if;
        end loop;
        return 1000 * extract(epoch from clock_timestamp() - began);
    end $$
"""
# What such a search takes is what a search takes besides its scan.
FEW = """
    create table few as select id, body, embedding from items limit 10;
    alter table few add primary key (id);
    select pgembedd.create_pipeline('few', 'few', array['body'], dimensions => 384, backfill => false,
                                    existing_vectors => 'keep', text_config => 'none');
    update pgembedd_internal.pipeline set fingerprint = 'bench' where name = 'few';
    analyze few
"""
OF_FEW = STATEMENTS[OURS].replace("'items'", "'few'").replace("%(filter)s", "null")


def parts_of(connection: psycopg.Connection, case: str, values: Sequence[dict[str, object]]) -> Iterator[Result]:
    """The microseconds of each part of a search by meaning, and of a hybrid one."""
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(-1, ROUNDS):  # the first warms up
        for way in (OURS, HYBRID):
            for part, us in _self_times(connection, STATEMENTS[way], values[:ASKED]).items():
                if number >= 0:
                    found[f"{case}, {way}: {part}"].append(us)
    for name, times in found.items():
        yield Result("search", name, median(times), "us", (min(times), max(times)))


def _self_times(
    connection: psycopg.Connection, statement: str, values: Sequence[dict[str, object]]
) -> dict[str, float]:
    connection.execute("select pg_stat_force_next_flush()")
    connection.execute("select pg_stat_reset()")
    connection.execute("set track_functions to 'all'")
    for each in values:
        connection.execute(statement.format(column=each["column"]).encode(), each).fetchall()
    connection.execute("reset track_functions")
    connection.execute("select pg_stat_force_next_flush()")
    times = dict.fromkeys(PARTS, 0.0) | {"all else": 0.0}
    for name, ms in connection.execute("select funcname, self_time from pg_stat_user_functions").fetchall():
        part = next((part for part, names in PARTS.items() if re.fullmatch(names, name)), "all else")
        times[part] += 1000 * ms / len(values)
    return {part: us for part, us in times.items() if us} | {"all": sum(times.values())}


def bare(connection: psycopg.Connection, values: Sequence[dict[str, object]]) -> Iterator[Result]:
    """What the pieces cost alone: a call, a call in a statement put together, the plan of the statement by hand."""
    connection.execute(BARE.encode())
    nearest = f"explain (summary, format json) {NEAREST.format(column='independent', order=ORDER)}".encode()
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(ASKED):
        times["a call of a function with its own path"].append(_one(connection, "select bare_us(false)"))
        times["the same by EXECUTE"].append(_one(connection, "select bare_us(true)"))
        plan = connection.execute(nearest, values[number]).fetchall()[0][0][0]
        times["planning of the statement by hand"].append(1000 * plan["Planning Time"])
    connection.execute(FEW.encode())
    for each in values[:ASKED]:
        connection.execute(STATEMENTS[OURS].format(column=each["column"]).encode(), each).fetchall()
        for name in ("a search of ten rows after one of all", "a search of ten rows after another one"):
            times[name].append(1e6 * timed(partial(connection.execute, OF_FEW.encode(), each)))
    connection.execute("select pgembedd.drop_pipeline('few')")
    connection.execute("drop table few")
    for name, found in times.items():
        yield Result("search", f"alone: {name}", median(found), "us", (min(found), max(found)))


def _one(connection: psycopg.Connection, statement: str) -> float:
    return float(connection.execute(statement.encode()).fetchall()[0][0])
