"""What it takes a worker to answer a question, without the language model's own time.

Processor time of `pgembedd run` for each delta of the language model's, which a stand-in emits at a set rate: of one
answer, and of eight at a time. Beside it, in the same run, a script that reads the same stream with the `openai`
package and does nothing with it. Then, with a stand-in that answers at once, the time from a commit of `ask()` to the
first delta that another session sees, which is flushed with others.
"""

import json
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial

import psycopg

from bench.answers import ASK, ROLE, SETUP
from bench.report import Result, compare, interleave, main, timed
from bench.workers import Fleet, await_that, cpu_s, database, fleet
from tests.support.servers.stand_in import Answer, Received, StandIn

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
SEEN = "select exists (select from pgembedd.answer_events where answer = %s and event = 'delta')"
ENDED = "select status from pgembedd_internal.answer where id = any(%s) and status not in ('queued', 'generating')"


def stream(deltas: int, per_s: float, _: Received) -> Answer:
    """The answer to every prompt: so many deltas, so many a second, in OpenAI's protocol; a rate may be endless."""
    began = time.monotonic()

    def wait(number: int) -> None:
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))

    parts: list[bytes | Callable[[], object]] = []
    for number in range(deltas):
        # No text is a repetition, at which the worker would end it.
        parts += [partial(wait, number), event({"content": f" {number}"}, None)]
    return Answer(200, {"content-type": "text/event-stream"}, [*parts, event({}, "stop"), b"data: [DONE]\n\n"])


def event(delta: dict[str, str], finish_reason: str | None) -> bytes:
    """A part of a chat's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def ask(asker: psycopg.Connection) -> str:
    """Asks, with a vector for the question, and returns the answer's id."""
    return str(asker.execute(ASK).fetchall()[0][0])


def spent_s(asker: psycopg.Connection, owner: psycopg.Connection, workers: Fleet, at_once: int) -> float:
    """Seconds of the worker's processor for each delta. RuntimeError where an answer is not complete."""
    (worker,) = workers.members
    before = cpu_s(worker.process.pid)
    ended = partial(owner.execute, ENDED, ([ask(asker) for _ in range(at_once)],))
    await_that(lambda: len(ended().fetchall()) == at_once, lambda: "The questions get no answers.", 0.1)
    if (statuses := ended().fetchall()) != [("complete",)] * at_once:
        raise RuntimeError(f"The answers ended as {statuses}.")
    return (cpu_s(worker.process.pid) - before) / (at_once * DELTAS)


def first_delta_s(asker: psycopg.Connection, owner: psycopg.Connection) -> float:
    """Seconds from the commit of a question to its first delta, as another session sees it. It looks all the time."""
    time.sleep(0.2)
    answer = ask(asker)
    seen = partial(owner.execute, SEEN, (answer,))
    return timed(lambda: await_that(lambda: bool(seen().fetchall()[0][0]), lambda: "The question gets no answer."))


def peer_s(url: str) -> float:
    """Seconds of processor for each delta that the `openai` package reads."""
    script = [sys.executable, "-c", PEER_SCRIPT, f"{url}/v1"]
    return float(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def measure(options: Namespace) -> list[Result]:
    """Processor time of a delta, by case, and the time to the first one."""
    stand_in = StandIn(partial(stream, DELTAS, PER_S))
    with stand_in.running(), database() as (owner, conninfo), psycopg.connect(conninfo, autocommit=True) as asker:
        owner.execute(SETUP)
        asker.execute(f"set role {ROLE}".encode())
        settings = {"PGEMBEDD_LANGUAGE_HOST": stand_in.url, "PGEMBEDD_LANGUAGE_MODE": "openaicompatible"}
        with fleet(conninfo, 1, **settings) as workers:
            spent = partial(spent_s, asker, owner, workers)
            spent(1)
            cases = {f"{PEER}, CPU a delta": partial(peer_s, stand_in.url)} | {
                f"worker, {count} answer{'s' * (count > 1)}, CPU a delta": partial(
                    spent_s, asker, owner, workers, count
                )
                for count in AT_ONCE
            }
            values = interleave(cases, options.rounds)
            stand_in.answer = partial(stream, 1, float("inf"))
            first = {"worker, first delta after ask()": partial(first_delta_s, asker, owner)}
            waits = interleave(first, FIRST_ASKED * options.rounds)
    return compare("generation", "s", values, next(iter(cases))) + compare("generation", "s", waits)


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "openai", "httpx2", rounds=3)
