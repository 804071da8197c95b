"""Confines a process: bounded memory, no files, no network, no processes, and no sight of others.

Linux alone enforces the second half (Landlock from 5.13, for TCP 6.7; a network namespace where one may be made).
What a kernel does not have is left out: the bounds of memory, files and time hold everywhere.
"""

import ctypes
import os
import resource
import sys

from pgembedd.documents.limits import Limits

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # of every architecture
_RULESET_VERSION = 1
_NO_NEW_PRIVILEGES = 38
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""The number of rights on files by Landlock's version, 16 from the fifth."""


def bound_time(seconds: float) -> None:
    """Ends this process after so much more processor time: where its parent has died, no other deadline holds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    end = int(used.ru_utime + used.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.RLIM_INFINITY))


def confine(limits: Limits) -> None:
    """Confines this process for good."""
    memory = limits.memory_mb * 1_000_000
    bounds = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 16,
        resource.RLIMIT_NPROC: 0,
    }
    for bound, value in bounds.items():
        resource.setrlimit(bound, (value, value))
    libc = _libc()
    if libc is None:
        return
    if libc.unshare(_NEW_NETWORK):
        libc.unshare(_NEW_USER | _NEW_NETWORK)
    _close_files(libc)


def landlock_version() -> int:
    """Returns the version of the kernel's Landlock, 0 for none."""
    libc = _libc()
    return 0 if libc is None else max(libc.syscall(_CREATE_RULESET, None, 0, _RULESET_VERSION), 0)


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _close_files(libc: ctypes.CDLL) -> None:
    """Denies every right that Landlock has: on files, TCP, and other processes (signals, sockets, ptrace)."""
    version = landlock_version()
    if not version:
        return
    files = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    rights = (ctypes.c_uint64 * 3)(files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 * (1 + (version >= 4) + (version >= 6))
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rights), size, 0)
    if ruleset >= 0:
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.syscall(_RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)
