"""Processes of `pgembedd` that are forked from one that has imported everything already.

Importing is most of what a short command costs (half a second of processor time), and the tests run hundreds. What is
forked has its own environment, directory, streams, signals and exit code, and ends as an interpreter does;
only the imports are not its own. Where those matter, or variables that Python reads as it starts, a test starts Python
itself. `python -m tests.support.forking DESCRIPTOR` is the process that forks, which has no thread but its first.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

from pgembedd.cli import COMMANDS
from tests.support.owners import IMPORTABLE

IMPORTED = (
    *("pgembedd.cli.http_service", "pgembedd.database.migrate", "pgembedd.http.app", "pgembedd.http.server"),
    *("pgembedd.loop.model_loader", "pgembedd.loop.worker", "pgembedd.model.session", "pgembedd.search.local_models"),
    *("pgembedd.telemetry.setup", "pgembedd.verify", "tests.support.embedders"),
    *("alembic.command", "httpx", "onnxruntime", "pgvector.psycopg", "tokenizers"),
)
# A process with threads cannot be forked; what is forked then sets these as the product does.
QUIET = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
REQUEST_BYTES = 1 << 18


class Forked:
    """A process as subprocess.Popen has it, without the streams."""

    def __init__(self, arguments: Sequence[str], status: int) -> None:
        self.args, self._status, self._lock = arguments, status, threading.Lock()
        self.returncode: int | None = None
        pid = self._read(None)
        assert pid is not None
        self.pid = pid

    def _read(self, timeout_s: float | None) -> int | None:
        """The next number from the process that forks: the id, then the exit code; None within the time."""
        ready = select.poll()  # select() refuses descriptors above 1023, and tests open many
        ready.register(self._status, select.POLLIN)
        if not ready.poll(None if timeout_s is None else 1000 * timeout_s):
            return None
        told = os.read(self._status, 4)
        assert told, "the process that forks has ended"
        return int(struct.unpack("i", told)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, minus the number of the signal that ended it. Raises subprocess.TimeoutExpired."""
        with self._lock:
            if self.returncode is None:
                self.returncode = self._read(timeout)
                if self.returncode is None:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                os.close(self._status)
            return self.returncode

    def poll(self) -> int | None:
        """Its exit code if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[bytes]


def start(
    module: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    out: int,
    err: int,
    *,
    within: Sequence[str] = (),
    frees: bool = True,
) -> Process:
    """`WITHIN python -m MODULE ARGUMENTS` with these descriptors and no input, forked where that is the same.

    Without `frees` it ends without freeing its objects one by one, which takes longer than a short command.
    """
    if within or sys.platform != "linux" or _read_at_start(env) != _read_at_start(os.environ):
        command = [*within, sys.executable, "-m", module, *arguments]
        return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    request = json.dumps([module, list(arguments), dict(env), str(Path.cwd()), frees]).encode()
    assert len(request) < REQUEST_BYTES
    ours, theirs = os.pipe()
    try:
        socket.send_fds(_forking(), [request], [out, err, theirs])
    finally:
        os.close(theirs)
    return Forked(arguments, ours)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in env.items() if name.startswith(READ_AT_START) and name != "PYTHONPATH"}


@cache
def _forking() -> socket.socket:
    """The socket of the process that forks, started by the first that asks; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        descriptor = theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(descriptor)],
            env={**os.environ, **QUIET, "PYTHONPATH": IMPORTABLE},
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def main(descriptor: str) -> None:
    """Serve requests; each returns here in its own process, which then is what was asked for."""
    for name in IMPORTED + tuple(f"pgembedd.cli.{name}" for name in COMMANDS.values()):
        importlib.import_module(name)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "what has threads cannot be forked"
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as control:
        asked = _serve(control)
    if asked is not None:
        module, arguments, env, directory, frees = json.loads(asked)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(env)
        sys.argv[1:] = arguments
        _open_streams()
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if frees or not isinstance(end.code, int | None):
                raise
            _end(end.code or 0)


def _open_streams() -> None:
    """Output as Python makes it at its start: a stream remembers of which kind its file was."""
    for number, name in enumerate(("stdout", "stderr"), start=1):
        before = getattr(sys, name)
        stream = os.fdopen(number, "w", encoding=before.encoding, errors=before.errors, newline="\n", closefd=False)
        stream.reconfigure(line_buffering=name == "stderr" or stream.isatty())
        setattr(sys, name, stream)


def _end(code: int) -> NoReturn:
    """End as an interpreter does, except that objects are not freed one by one: that would copy all of the memory."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(code)


def _serve(control: socket.socket) -> bytes | None:
    """Fork for each request and tell how each has ended. Returns the request in what is forked, None at the end."""
    running: dict[int, int] = {}
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 1024)
            _reap(running)
        if control.fileno() not in ready:
            continue
        asked, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 3)
        if not asked:
            return None
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for stream, descriptor in enumerate(descriptors[:2], start=1):
                os.dup2(descriptor, stream)
            for descriptor in (*descriptors, *running.values(), woken, waking):
                os.close(descriptor)
            return asked
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        running[pid] = descriptors[2]
        os.write(descriptors[2], struct.pack("i", pid))


def _reap(running: dict[int, int]) -> None:
    """Tell of each that has ended how it has."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        descriptor = running.pop(pid)
        with suppress(BrokenPipeError):  # of a test that was not interested
            os.write(descriptor, struct.pack("i", os.waitstatus_to_exitcode(status)))
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1])
