"""Requests a second and the wait of each, at 1, 8 and 64 connections, each request one short question.

`pgembedd serve` at /embed and at /v1/embeddings; next to it, in the same run, the bare session asked by as many
threads, and the server that one writes in ten minutes: FastAPI and fastembed as they come, on the same weights (needs
`make bench-setup`; left out, and named, where it is not there). The client runs on the same cores as the servers. Every
server's vectors are checked against the session's. The processor time that a request costs its server says more than
its rate where the machine does other things too.
"""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from bench.corpus import load_corpus
from bench.engines.catalogue import PEERS, Case
from bench.engines.files import model_files, write_forms
from bench.engines.process import OFFLINE, MissingEngineError, last_line, python_of
from bench.load import Load, post, send
from bench.report import Result, compare, interleave, parser, percentiles, publish, timed, versions
from bench.workers import await_that, cpu_s
from pgembedd.model import Session

MODEL = "all-MiniLM-L6-v2"
CONNECTIONS = (1, 8, 64)
CHARACTERS = 60
SECONDS = 4.0
"""About how long a case takes: its requests are as many as the first answers of it promise."""

BARE, NAIVE = "bare session", "FastAPI + fastembed"
Ask = Callable[[Sequence[str], int], Load]
Cpu = Callable[[], float]


Server = tuple[Ask, Cpu]
"""How it is asked, and the processor seconds that its process has used so far."""


def questions(count: int, seed: int) -> list[str]:
    """So many different short questions."""
    known = load_corpus().texts
    return [f"{seed} {number} {known[number % len(known)][:CHARACTERS]}" for number in range(count)]


@contextmanager
def server(*command: str, **environment: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own, told its port as the last argument, from its first answer to the end of the
    block; gives the port and the number of the process.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    process = subprocess.Popen(
        [*command, str(port)], cwd=Path(__file__).parents[1], env={**os.environ, **OFFLINE, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"A server did not start: {last_line(process.communicate()[1])}")
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        await_that(listens, lambda: "A server does not listen.", 0.05)
        yield port, process.pid
    finally:
        process.kill()
        process.communicate()


def over_http(port: int, path: str, **more: str) -> Ask:
    """Each text a request of its own."""
    return lambda texts, connections: send(port, [post(path, {"input": each, **more}) for each in texts], connections)


def bare(session: Session) -> Ask:
    """The session asked by as many threads as there would be connections."""

    def ask(texts: Sequence[str], connections: int) -> Load:
        with ThreadPoolExecutor(connections) as clients:
            began = time.perf_counter()
            seconds = list(clients.map(lambda text: timed(lambda: session.embed([text], kind="query")), texts))
            return Load(len(texts) / (time.perf_counter() - began), seconds)

    return ask


def servers(session: Session, stack: ExitStack, missing: dict[str, str]) -> dict[str, Server]:
    """All that are compared, with their servers started and their vectors checked."""
    command = (sys.executable, "-m", "pgembedd", "serve", "--no-database", "--http-port")
    port, pid = stack.enter_context(server(*command, PGEMBEDD_HTTP_MODELS=MODEL))
    found: dict[str, Server] = {
        BARE: (bare(session), time.process_time),
        "/embed": (over_http(port, "/embed"), partial(cpu_s, pid)),
        "/v1/embeddings": (over_http(port, "/v1/embeddings", model=MODEL), partial(cpu_s, pid)),
    }
    _check(session, port, "/embed", lambda said: said["embedding"])
    _check(session, port, "/v1/embeddings", lambda said: said["data"][0]["embedding"])
    try:
        _, folder = model_files(MODEL)
        write_forms(folder, [Case(NAIVE, "fastembed", "fp32")], [])
        command = (str(python_of(PEERS)), "-W", "ignore", "-m", "bench.engines.naive_http", str(folder))
    except MissingEngineError as reason:
        missing[NAIVE] = str(reason)
        return found
    port, pid = stack.enter_context(server(*command))
    _check(session, port, "/embed", lambda said: said["embedding"])
    return found | {NAIVE: (over_http(port, "/embed"), partial(cpu_s, pid))}


def _check(session: Session, port: int, path: str, read: Callable[[Any], list[float]]) -> None:
    """RuntimeError where an engine computes something else."""
    said = httpx2.post(f"http://127.0.0.1:{port}{path}", json={"input": "a question"}).raise_for_status().json()
    if float(np.asarray(read(said), np.float32) @ session.run("a question")) < 0.999:
        raise RuntimeError("A server's vectors are not those of the session.")


def at(connections: int, found: dict[str, Server], rounds: int, seconds: float) -> list[Result]:
    """All at this number of connections: how many a second, how long each, and at what cost to the processor."""
    plural = f"{connections} connection{'s' * (connections > 1)}"
    counts = {name: _count(ask, connections, seconds) for name, (ask, _) in found.items()}
    numbers = itertools.count()

    def measure(name: str) -> dict[str, float]:
        texts, (ask, cpu_s) = questions(counts[name], next(numbers)), found[name]
        before = cpu_s()
        load = ask(texts, connections)
        used = 1000 * (cpu_s() - before) / len(texts)
        return {"requests/s": load.per_s, "processor ms/request": used, **percentiles(load.seconds, 50, 99)}

    values = interleave({f"{name}, {plural}": partial(measure, name) for name in found}, rounds)
    results = []
    for unit in ("requests/s", "processor ms/request"):
        of_unit = {case.removesuffix(f", {unit}"): each for case, each in values.items() if case.endswith(unit)}
        results += compare("http", unit, of_unit, f"{BARE}, {plural}")
    waits = {case: each for case, each in values.items() if case.endswith(("p50", "p99"))}
    return results + compare("http", "s", waits, f"{BARE}, {plural}, p50")


def _count(ask: Ask, connections: int, seconds: float) -> int:
    """How many requests take about so long; the trial also warms up."""
    trial = ask(questions(max(50, 2 * connections), 99), connections)
    return max(100, 4 * connections, int(trial.per_s * seconds))


def main() -> None:
    """Run it."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--short", action="store_true", help="a quarter of the requests")
    given = options.parse_args()
    missing: dict[str, str] = {}
    seconds = SECONDS / 4 if given.short else SECONDS
    with Session(MODEL) as session, ExitStack() as stack:
        found = servers(session, stack, missing)
        results = [result for each in CONNECTIONS for result in at(each, found, given.rounds, seconds)]
    used = versions("pgembedd", "onnxruntime", "fastapi", "uvicorn", "orjson")
    if not missing:
        code = "import importlib.metadata as m; print(m.version('fastembed'))"
        used["fastembed"] = subprocess.check_output([str(python_of(PEERS)), "-c", code], text=True).strip()
    publish(results, used, as_json=given.json)
    for name, reason in missing.items():
        print(f"Not measured: {name} ({reason}).", file=sys.stderr)


if __name__ == "__main__":
    main()
