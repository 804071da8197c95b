"""One engine in a process of its own, told over stdin what to embed, answering in JSON lines on stdout.

Requests: `{"texts": [...]}`, and with `"save": PATH` the vectors are written there as .npy. Answers: seconds of wall
clock and of processor time, and the process's peak memory so far. A request is answered before the next is read.
"""

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from bench.engines.common import Embed, Setup

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>


def main() -> None:
    """Load the engine named on the command line, say so, and serve until stdin ends."""
    _die_with_parent()
    # Libraries print what they please; the answers go to a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    options = _arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    engine = importlib.import_module(f"bench.engines.{options.engine}")
    started = time.perf_counter()
    try:
        embed: Embed = engine.load(
            Setup(options.folder, options.max_tokens, options.threads, json.loads(options.settings))
        )
    except Exception as error:
        _answer(answers, {"missing": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"})
        return
    ready = {"load_s": time.perf_counter() - started, "versions": {name: version(name) for name in engine.PACKAGES}}
    _answer(answers, ready)
    for line in sys.stdin:
        _answer(answers, _measured(embed, json.loads(line)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--settings", default="{}")
    return parser.parse_args()


def _measured(embed: Embed, request: dict[str, Any]) -> dict[str, float]:
    texts = request["texts"]
    started, cpu_started = time.perf_counter(), time.process_time()
    vectors = embed(texts)
    answer = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started}
    if path := request.get("save"):
        np.save(path, vectors)
    return answer | {"peak_mb": peak_mb()}


def peak_mb() -> float:
    """The most memory this process has had resident, in MB.

    Not from getrusage: there a child starts with the peak of the process that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def _answer(stream: TextIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


def _die_with_parent() -> None:
    """Whoever started us stops us while others measure; a stopped process would outlive it."""
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    main()
