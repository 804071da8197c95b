"""What it takes `pgembedd serve` to show answers while they are made: processor time and delay of a delta, how long
after its end an answer has ended for the last of its viewers, and the memory that they take, both divided by them.

A stand-in for the worker writes a delta every 50 ms to each answer, as the worker flushes them, with the time in its
text; viewers read over HTTP in this process. One viewer of one answer, fifty and a thousand of one, and a hundred
answers with a viewer each, at which the stand-in itself may not keep up with its rate. Next to one viewer the least
that any reader takes which is woken for a delta, step by step: a loop that hears a NOTIFY and reads one row; one that
reads the event, with the rights of the caller, and makes what is sent of it; the same in two threads, as what listens
must not wait; and with a third one that sends it over HTTP (bench/bare_feed.py). What a service has beyond that: its
sessions may be lost, have the claims of tokens and are shared, viewers come and go, and are slow, and its responses go
through its middleware.
"""

import asyncio
import json
import resource
import statistics
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import psycopg
from psycopg.conninfo import make_conninfo

from bench.bare_feed import HTTP, STEPS, notices
from bench.http import MODEL, server
from bench.report import Result, averaged, compare, interleave, main
from bench.workers import cpu_s, database, rss_bytes

CASES = {
    "1 viewer": (1, 1),
    "50 viewers of 1 answer": (1, 50),
    "1,000 viewers of 1 answer": (1, 1000),
    "100 answers": (100, 1),
}
MANY = "1,000 viewers of 1 answer"
AT_ONCE = 50  # viewers that connect
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


