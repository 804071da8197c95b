"""Work that takes longer than any clock allows where it is quadratic: a process with a bound on its CPU time."""

from __future__ import annotations

import resource
import subprocess
import sys

CPU_S = 30


def said_by(program: str) -> str:
    """Returns what a Python program prints; CalledProcessError where it needs more CPU time than it may have."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))

    done = subprocess.run([sys.executable, "-c", program], preexec_fn=bound, check=True, capture_output=True, text=True)
    return done.stdout
