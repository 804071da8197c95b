"""A small process between the owner and the postmaster, so that the server ends when its owner does.

Run by path, with the standard library alone: `python -I -S supervisor.py OWNER UID GID POSTGRES ARGS…`.
Its standard input is a pipe whose other end only the owner holds. A line on it (`fast`, `immediate`, `kill`)
stops the server that way; the end of the pipe, which even a SIGKILL of the owner brings about, means `fast`.
It also looks whether its parent is still the owner, because a forked child of the owner may hold the pipe
open. It ignores terminal signals: Ctrl-C is the owner's to handle, which may still want to write. Should
this process be killed itself, then on Linux the kernel interrupts the postmaster.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
PATIENCE_S = {"fast": 60.0, "immediate": 10.0, "kill": float("inf")}
HARSHER = {"fast": "immediate", "immediate": "kill"}
ORPHANS_MAY_TAKE_S = 5.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere we do without."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def spawn(command: list[str], uid: int, gid: int) -> int:
    """Start the postmaster as `uid`:`gid` (-1: as ourselves), as our direct child, to be reaped by us."""
    supervisor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)  # after setuid, which clears it
        if os.getppid() == supervisor:
            os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"FATAL:  cannot run {command[0]}: {error.strerror}\n".encode(errors="replace"))
    os._exit(127)


def reap(postmaster: int) -> bool:
    """Collect whoever has ended; true while the postmaster is alive."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == postmaster:
                return False
            if pid == 0:
                return True
    return False


def await_request(owner: int, postmaster: int, wake: int) -> str:
    """How to stop: what the owner asks for, `fast` when the owner is gone, `gone` when the postmaster is."""
    while reap(postmaster):
        readable, _, _ = select.select([0, wake], [], [], 1.0)
        if wake in readable:
            os.read(wake, 4096)
        if 0 in readable:
            return os.read(0, 64).decode().strip() or "fast"
        if os.getppid() != owner:
            return "fast"
    return "gone"


def stop(postmaster: int, mode: str) -> None:
    """Signal until the postmaster has ended, more harshly when it takes too long."""
    deadline = time.monotonic() + PATIENCE_S[mode]
    while True:
        os.kill(postmaster, SIGNALS[mode])
        pause_until = time.monotonic() + 1.0
        while time.monotonic() < pause_until:
            if not reap(postmaster):
                return
            time.sleep(0.005)
        if time.monotonic() > deadline:
            mode = HARSHER[mode]
            deadline = time.monotonic() + PATIENCE_S[mode]


def children() -> list[int]:
    """Our children by /proc; none where there is no /proc."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - starts faster without pathlib
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def sweep(grace_s: float) -> None:
    """Wait for the dead postmaster's backends, which are ours now; kill those that outlive `grace_s`."""
    deadline = time.monotonic() + grace_s
    while children():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        for pid in children() if time.monotonic() >= deadline else []:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def main(arguments: list[str]) -> None:
    owner, uid, gid = map(int, arguments[:3])
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    postmaster = spawn(arguments[3:], uid, gid)
    mode = await_request(owner, postmaster, read_end)
    if mode != "gone":
        stop(postmaster, mode)
    sweep(0.0 if mode == "kill" else ORPHANS_MAY_TAKE_S)


if __name__ == "__main__":
    main(sys.argv[1:])