@dataclass(frozen=True)
class Service:
    """A service, the connections of its database's owner and of its asker."""

    owner: psycopg.Connection
    asker: psycopg.Connection
    port: int
    pid: int
    environment: dict[str, str]

    async def watch(
        self, answer: str, connecting: asyncio.Semaphore, begun: asyncio.Event
    ) -> tuple[list[float], float]:
        """Returns how long each delta took from its writing to here, and when the answer had ended; sets `begun` with
        the first event.
        """
        async with connecting:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
            writer.write(f"GET /api/v1/answers/{answer} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            while not (line := await reader.readline()).startswith(b"event: status"):
                if not line:
                    raise RuntimeError("A viewer was refused.")
            begun.set()
        delays = []
        while not (line := await reader.readline()).startswith(b"event: done"):
            if line.startswith(b'data: {"text"'):
                delays.append(time.time() - float(json.loads(line[6:])["text"]))
        writer.close()
        return delays, time.time()

    async def emit(self, held: list[tuple[str, int]]) -> tuple[int, float]:
        """Writes deltas to all answers for some seconds and ends them; returns how many each got, and when it ended."""
        began, written = time.monotonic(), 0
        while time.monotonic() < began + SECONDS:
            values = {"answers": [answer for answer, _ in held], "attempts": [attempt for _, attempt in held]}
            values |= {"events": ["delta"] * len(held), "data": [json.dumps({"text": str(time.time())})] * len(held)}
            await asyncio.to_thread(self.owner.execute, WRITE, values)
            written += 1
            await asyncio.sleep(max(0.0, began + written * EVERY_S - time.monotonic()))
        for one in held:
            await asyncio.to_thread(self.owner.execute, FINISH, one)
        return written, time.time()

    async def show(self, held: list[tuple[str, int]], viewers: int) -> dict[str, float]:
        """Measures the answers `held`, with so many viewers each."""
        connecting, memory = asyncio.Semaphore(AT_ONCE), rss_bytes(self.pid)
        watching, begun = [], []
        for answer in [answer for answer, _ in held] * viewers:
            begun.append(asyncio.Event())
            watching.append(asyncio.create_task(self.watch(answer, connecting, begun[-1])))
        for one in begun:
            await one.wait()
        memory, before = rss_bytes(self.pid) - memory, cpu_s(self.pid)
        written, ended_at = await self.emit(held)
        seen = await asyncio.gather(*watching)
        every = [delay for delays, _ in seen for delay in delays]
        if len(every) != written * len(watching):
            raise RuntimeError("A viewer missed deltas.")
        return {
            "CPU a delta": (cpu_s(self.pid) - before) / len(every),
            "delay": statistics.median(every),
            "rate": written * EVERY_S / SECONDS,
            "end, a viewer": (max(at for _, at in seen) - ended_at) / len(watching),
            "memory, a viewer": memory / len(watching),
        }

    def run(self, answers: int, viewers: int) -> dict[str, float]:
        """Measures one case. RuntimeError where a viewer missed some."""
        return asyncio.run(self.show(self.begin(answers), viewers))

    def begin(self, answers: int) -> list[tuple[str, int]]:
        """Asks, and claims the answers."""
        for _ in range(answers):
            self.asker.execute(ASK)
        return [(str(answer), attempt) for answer, attempt in self.owner.execute(CLAIM).fetchall()]

    def by_step(self, step: str) -> dict[str, float]:
        """Processor time of a process that shows one answer by hand."""
        with server(sys.executable, "-m", "bench.bare_feed", step, **self.environment) as (port, pid):
            if step == HTTP:
                return {"CPU a delta": replace(self, port=port, pid=pid).run(1, 1)["CPU a delta"]}
            before, (written, _) = cpu_s(pid), asyncio.run(self.emit(self.begin(1)))
            return {"CPU a delta": (cpu_s(pid) - before) / written}


def by_hand_s(owner: psycopg.Connection) -> dict[str, float]:
    """Processor time of a thread for each row that it hears of and reads, one every EVERY_S."""
    owner.execute("drop table if exists by_hand; create unlogged table by_hand (seq serial primary key, data jsonb)")
    heard, rows = threading.Event(), int(SECONDS / EVERY_S)
    connect = partial(psycopg.connect, owner.info.dsn, password=owner.info.password, autocommit=True)

    def read() -> float:
        with connect() as hearing, connect(prepare_threshold=1) as reading:
            hearing.execute("listen by_hand")
            heard.set()
            began, last = time.thread_time(), 0
            told = notices(hearing)
            while last < rows:
                next(told)
                for seq, data in reading.execute("select * from by_hand where seq > %s order by 1", (last,)).fetchall():
                    last, _ = seq, json.dumps(data).encode()
            return (time.thread_time() - began) / rows

    with ThreadPoolExecutor(1) as threads:
        taken = threads.submit(read)
        heard.wait()
        for _ in range(rows):
            owner.execute('insert into by_hand (data) values (\'{"text": "some words"}\')')
            owner.execute("notify by_hand")
            time.sleep(EVERY_S)
        return {"CPU a delta": taken.result()}


@contextmanager
def service() -> Iterator[Service]:
    """A service over a database with a table that may be asked about."""
    with database() as (owner, conninfo):
        owner.execute(SETUP)
        url = make_conninfo(conninfo, user=ROLE, password=PASSWORD)
        environment = {"DATABASE_URL": conninfo, "PGEMBEDD_SEARCH_URL": url}
        environment |= {"PGEMBEDD_HTTP_MODELS": MODEL, "PGEMBEDD_HTTP_MAX_LISTENERS": "2000"}
        command = (sys.executable, "-m", "pgembedd", "serve", "--http-port")
        with server(*command, **environment) as (port, pid), psycopg.connect(url, autocommit=True) as asker:
            yield Service(owner, asker, port, pid, environment)


def measure(options: Namespace) -> list[Result]:
    """Processor time, delay, the share of the rate that is kept and the time to the end, by case; and memory."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with service() as serving:
        serving.run(1, 1)
        memory = serving.run(*CASES[MANY])["memory, a viewer"]  # later ones take what is free
        cases = {name: partial(serving.run, *counts) for name, counts in CASES.items()}
        cases["1 viewer, by hand"] = partial(by_hand_s, serving.owner)
        cases |= {f"1 viewer, by hand as the caller, {step}": partial(serving.by_step, step) for step in STEPS}
        values = interleave(cases, options.rounds, warm_up=True)
    results = [averaged("answers", "bytes", f"{MANY}, memory of one", [memory])]
    for figure, unit in (("CPU a delta", "s"), ("delay", "s"), ("rate", "share"), ("end, a viewer", "s")):
        of_all = {case: found for case, found in values.items() if case.endswith(figure)}
        results += compare("answers", unit, of_all, next(iter(of_all)))
    return results


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "starlette", "uvicorn", rounds=3)
