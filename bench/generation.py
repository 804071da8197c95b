"""What it takes a worker to answer a question, without the language model's own time.

Processor time of `pgembedd run` for each delta of the language model's, which a stand-in emits at a set rate: of one
answer, and of eight at a time. Beside it, in the same run, a script that reads the same stream with the `openai`
package and does nothing with it. Then, with a stand-in that answers at once, the time from a commit of `ask()` to the
first delta that another session sees, which is flushed with others.
"""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import connect

from bench.answers import ASK, ROLE, SETUP
from bench.report import Result, arguments, compare, publish, versions
from bench.workers import PATIENCE_S, WorkerProcess, private_server

DELTAS = 500
PER_S = 100.0
AT_ONCE = (1, 8)
FIRST_ASKED = 20
PEER = "openai package, 1 answer"
PEER_SCRIPT = """
import sys, time, openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
def read():
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
    return sum(1 for part in stream if part.choices and part.choices[0].delta.content)
read()
began = time.process_time()
deltas = read()
print((time.process_time() - began) / deltas)
"""
SEEN = "select exists (select from pgembedd.answer_event where answer = %s and event = 'delta')"
ENDED = "select status from pgembedd.answer where id = any(%s) and status not in ('queued', 'generating')"


class StandInLanguageModel:
    """A server that answers every prompt with the same number of deltas, so many a second each; a rate may be endless.

    It speaks OpenAI's protocol, as far as the worker and the `openai` package ask for it.
    """

    def __init__(self) -> None:
        self.deltas, self.per_s = DELTAS, PER_S
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        began = time.monotonic()
        for number in range(self.deltas):
            await asyncio.sleep(max(0.0, began + number / self.per_s - time.monotonic()))
            writer.write(_event({"content": f" {number}"}, None))  # no repetition, at which the worker would end it
            await writer.drain()
        writer.write(_event({}, "stop") + b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    async def _run(self, ready: threading.Event, end: asyncio.Event) -> None:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await end.wait()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its URL."""
        loop, ready, end = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._run(ready, end),), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join()
            loop.close()


def _event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def ask(asker: psycopg.Connection) -> str:
    """Asks, with a vector for the question, and returns the answer's id."""
    return str(asker.execute(ASK).fetchall()[0][0])


def cpu_s(asker: psycopg.Connection, owner: psycopg.Connection, worker: WorkerProcess, at_once: int) -> float:
    """Seconds of the worker's processor for each delta. RuntimeError where an answer is not complete."""
    before = worker.cpu_s()
    asked = [ask(asker) for _ in range(at_once)]
    until = time.monotonic() + PATIENCE_S
    while len(ended := owner.execute(ENDED, (asked,)).fetchall()) < at_once and time.monotonic() < until:
        time.sleep(0.1)
    if ended != [("complete",)] * at_once:
        raise RuntimeError(f"The answers ended as {ended}.")
    return (worker.cpu_s() - before) / (at_once * DELTAS)


def first_delta_s(asker: psycopg.Connection, owner: psycopg.Connection) -> float:
    """Seconds from the commit of a question to its first delta, as another session sees it. It looks all the time."""
    answer = ask(asker)
    committed = time.perf_counter()
    while not owner.execute(SEEN, (answer,)).fetchall()[0][0]:
        if time.perf_counter() - committed > PATIENCE_S:
            raise RuntimeError("The question gets no answer.")
        time.sleep(0.001)
    return time.perf_counter() - committed


def peer_cpu_s(url: str) -> float:
    """Seconds of processor for each delta that the `openai` package reads."""
    script = [sys.executable, "-c", PEER_SCRIPT, f"{url}/v1"]
    return float(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def measure(rounds: int) -> tuple[list[Result], list[Result]]:
    """Processor time of a delta, by case, and the time to the first one."""
    seen: dict[str, list[float]] = {PEER: []}
    first: list[float] = []
    stand_in = StandInLanguageModel()
    with (
        stand_in.running() as url,
        private_server() as postgres,
        connect(postgres.conninfo(), autocommit=True) as owner,
        connect(postgres.conninfo(), autocommit=True) as asker,
    ):
        owner.execute(SETUP)
        asker.execute(f"set role {ROLE}".encode())
        settings = {"AI_INFERENCE_API_HOST": url, "PGEMBEDD_LANGUAGE_MODE": "openaicompatible"}
        with WorkerProcess(postgres.conninfo(), **settings) as worker:
            cpu_s(asker, owner, worker, 1)
            for _ in range(rounds):
                seen[PEER].append(peer_cpu_s(url))
                for at_once in AT_ONCE:
                    case = f"worker, {at_once} answer{'s' if at_once > 1 else ''}"
                    seen.setdefault(case, []).append(cpu_s(asker, owner, worker, at_once))
            stand_in.deltas, stand_in.per_s = 1, float("inf")
            for _ in range(FIRST_ASKED * rounds):
                first.append(first_delta_s(asker, owner))
                time.sleep(0.2)
    name = "worker, first delta after ask()"
    return (
        compare("generation", "s", {f"{case}, CPU a delta": values for case, values in seen.items()},
                f"{PEER}, CPU a delta"),
        compare("generation", "s", {name: first}, name),
    )  # fmt: skip


def main() -> None:
    """Run it."""
    options = arguments(__doc__, rounds=3)
    for results in measure(options.rounds):
        publish(results, versions("pgembedd", "openai", "httpx2"), as_json=options.json)


if __name__ == "__main__":
    main()
