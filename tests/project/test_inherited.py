"""What the process of the tests has inherited makes no difference to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.inherited import KEPT, SETTINGS
from tests.support.owners import REPOSITORY
from tests.support.waiting import PATIENCE_S

HOSTILE = {"PGHOST": "elsewhere", "PGEMBEDD_HTTP": "1", "DATABASE_URL": "elsewhere", "OTEL_TRACES_EXPORTER": "otlp"}
SHOWN = """
import json, os, signal
ignored = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) == signal.SIG_IGN]
print(json.dumps([ignored, [*signal.pthread_sigmask(signal.SIG_BLOCK, ())], [*os.environ]]))
"""


def test_what_a_test_starts_inherits_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, timeout=PATIENCE_S, check=True)
    ignored, blocked, names = json.loads(done.stdout)
    assert (ignored, blocked) == ([], [])
    assert [name for name in names if name.startswith(SETTINGS) and name not in KEPT] == []


def hostile() -> None:
    """As a shell starts what it puts in the background, and worse."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@pytest.mark.slow
def test_tests_that_a_shell_started_in_the_background() -> None:
    """In a process of pytest-xdist, which inherits from the one that was started."""
    inner = f"{__file__}::{test_what_a_test_starts_inherits_nothing.__name__}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-pno:cacheprovider", "-n1", inner],
        cwd=REPOSITORY,
        env={**os.environ, **HOSTILE},
        preexec_fn=hostile,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
