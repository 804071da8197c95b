"""The cores a process may use, read from what Linux says about its cgroup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgembedd.model.cpu import (
    CgroupMount,
    cgroup_folders,
    cpu_quota,
    parse_membership,
    parse_mounts,
    parse_quota,
    usable_cores,
)

V2_MOUNT = "30 23 0:26 / {root} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "33 25 0:29 {top} {root} rw,nosuid - cgroup cgroup rw,cpu,cpuacct"


def mount_line(form: str, root: Path, top: str = "/") -> str:
    """A line of mountinfo, blanks in the path escaped as the kernel does."""
    return form.format(root=str(root).replace(" ", r"\040"), top=top)


def pretend(tmp_path: Path, mountinfo: str, cgroup: str) -> Path:
    """A folder that looks like /proc/self."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(mountinfo + "\n")
    (proc / "cgroup").write_text(cgroup + "\n")
    return proc


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        *[("200000 100000\n", 2.0), ("50000 100000", 0.5), ("150000\n 100000\n", 1.5)],
        *[("max 100000\n", None), ("-1\n 100000\n", None), ("", None), ("x y", None), ("100 0", None), ("0 100", None)],
    ],
)
def test_a_quota_is_in_cores(text: str, cores: float | None) -> None:
    assert parse_quota(text) == cores


def test_mounts_and_membership_are_read_past_everything_else() -> None:
    mountinfo = "\n".join(
        [
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
            V2_MOUNT.format(root="/sys/fs/cgroup/unified"),
            V1_MOUNT.format(top="/docker/ab", root="/sys/fs/cgroup/cpu,cpuacct"),
            "34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "broken",
        ]
    )
    assert parse_mounts(mountinfo) == [
        CgroupMount(2, "/sys/fs/cgroup/unified", "/"),
        CgroupMount(1, "/sys/fs/cgroup/cpu,cpuacct", "/docker/ab"),
    ]
    assert parse_membership("4:cpu,cpuacct:/docker/ab/c\n3:memory:/m\n0::/user:x") == {
        1: "/docker/ab/c",
        2: "/user:x",
    }


def test_ancestors_are_looked_at_up_to_the_mount() -> None:
    folders = list(cgroup_folders(CgroupMount(2, "/cg", "/"), "/a/b"))
    assert folders == ["/cg/a/b", "/cg/a", "/cg"]
    assert list(cgroup_folders(CgroupMount(1, "/cg", "/docker/x"), "/docker/x/y")) == ["/cg/y", "/cg"]


def test_a_path_from_outside_the_container_falls_back_to_the_mount() -> None:
    assert list(cgroup_folders(CgroupMount(1, "/cg", "/docker/x"), "/elsewhere")) == ["/cg"]


def test_the_tightest_quota_of_all_ancestors_counts(tmp_path: Path) -> None:
    root = tmp_path / "c g"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "cpu.max").write_text("max 100000")
    (root / "a" / "cpu.max").write_text("150000 100000")
    proc = pretend(tmp_path, mount_line(V2_MOUNT, root), "0::/a/b")
    assert cpu_quota(proc) == 1.5
    assert usable_cores(proc) == min(2, len(os.sched_getaffinity(0)))


def test_a_v1_quota_below_one_core_still_leaves_one_thread(tmp_path: Path) -> None:
    root = tmp_path / "c g"
    root.mkdir()
    (root / "cpu.cfs_quota_us").write_text("20000\n")
    (root / "cpu.cfs_period_us").write_text("100000\n")
    proc = pretend(tmp_path, mount_line(V1_MOUNT, root, "/x"), "5:cpuacct,cpu:/x")
    assert cpu_quota(proc) == 0.2
    assert usable_cores(proc) == 1


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))
