"""Requests a second and the wait of each, at 1, 8 and 64 connections, each request one short question.

`pgembedd serve` at /embed and at /v1/embeddings; beside it, in the same run, the bare session asked by as many
threads, and the server that one writes in ten minutes: FastAPI and fastembed as they come, on the same weights (needs
`make bench-setup`; left out, and named, where it is not there). The client runs on the same cores as the servers. Every
server's vectors are checked against the session's. The processor time that a request costs its server says more than
its rate where the machine does other things too.
"""

import argparse
import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.catalogue import PEERS
from bench.engines.files import real_model
from bench.engines.process import OFFLINE, interpreter
from bench.known_items import load_collection
from bench.load import Load, answer, post, send
from bench.report import Result, compare, publish, versions
from bench.stock_graph import write_stock_graph
from pgembedd.model import Session

MODEL = "all-MiniLM-L6-v2"
CONNECTIONS = (1, 8, 64)
WORDS = 12
SECONDS = 4.0
"""About how long a case takes: its requests are as many as the first answers of it promise."""

BARE, NAIVE = "bare session", "FastAPI + fastembed"
Ask = Callable[[Sequence[str], int], Load]
Cpu = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """How it is asked, and the processor seconds that its process has used so far."""

    ask: Ask
    cpu_s: Cpu


def questions(count: int, seed: int) -> list[str]:
    """So many different short questions."""
    sentences = known_sentences()
    chosen = np.random.default_rng(seed).integers(0, len(sentences), count)
    return [f"{' '.join(sentences[which])} {number}" for number, which in enumerate(chosen)]


@functools.cache
def known_sentences() -> list[list[str]]:
    """The first words of sentences that have at least so many."""
    found = (question.split() for question in load_collection().questions)
    return [words[:WORDS] for words in found if len(words) >= WORDS]


@contextmanager
def server(command: Sequence[str], port: int, **environment: str) -> Iterator[Cpu]:
    """A server in a process of its own, from its first answer to the end of the block; gives its processor time."""
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], env={**os.environ, **OFFLINE, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _await_port(process, port)
        yield lambda: _cpu_s(process.pid)
    finally:
        process.kill()
        process.communicate()


def _await_port(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"A server did not start: {process.communicate()[1][-500:]}") from None
            time.sleep(0.05)
        else:
            return


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def over_http(port: int, body: Callable[[str], Any], path: str) -> Ask:
    """Each text a request of its own."""
    return lambda texts, connections: send(port, [post(path, body(text)) for text in texts], connections)


def bare(session: Session) -> Ask:
    """The session asked by as many threads as there would be connections."""

    def one(text: str) -> float:
        began = time.perf_counter()
        session.embed([text], kind="query")
        return time.perf_counter() - began

    def ask(texts: Sequence[str], connections: int) -> Load:
        with ThreadPoolExecutor(connections) as clients:
            began = time.perf_counter()
            seconds = list(clients.map(one, texts))
            return Load(len(texts) / (time.perf_counter() - began), seconds)

    return ask


def cases(session: Session, stack: ExitStack, missing: dict[str, str]) -> dict[str, Case]:
    """All that are compared, with their servers started and their vectors checked."""
    port, found = free_port(), {BARE: Case(bare(session), time.process_time)}
    command = [sys.executable, "-m", "pgembedd", "serve", "--no-database", "--http-port", str(port)]
    cpu_s = stack.enter_context(server(command, port, PGEMBEDD_HTTP_MODELS=MODEL))
    _check(session, answer(port, post("/embed", {"input": "a question"}))["embedding"])
    _check(session, answer(port, post("/v1/embeddings", {"input": "a question"}))["data"][0]["embedding"])
    found["/embed"] = Case(over_http(port, lambda text: {"input": text}, "/embed"), cpu_s)
    openai = over_http(port, lambda text: {"model": MODEL, "input": text}, "/v1/embeddings")
    found["/v1/embeddings"] = Case(openai, cpu_s)
    if not interpreter(PEERS).exists():
        missing[NAIVE] = f"{PEERS} is not there"
        return found
    folder, port = real_model(MODEL), free_port()
    if not (chief := folder / "onnx" / "model.onnx").exists():
        write_stock_graph(folder, chief)
    command = [str(interpreter(PEERS)), "-W", "ignore", "-m", "bench.engines.naive_http", str(folder), str(port)]
    cpu_s = stack.enter_context(server(command, port))
    _check(session, answer(port, post("/embed", {"input": "a question"}))["embedding"])
    found[NAIVE] = Case(over_http(port, lambda text: {"input": text}, "/embed"), cpu_s)
    return found


def _check(session: Session, vector: list[float]) -> None:
    """RuntimeError where somebody computes something else."""
    if float(np.asarray(vector, np.float32) @ session.run("a question")) < 0.999:
        raise RuntimeError("A server's vectors are not those of the session.")


def measure(rounds: int, seconds: float, missing: dict[str, str]) -> list[Result]:
    """Each case once a round at each number of connections; the ratios are to the bare session's."""
    results: list[Result] = []
    with Session(MODEL) as session, ExitStack() as stack:
        found = cases(session, stack, missing)
        for connections in CONNECTIONS:
            results += _at(connections, found, rounds, seconds)
    return results


def _at(connections: int, found: dict[str, Case], rounds: int, seconds: float) -> list[Result]:
    """All cases at this number of connections: how many a second, how long each, and at what cost to the processor."""
    rates: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    counts = {name: _count(case.ask, connections, seconds) for name, case in found.items()}
    for number in range(rounds):
        for name, case in found.items():
            texts = questions(counts[name], number)
            cpu_s = case.cpu_s()
            load = case.ask(texts, connections)
            shown = f"{name}, {_plural(connections)}"
            costs.setdefault(shown, []).append(1000 * (case.cpu_s() - cpu_s) / len(texts))
            rates.setdefault(shown, []).append(load.per_s)
            for percentile in (50, 99):
                waits.setdefault(f"{shown}, p{percentile}", []).append(load.percentile(percentile))
    base = f"{BARE}, {_plural(connections)}"
    return [
        *compare("http", "requests/s", rates, base),
        *compare("http", "processor ms/request", costs, base),
        *compare("http", "s", waits, f"{base}, p50"),
    ]


def _plural(connections: int) -> str:
    return f"{connections} connection{'s' * (connections > 1)}"


def _count(ask: Ask, connections: int, seconds: float) -> int:
    """How many requests take about so long; the trial also warms up."""
    trial = ask(questions(max(50, 2 * connections), 99), connections)
    return max(100, 4 * connections, int(trial.per_s * seconds))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each case")
    parser.add_argument("--short", action="store_true", help="a quarter of the requests")
    options = parser.parse_args()
    missing: dict[str, str] = {}
    results = measure(options.rounds, SECONDS / 4 if options.short else SECONDS, missing)
    used = versions("pgembedd", "onnxruntime", "fastapi", "uvicorn", "orjson") | _peers_versions()
    publish(results, used, as_json=options.json)
    for name, reason in missing.items():
        print(f"Not measured: {name} ({reason}).", file=sys.stderr)


def _peers_versions() -> dict[str, str]:
    """Versions of what the other server stands on."""
    if not interpreter(PEERS).exists():
        return {}
    code = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in ('fastembed',)}))"
    found: dict[str, str] = json.loads(subprocess.check_output([str(interpreter(PEERS)), "-c", code], text=True))
    return found


if __name__ == "__main__":
    main()
