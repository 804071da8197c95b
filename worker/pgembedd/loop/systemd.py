"""Reports the state of the worker to systemd: sd_notify(3) is one datagram, so it needs no library."""

import os
import socket

from pgembedd.log import get_logger


def notify_systemd(state: str) -> None:
    """Sends `READY=1`, `WATCHDOG=1` or `STOPPING=1`; nothing where systemd did not ask for it.

    A missing socket (a container may inherit the variable) is logged and does not stop the worker.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # a socket in Linux's abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError as error:
        get_logger().debug("systemd_not_told", state=state, error=error.strerror)
