"""Engines as child processes, side by side: all loaded, one working at a time, the others stopped."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.catalogue import Case
from bench.engines.common import Float32Array, Setup

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


def python_of(venv: str) -> Path:
    """The Python of a virtual environment in the checkout, or the running one's. MissingEngineError without it."""
    python = Path(venv, "bin", "python") if venv else Path(sys.executable)
    if not python.exists():
        raise MissingEngineError(f"{venv} is not there")
    return python


def run_module(venv: str, *arguments: str) -> str:
    """What a module prints in an environment. MissingEngineError, with its last line, where that fails."""
    command = [str(python_of(venv)), "-W", "ignore", "-m", *arguments]
    done = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingEngineError(last_line(done.stderr))
    return done.stdout


def last_line(said: str) -> str:
    """The last line of what a process said."""
    return (said.strip().splitlines() or ["it ended without a word"])[-1]


class MissingEngineError(Exception):
    """This engine cannot run here; the message says why."""


@dataclass(frozen=True)
class Bout:
    """What all engines are given: the model's files, limit, cores, and texts to warm up with."""

    folder: Path
    max_tokens: int
    threads: int
    warm_up: list[str]


class Engine:
    """A running engine. Between requests it is stopped, so that no pool of threads of its spins.

    `seconds` are those of all requests, `first` the vectors of the first one's texts, (n, dims).
    """

    first: Float32Array

    def __init__(self, case: Case, bout: Bout) -> None:
        """Start it and wait until it has loaded its model; MissingEngineError where it cannot."""
        setup = Setup(bout.folder, bout.max_tokens, bout.threads, case.precision, case.form, case.settings)
        given = json.dumps(asdict(setup) | {"folder": str(bout.folder)})
        command = [str(python_of(case.venv)), "-W", "ignore", "-m", "bench.engines.serve", case.engine, given]
        self._process = subprocess.Popen(
            command, env=os.environ | OFFLINE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, encoding="utf-8",
        )  # fmt: skip
        ready = self._answer()
        if reason := ready.get("missing"):
            self.close()
            raise MissingEngineError(reason)
        self.case, self.versions = case, dict[str, str](ready["versions"])
        self.peak_mb, self.seconds = 0.0, list[float]()
        self._process.send_signal(signal.SIGSTOP)

    def embed(self, texts: list[str]) -> float:
        """Seconds that it takes for the texts, alone on the machine as far as the other engines go."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps({"texts": texts, "vectors": not self.seconds}) + "\n")
            self._process.stdin.flush()
            answer = self._answer()
        finally:
            self._process.send_signal(signal.SIGSTOP)
        if not self.seconds:
            self.first = np.asarray(answer["vectors"], np.float32)
        self.peak_mb = float(answer["peak_mb"])
        self.seconds.append(float(answer["seconds"]))
        return self.seconds[-1]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MissingEngineError(last_line(self._process.communicate()[1]))
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running(cases: Sequence[Case], bout: Bout, missing: dict[str, str]) -> Iterator[list[Engine]]:
    """The engines that can be had; why the others cannot goes to `missing`, by name."""
    with ExitStack() as stack:
        engines = []
        for case in cases:
            try:
                engine = Engine(case, bout)
            except MissingEngineError as reason:
                missing.setdefault(case.name, str(reason))
                continue
            stack.callback(engine.close)
            engines.append(engine)
        yield engines
