"""The files of one embedded server and their paths.

DATA_DIR/cluster       what initdb makes, owned by the account Postgres runs as
DATA_DIR/location      instead of cluster, as root: the directory under /var/lib/pgembedd that has it
DATA_DIR/password      of the superuser `postgres`, mode 0600
DATA_DIR/port          the port of the last start
DATA_DIR/server.log    output of the server and its supervisor
DATA_DIR/lock          held while a process starts, stops or checks
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgembedd.embedded_postgres.account import Account
from pgembedd.embedded_postgres.installation import SHARED_DIR
from pgembedd.errors import ConfigurationError

NAMES = {"cluster", "location", "password", "port", "server.log", "server.log.1", "lock"}
LOCK_TIMEOUT_S = 300.0
LOG_ROTATION_BYTES = 10 << 20


@dataclass(frozen=True)
class Home:
    """The paths of one data directory. `root` is absolute."""

    root: Path

    @property
    def cluster(self) -> Path:
        """The directory of the cluster, which need not exist; follows `location`."""
        base = Path(self._location.read_text().rstrip("\n")) if self.relocated else self.root
        return base / "cluster"

    @property
    def relocated(self) -> bool:
        """True if the cluster is elsewhere, because its account may not enter this directory."""
        return self._location.exists()

    @property
    def _location(self) -> Path:
        return self.root / "location"

    @property
    def password(self) -> Path:
        return self.root / "password"

    @property
    def port(self) -> Path:
        return self.root / "port"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    def make(self) -> None:
        """Creates the data directory and its missing parents; Postgres may pass through those of root.

        Raises ConfigurationError when it is a directory of something else.
        """
        missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            # Whatever the umask: these are ours. Existing directories are never touched.
            path.chmod(0o711 if os.geteuid() == 0 else 0o700)
        self._refuse_foreign_files()

    def relocate(self) -> None:
        """Moves the cluster's location to where any account may enter; only root needs and can do this."""
        SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
        base = Path(tempfile.mkdtemp(prefix=f"{_plain(self.root.parent.name)}-", dir=SHARED_DIR))
        base.chmod(0o711)
        self._location.write_text(f"{base}\n")

    def delete(self) -> None:
        """Removes everything, a relocated cluster first, so that `location` stays until it is removed."""
        if not self.root.exists():
            return
        self._refuse_foreign_files()
        base = self.cluster.parent
        if self.relocated and base.exists():
            shutil.rmtree(base)
        shutil.rmtree(self.root)

    def remembered_port(self) -> int | None:
        try:
            return int(self.port.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def open_log(self) -> int:
        """Opens the log for appending, mode 0600; a long log is rotated first, and one old log is kept."""
        if self.log.exists() and self.log.stat().st_size > LOG_ROTATION_BYTES:
            self.log.rename(self.log.with_name("server.log.1"))
        return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _refuse_foreign_files(self) -> None:
        """Refuses to fill or delete a directory that holds other files."""
        foreign = [entry.name for entry in self.root.iterdir() if not _known(entry.name)]
        if foreign:
            raise ConfigurationError(
                f"{self.root} is not a data directory of the embedded Postgres (it holds {min(foreign)}): "
                "choose an empty or a new directory."
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the data directory; the kernel releases it with the process, so it is never stale."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        try:
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"Another process has been starting the embedded Postgres in {self.root} for "
                        f"{LOCK_TIMEOUT_S:.0f} s: end it and try again."
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)


def write_owned(path: Path, text: str, account: Account | None = None) -> None:
    """Writes a file of mode 0600 that belongs to `account` (None: to ourselves) atomically.

    The directory may belong to the account while we are root: nothing in it is followed or written through.
    """
    staging = path.with_name(f"{path.name}.new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if account is not None:
            account.own(descriptor)
        file.write(text)
    staging.rename(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _known(name: str) -> bool:
    """Recognizes our files, remains of an interrupted start, and hidden files."""
    return name in NAMES or name.startswith(("cluster.new-", ".")) or name.endswith(".new")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name) or "cluster"
