"""One engine in a process of its own, told over stdin what to embed, answering in JSON lines on stdout.

`python -m bench.engines.serve ENGINE SETUP`, where SETUP is a `Setup` as JSON. Requests: `{"texts": [...], "vectors":
BOOLEAN}`. Answers: seconds, the process's peak memory so far, and the vectors if they are wanted. A request is answered
before the next is read.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from bench.engines.common import Embed, Setup
from bench.engines.libraries import LIBRARIES

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in <sys/prctl.h>


def main() -> None:
    """Load the engine named on the command line, say so, and serve until stdin ends."""
    _die_with_parent()
    # Libraries print what they please; the answers go to a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    load, packages = LIBRARIES[sys.argv[1]]
    given = json.loads(sys.argv[2])
    setup = Setup(**given | {"folder": Path(given["folder"])})
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setup.threads])
    try:
        embed = load(setup)
    except Exception as error:
        _answer(answers, {"missing": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"})
        return
    _answer(answers, {"versions": {name: version(name) for name in packages}})
    for line in sys.stdin:
        _answer(answers, _measured(embed, json.loads(line)))


def _measured(embed: Embed, request: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    vectors = embed(request["texts"])
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak_mb": peak_mb(), "vectors": vectors.tolist() if request["vectors"] else []}


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
