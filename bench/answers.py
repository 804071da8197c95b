"""What it takes `pgembedd serve` to show answers while they are made: processor time and delay of a delta.

A stand-in for the worker writes a delta every 50 ms to each answer, as the worker flushes them, with the time in its
text; viewers read over HTTP in this process. One viewer of one answer, fifty of one, and a hundred answers with a
viewer each, at which the stand-in itself may not keep up with its rate.
"""

import asyncio
import json
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg.conninfo import make_conninfo

from bench.http import MODEL, Cpu, server
from bench.report import Result, compare, interleave, main
from bench.workers import database

CASES = {"1 viewer": (1, 1), "50 viewers of 1 answer": (1, 50), "100 answers": (100, 1)}
SECONDS = 5.0
EVERY_S = 0.05
ROLE, PASSWORD = "asker", "of the bench"
SETUP = f"""
    create table documents (id int primary key, body text);
    insert into documents select i, 'text ' || i from generate_series(1, 10) i;
    select pgembedd.create_pipeline('documents', 'documents', array['body'], model => '{MODEL}', backfill => false);
    set session_replication_role = replica;
    update documents set embedding = array_fill(0.5, array[384])::vector;
    reset session_replication_role;
    select pgembedd.configure_answers('documents', min_similarity => -1);
    create role {ROLE} login noinherit password '{PASSWORD}';
    select pgembedd.grant_ask('{ROLE}');
    grant select on documents to {ROLE};
"""
ASK = "select pgembedd.ask('documents', 'a question', embedding => array_fill(0.5, array[384])::vector)"
CLAIM = "select id, attempt from pgembedd_internal.claim_answers(1000, 600)"
WRITE = "select pgembedd_internal.write_answers(%(answers)s::uuid[], %(attempts)s, %(events)s, %(data)s::jsonb[])"
FINISH = "select pgembedd_internal.finish_answer(%s, %s, 'complete', '', '{}', array['done'], array['{}']::jsonb[])"


async def watch(port: int, answer: str) -> list[float]:
    """Returns how long each delta took from its writing to here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(f"GET /api/v1/answers/{answer} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    delays = []
    while line := await reader.readline():
        if line.startswith(b'data: {"text"'):
            delays.append(time.time() - float(json.loads(line[6:])["text"]))
        elif line.startswith(b"event: done"):
            break
    writer.close()
    return delays


async def emit(connection: psycopg.Connection, held: list[tuple[str, int]], watched: float) -> int:
    """Writes deltas to all answers for some seconds and ends them; returns how many each got."""
    await asyncio.sleep(watched)
    began, written = time.monotonic(), 0
    while time.monotonic() < began + SECONDS:
        values = {"answers": [answer for answer, _ in held], "attempts": [attempt for _, attempt in held]}
        data = [json.dumps({"text": str(time.time())})] * len(held)
        await asyncio.to_thread(connection.execute, WRITE, {**values, "events": ["delta"] * len(held), "data": data})
        written += 1
        await asyncio.sleep(max(0.0, began + written * EVERY_S - time.monotonic()))
    for one in held:
        await asyncio.to_thread(connection.execute, FINISH, one)
    return written


def run(
    connection: psycopg.Connection, asker: psycopg.Connection, port: int, cpu: Cpu, answers: int, viewers: int
) -> dict[str, float]:
    """Measures one case: seconds of the service's processor for each delta that a viewer got, and of its delay, and
    the share of the rate that is kept. RuntimeError where a viewer missed some.
    """
    for _ in range(answers):
        asker.execute(ASK)
    held = [(str(answer), attempt) for answer, attempt in connection.execute(CLAIM).fetchall()]

    async def together() -> tuple[int, list[list[float]], float]:
        watching = [asyncio.create_task(watch(port, answer)) for answer, _ in held for _ in range(viewers)]
        before = cpu()
        written = await emit(connection, held, watched=2.0)
        return written, await asyncio.gather(*watching), before

    written, delays, before = asyncio.run(together())
    if any(len(one) != written for one in delays):
        raise RuntimeError("A viewer missed deltas.")
    every = [delay for one in delays for delay in one]
    spent = (cpu() - before) / len(every)
    return {"CPU a delta": spent, "delay": statistics.median(every), "rate": written * EVERY_S / SECONDS}


@contextmanager
def service() -> Iterator[tuple[psycopg.Connection, psycopg.Connection, int, Cpu]]:
    """The owner's and the asker's connection, the service's port and its processor time."""
    with database() as (connection, conninfo):
        connection.execute(SETUP)
        url = make_conninfo(conninfo, user=ROLE, password=PASSWORD)
        environment = {"DATABASE_URL": conninfo, "PGEMBEDD_SEARCH_URL": url}
        environment |= {"PGEMBEDD_HTTP_MODELS": MODEL, "PGEMBEDD_HTTP_MAX_LISTENERS": "200"}
        command = (sys.executable, "-m", "pgembedd", "serve", "--http-port")
        with server(*command, **environment) as (port, cpu), psycopg.connect(url, autocommit=True) as asker:
            yield connection, asker, port, cpu


def measure(options: Namespace) -> list[Result]:
    """Processor time, delay, and the share of the rate that is kept, by case."""
    with service() as serving:
        cases = {name: partial(run, *serving, *counts) for name, counts in CASES.items()}
        values = interleave(cases, options.rounds, warm_up=True)
    results = []
    for figure, unit in (("CPU a delta", "s"), ("delay", "s"), ("rate", "share")):
        of_all = {case: found for case, found in values.items() if case.endswith(figure)}
        results += compare("answers", unit, of_all, next(iter(of_all)))
    return results


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "sse-starlette", "uvicorn", rounds=3)
