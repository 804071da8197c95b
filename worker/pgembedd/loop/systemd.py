"""Tells systemd how the worker is: sd_notify(3) is one datagram, so it needs no library."""

import os
import socket

from pgembedd.log import get_logger


def notify_systemd(state: str) -> None:
    """Send `READY=1`, `WATCHDOG=1` or `STOPPING=1`; nothing where systemd did not ask for it.

    A socket that is gone (a container may inherit the variable) does not stop the work; it is logged.
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
