"""A process between the owner and the postmaster that stops the server when its owner ends.

Run by path, with the standard library alone: `python -I -S supervisor.py OWNER UID GID POSTGRES ARGS…`.
Its standard input is a pipe whose other end only the owner holds. A line on it (`fast`, `immediate`, `kill`)
stops the server that way; the end of the pipe, which even a SIGKILL of the owner causes, means `fast`.
It also checks that its parent is still the owner, because a forked child of the owner may hold the pipe
open. It ignores terminal signals: the owner handles Ctrl-C and may still write. If this process itself is
killed, the kernel interrupts the postmaster (on Linux).
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
STOP_TIMEOUT_S = {"fast": 60.0, "immediate": 10.0, "kill": float("inf")}
NEXT_MODE = {"fast": "immediate", "immediate": "kill"}
BACKENDS_TIMEOUT_S = 5.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def prctl(option: int, value: int) -> None:
    """Calls prctl(2) on Linux; does nothing elsewhere."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def spawn(command: list[str], uid: int, gid: int) -> int:
    """Starts the postmaster as `uid`:`gid` (-1: as ourselves), as a direct child that we reap."""
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
    """Reaps ended children, up to the postmaster; True while that is alive."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == postmaster:
                return False
            if pid == 0:
                return True
    return False


def await_request(owner: int, postmaster: int, wake: int) -> str:
    """Waits for the stop mode: the owner's, `fast` when the owner has ended, `gone` when the postmaster has."""
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
    """Signals the postmaster until it has ended, with the next mode after each timeout."""
    deadline = time.monotonic() + STOP_TIMEOUT_S[mode]
    while True:
        os.kill(postmaster, SIGNALS[mode])
        pause_until = time.monotonic() + 1.0
        while time.monotonic() < pause_until:
            if not reap(postmaster):
                return
            time.sleep(0.005)
        if time.monotonic() > deadline:
            mode = NEXT_MODE[mode]
            deadline = time.monotonic() + STOP_TIMEOUT_S[mode]


def children() -> list[int]:
    """Returns our children by /proc; none where there is no /proc."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - starts faster without pathlib
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


def sweep(grace_s: float) -> None:
    """Waits for the dead postmaster's backends, which we inherited; kills those that outlive `grace_s`."""
    deadline = time.monotonic() + grace_s
    while children():
        reap(0)
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
    sweep(0.0 if mode == "kill" else BACKENDS_TIMEOUT_S)


if __name__ == "__main__":
    main(sys.argv[1:])
