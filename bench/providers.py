"""Texts a second through a provider of embeddings that answers after 50 ms, next to what its limits allow.

The provider is a stand-in in this process: it waits, and gives every text the same vector. A real worker on a private
Postgres asks it for the rows of a pipeline, whose texts all differ, `AT_ONCE` requests at a time; so the limits allow
that number of requests, times the texts of one, in each 50 ms.
"""

import asyncio
import json
import math
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from bench.pipeline import queued_run_s
from bench.report import Result, compare, interleave, main
from bench.workers import database, fleet

LATENCY_S, AT_ONCE, DIMS = 0.05, 4, 384
INPUTS = (8, 16, 32)
"""Texts in a request."""
RUN_S = 8.0
"""What a run would take at the limit."""
SETUP = f"""
    create table plain (id bigint generated always as identity primary key, body text);
    select pgembedd.create_pipeline('plain', 'plain', array['body'], model => 'house:stand-in', dimensions => {DIMS},
        index_type => 'none');
"""


def limit(inputs: int) -> float:
    """Texts a second that the limits allow."""
    return AT_ONCE * inputs / LATENCY_S


@cache
def vectors(texts: int) -> bytes:
    """The answer to that many texts."""
    vector = [round(math.sin(i), 7) for i in range(DIMS)]
    return json.dumps({"data": [{"index": i, "embedding": vector} for i in range(texts)]}).encode()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the requests of a connection in OpenAI's protocol, each after the latency."""
    clock = asyncio.get_running_loop().time
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            until = clock() + LATENCY_S
            lines = head.decode().lower().split("\r\n")
            length = next(int(line.removeprefix("content-length:")) for line in lines if "content-length:" in line)
            body = vectors(len(json.loads(await reader.readexactly(length))["input"]))
            await asyncio.sleep(until - clock())
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@contextmanager
def stand_in() -> Iterator[str]:
    """The URL of the stand-in, which serves in a thread."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def measure(options: Namespace) -> list[Result]:
    """Texts a second by the texts of a request, each next to what the limits allow."""
    with stand_in() as url, tempfile.TemporaryDirectory() as folder, database() as (connection, conninfo):
        connection.execute(SETUP)
        settings = Path(folder) / "providers.toml"

        def reached(inputs: int) -> float:
            settings.write_text(f'[house]\nurl = "{url}"\nmax_inputs = {inputs}\nat_once = {AT_ONCE}\n')
            with fleet(conninfo, 1, PGEMBEDD_PROVIDERS_FILE=str(settings)) as workers:
                rows = round(limit(inputs) * RUN_S)
                queued_run_s(connection, workers, 1_000, body="md5(g::text)")
                return rows / queued_run_s(connection, workers, rows, body="md5(g::text)")

        values = interleave(
            {f"{inputs} texts a request": partial(reached, inputs) for inputs in INPUTS}, options.rounds
        )
    results = []
    for inputs, (case, rates) in zip(INPUTS, values.items(), strict=True):
        allowed = f"{case}, what the limits allow"
        results += compare("providers", "texts/s", {allowed: [limit(inputs)], case: rates}, allowed)
    return results


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "httpx2", rounds=3)
