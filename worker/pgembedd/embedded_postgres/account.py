"""The operating system account that Postgres runs as.

Postgres refuses to run as root. An ordinary user's server runs as that user; root's server runs as the
account that owns the cluster already, else as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgembedd.errors import ConfigurationError

NOBODY_ID = 65534  # where the password database has no "nobody": the kernel's own overflow id


@dataclass(frozen=True)
class Account:
    """A user and group id; with `switch` a child process has to change to it first (we are root)."""

    uid: int
    gid: int
    switch: bool

    @property
    def popen_options(self) -> dict[str, Any]:
        """Arguments for `subprocess` that start a child as this account, without supplementary groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def may_execute(self, path: Path) -> bool:
        """Tests that this account can enter a directory, or may run a program.

        A child process of the account asks the kernel: mode bits say nothing about access control lists, mounts and
        parent directories.
        """
        command = ["test", "-x", str(path)]
        return not self.switch or not subprocess.run(command, cwd="/", check=False, **self.popen_options).returncode

    def own(self, target: Path | int) -> None:
        """Gives a file or directory that we have just made (or its descriptor) to this account."""
        if self.switch:
            os.chown(target, self.uid, self.gid)


def account_for(cluster: Path) -> Account:
    """Returns the account for the server of `cluster`, which need not exist yet.

    Raises ConfigurationError where the cluster belongs to an account that we cannot use.
    """
    owner = cluster.stat() if cluster.exists() else None
    if os.geteuid() != 0:
        _refuse_foreign(cluster, owner)
        return Account(os.geteuid(), os.getegid(), switch=False)
    if owner is None:
        return _nobody()
    if owner.st_uid == 0:
        raise ConfigurationError(
            f"The cluster {cluster} belongs to root, as which Postgres refuses to run: "
            "give it to another user with chown -R."
        )
    return Account(owner.st_uid, owner.st_gid, switch=True)


def _refuse_foreign(cluster: Path, owner: os.stat_result | None) -> None:
    if owner is not None and owner.st_uid != os.geteuid():
        raise ConfigurationError(
            f"The embedded Postgres in {cluster.parent} belongs to {_name(owner.st_uid)}: "
            "start it as that user or as root, or set PGEMBEDD_POSTGRES_DIR to a directory of your own."
        )


def _nobody() -> Account:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account(NOBODY_ID, NOBODY_ID, switch=True)
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"
