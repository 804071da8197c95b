"""Engines as child processes: started once, told what to embed, stopped while another one measures."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.engines.catalogue import Case
from bench.engines.common import Float32Array

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


def interpreter(venv: str) -> Path:
    """The Python of a virtual environment in the checkout, or the running one's."""
    return Path(venv, "bin", "python") if venv else Path(sys.executable)


@dataclass(frozen=True)
class Measured:
    """What one request took, in wall clock and processor time, and the process's peak memory so far.

    `others` is how many cores were busy with anything else meanwhile, on average: figures are worth less then.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    others: float


class MissingEngineError(Exception):
    """This engine cannot run here; the message says why."""


class Engine:
    """A running engine. Between requests it is stopped, so that no pool of threads of its spins."""

    def __init__(self, case: Case, folder: Path, *, max_tokens: int, threads: int) -> None:
        """Start it and wait until it has loaded its model; MissingEngineError where it cannot."""
        if not interpreter(case.venv).exists():
            raise MissingEngineError(f"{case.venv} is not there")
        command = [str(interpreter(case.venv)), "-W", "ignore", "-m", "bench.engines.serve", case.engine]
        command += ["--folder", str(folder), "--max-tokens", str(max_tokens), "--threads", str(threads)]
        self._process = subprocess.Popen(
            [*command, "--settings", json.dumps(case.settings)], env=os.environ | OFFLINE,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        ready = self._answer()
        if reason := ready.get("missing"):
            self.close()
            raise MissingEngineError(reason)
        self.case, self.load_s, self.versions = case, float(ready["load_s"]), dict(ready["versions"])
        self._process.send_signal(signal.SIGSTOP)

    def embed(self, texts: list[str], save: Path | None = None) -> Measured:
        """Embed the texts, alone on the machine as far as the other engines go."""
        request: dict[str, Any] = {"texts": texts} | ({"save": str(save)} if save else {})
        self._process.send_signal(signal.SIGCONT)
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            busy, started = busy_seconds(), time.monotonic()
            answer = self._answer()
            elapsed = time.monotonic() - started
            others = (busy_seconds() - busy - answer["cpu_seconds"]) / elapsed
            return Measured(**answer, others=max(0.0, others))
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def vectors(self, texts: list[str], scratch: Path) -> Float32Array:
        """What it computes for the texts, (n, dims)."""
        path = scratch / "vectors.npy"
        self.embed(texts, save=path)
        found: Float32Array = np.load(path)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            complaint = self._process.communicate()[1].strip().splitlines()
            raise MissingEngineError(complaint[-1] if complaint else "it ended without a word")
        answer: dict[str, Any] = json.loads(line)
        return answer


def busy_seconds() -> float:
    """Processor time that the whole machine has spent on anything since it started."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
