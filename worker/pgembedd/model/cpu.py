"""The cores that this process may use: its CPU affinity, limited by its cgroup's CPU quota.

In a container the host's core count says nothing: with 64 cores and a quota of two, 64 threads would only
be throttled. The quota counts for every ancestor of our cgroup, so the smallest one holds.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class CgroupMount:
    """The mount of a cgroup hierarchy that may hold CPU quotas; `root` is the cgroup at its top."""

    version: int
    mount_point: str
    root: str


def usable_cores(proc: Path = Path("/proc/self")) -> int:
    """Cores this process may use, at least 1; a quota of 1.5 cores counts as 2, so that all of it is used."""
    cores = _affinity_cores()
    quota = cpu_quota(proc)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _affinity_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(proc: Path = Path("/proc/self")) -> float | None:
    """The tightest CPU quota over this process, in cores; None where there is none or no cgroups."""
    paths = parse_membership(_read(proc / "cgroup"))
    mounts = [mount for mount in parse_mounts(_read(proc / "mountinfo")) if mount.version in paths]
    folders = [Path(folder) for mount in mounts for folder in cgroup_folders(mount, paths[mount.version])]
    return min(filter(None, map(_folder_quota, folders)), default=None)


def _folder_quota(folder: Path) -> float | None:
    """The quota in v2's `cpu.max`, or in the two files of v1."""
    v1 = (_read(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    return parse_quota(_read(folder / "cpu.max") or " ".join(v1))


def parse_mounts(mountinfo: str) -> list[CgroupMount]:
    """The cgroup mounts in /proc/self/mountinfo: v2, and the v1 hierarchy with the cpu controller."""
    mounts = []
    for line in mountinfo.splitlines():
        ours, _, theirs = line.partition(" - ")
        fields, (kind, _, options) = ours.split(), (*theirs.split(), "", "", "")[:3]
        if len(fields) < 5:
            continue
        root, mount_point = (_unescape(field) for field in fields[3:5])
        if kind == "cgroup2":
            mounts.append(CgroupMount(2, mount_point, root))
        elif kind == "cgroup" and "cpu" in options.split(","):
            mounts.append(CgroupMount(1, mount_point, root))
    return mounts


def _unescape(field: str) -> str:
    r"""The kernel writes blanks and backslashes in these paths as octal numbers, a blank as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def parse_membership(cgroup: str) -> dict[int, str]:
    """Our cgroup in each version's hierarchy, from /proc/self/cgroup (`id:controllers:path`)."""
    paths = {}
    for line in cgroup.splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            paths[2] = path
        elif "cpu" in controllers.split(","):
            paths[1] = path
    return paths


def cgroup_folders(mount: CgroupMount, path: str) -> Iterator[str]:
    """The folders of our cgroup and its ancestors, innermost first, as far up as the mount shows them."""
    ours = PurePosixPath(path)
    # Inside a container the path may be the host's while the mount shows our own cgroup as its top.
    below = ours.relative_to(mount.root) if ours.is_relative_to(mount.root) else PurePosixPath()
    for part in (below, *below.parents):
        yield str(PurePosixPath(mount.mount_point, part))


def parse_quota(text: str) -> float | None:
    """Cores from `quota period` in microseconds; None for the quotas `max` and -1, and for anything else."""
    numbers = [int(word) for word in text.split() if word.isascii() and word.isdigit()]
    return numbers[0] / numbers[1] if len(numbers) == 2 and all(numbers) else None


def _read(path: Path) -> str:
    """The file's text, or nothing where it cannot be read: then no quota is known."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
