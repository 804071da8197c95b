"""A network of its own for a process under test, which can go silent: no packet comes through, and none is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address

import psycopg.conninfo

from tests.support.databases import Database


def ip(*arguments: str) -> None:
    """Runs the command `ip` of iproute2."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)


@dataclass(frozen=True)
class SilentNetwork:
    """A namespace whose only way out is a pair of interfaces; `conninfo` leads through them to the database."""

    namespace: str
    interface: str
    conninfo: str

    def cut(self) -> None:
        """Every packet is lost from now on."""
        ip("link", "set", self.interface, "down")

    def mend(self) -> None:
        """Packets come through again."""
        ip("link", "set", self.interface, "up")


@contextmanager
def silent_network(database: Database, **options: str) -> Iterator[SilentNetwork]:
    """A network for one process; `options` are libpq's, of the connection string. Needs root."""
    number = os.getpid() % 100_000
    namespace, near, far = f"silent{number}", f"near{number}", f"far{number}"
    # A network of four addresses for each process: another one may have its own meanwhile.
    network = ip_address("10.231.0.0") + 4 * (number % 16_384)
    ip("netns", "add", namespace)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
        ip("address", "add", f"{network + 1}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", namespace, "address", "add", f"{network + 2}/30", "dev", far)
        ip("-n", namespace, "link", "set", far, "up")
        with _forwarding(database, str(network + 1)) as port:
            conninfo = psycopg.conninfo.make_conninfo(database.conninfo, host=str(network + 1), port=port, **options)
            yield SilentNetwork(namespace, near, conninfo)
    finally:
        ip("netns", "delete", namespace)
        with suppress(subprocess.CalledProcessError):
            ip("link", "delete", near)


@contextmanager
def _forwarding(database: Database, near: str) -> Iterator[int]:
    """Passes connections to `near` on to the server, which listens on the loopback interface alone; the port."""
    server = psycopg.conninfo.conninfo_to_dict(database.conninfo)
    address = (str(server["host"]), int(server["port"] or 5432))
    opened: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                upstream = socket.create_connection(address)
                opened.extend((client, upstream))
                for pair in ((client, upstream), (upstream, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    with closing(socket.create_server((near, 0))) as listener:
        thread = threading.Thread(target=accept, args=[listener], daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for each in opened:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            thread.join()
