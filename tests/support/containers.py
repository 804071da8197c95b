"""Containers without an installed engine: Podman and a base image out of Debian's packages.

The packages are fetched once, unpacked under the cache and never installed. Podman runs in that folder as its root, in
a mount namespace of its own, so that nothing of this system changes; that needs root. Where a package cannot be had,
or this process may not mount, the test skips and says why.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support import debian

WHAT = "a container engine"
ENGINE = ("podman", "runc", "netavark", "tar", "mount")
PYTHON = ("libstdc++6", "python3", "python3-venv")
BASE = "localhost/python"
ENTER = (
    'root=$1 shared=$2; shift 2; mount --bind "$root" "$root" && mount -t proc proc "$root/proc" '
    '&& mount --rbind /sys "$root/sys" && mount --rbind /dev "$root/dev" && mount --bind "$shared" "$root/mnt" '
    '&& mount --bind /etc/resolv.conf "$root/etc/resolv.conf" && mount --bind /etc/hosts "$root/etc/hosts" '
    '&& exec chroot "$root" "$@"'
)
# The limits are those that a process without CAP_SYS_RESOURCE may have.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


class InstalledEngine:
    """An engine that this machine has, such as docker."""

    def __init__(self, program: str) -> None:
        """`program` is its command."""
        self._program = program

    def command(self, *arguments: str) -> list[str]:
        """Returns the command line that runs it with these arguments."""
        return [self._program, *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return subprocess.run(
            self.command(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )


class Engine(InstalledEngine):
    """Podman with an image store of its own, which `close` removes."""

    def __init__(self, shared: Path) -> None:
        """`shared` is the folder that containers can mount, as `/mnt`. May skip the test."""
        if os.geteuid() != 0:
            pytest.skip(f"{WHAT} needs root here, to mount its files")
        self._root, self._shared = debian.root(WHAT, "engine", ENGINE), shared
        self._store = tempfile.mkdtemp(prefix="store-", dir=self._root)
        if (tried := self.run("version")).returncode != 0:
            self.close()
            pytest.skip(f"{WHAT} does not start here: {tried.stderr.strip()}")

    def command(self, *arguments: str) -> list[str]:
        """Returns the command line that runs Podman with these arguments."""
        store = f"/{Path(self._store).name}"
        podman = ["podman", "--root", store, "--runroot", f"{store}/run", "--storage-driver", "overlay"]
        podman += ["--cgroup-manager", "cgroupfs", "--runtime", "runc"]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin", "PODMAN_IGNORE_CGROUPSV1_WARNING=1"]
        enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(self._root), str(self._shared)]
        return [*enter, *environment, *podman, *arguments]

    def build(self, context: Path, *arguments: str) -> str:
        """Returns the identifier of the image made by the Dockerfile in `context`, a folder below the shared one."""
        place = f"/mnt/{context.relative_to(self._shared)}"
        built = self.run("build", "--quiet", "--network", "host", "--format", "docker", *LIMITS, *arguments, place)
        assert built.returncode == 0, built.stderr
        return built.stdout.strip()

    def add_base(self) -> None:
        """Adds the image `BASE`: Debian's Python, which reaches the package index as this process does."""
        base = debian.root(WHAT, "base", PYTHON, _finish_base)
        with tempfile.NamedTemporaryFile(dir=self._shared, suffix=".tar") as archive:
            subprocess.run(["tar", "-C", str(base), "-cf", archive.name, "."], check=True)
            made = self.run("import", "--quiet", f"/mnt/{Path(archive.name).name}", BASE)
        assert made.returncode == 0, made.stderr

    def close(self) -> None:
        """Ends all containers and removes the images."""
        self.run("rm", "--force", "--all")
        shutil.rmtree(self._store, ignore_errors=True)


def _finish_base(root: Path) -> None:
    """Gives pip what this process has to reach the package index."""
    (root / "usr/bin/python").symlink_to("python3")
    paths = ssl.get_default_verify_paths()
    certificates = os.environ.get("PIP_CERT") or paths.cafile or paths.openssl_cafile
    (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
    shutil.copy(certificates, root / "etc/ssl/certs/ca-certificates.crt")
    index = os.environ.get("PIP_INDEX_URL")
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt", *([f"index-url = {index}"] if index else [])]
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
