"""Hosts of one machine: each has its own network, joined by a bridge in the network of this process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pgembedd.embedded_postgres.account import Account
from tests.support.silent_network import ip

HERE = "10.0.0.1"
BRIDGE = "hosts"
NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000  # CLONE_NEWNS, CLONE_NEWNET


def leave_network() -> None:
    """Gives this process mounts and a network of its own, with a bridge for hosts. Needs root; no way back."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS | NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "A network of its own is refused to this process")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    ip("link", "set", "lo", "up")
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("address", "add", f"{HERE}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")


class Host:
    """A network with one address, which can be cut off: packets from and to it are then lost."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self._namespace = f"{name}-{os.getpid()}"
        ip("netns", "add", self._namespace)
        ip("link", "add", name, "type", "veth", "peer", "name", "out", "netns", self._namespace)
        ip("link", "set", name, "master", BRIDGE, "up")
        ip("-n", self._namespace, "address", "add", f"{address}/24", "dev", "out")
        for interface in ("lo", "out"):
            ip("-n", self._namespace, "link", "set", interface, "up")

    def cut(self) -> None:
        """Cuts it off: no packet is refused, and none arrives."""
        ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """Lets packets through again."""
        ip("link", "set", self.name, "up")

    def send_nothing_to(self, other: Host) -> None:
        """Has the packets to one other host be lost."""
        ip("-n", self._namespace, "route", "add", "blackhole", other.address)

    def send_again_to(self, other: Host) -> None:
        """Takes that back."""
        ip("-n", self._namespace, "route", "delete", "blackhole", other.address)

    def start(self, command: Sequence[str], account: Account, log: Path, **variables: str) -> subprocess.Popen[bytes]:
        """Starts a program there, as `account`."""
        as_account = ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        with log.open("ab") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *as_account, *command],
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LANG": "C", "TZ": "UTC", **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def close(self) -> None:
        """Ends the network; what runs there keeps it until it ends."""
        ip("netns", "delete", self._namespace)
