"""The addresses of a host, and whether they are public."""

import socket
from ipaddress import IPv4Address, IPv6Network, ip_address

from pgembedd.fetch.errors import FetchError

_MOST = 4
"""Addresses of a host that are tried."""
_NAT64, _UNICAST = IPv6Network("64:ff9b::/96"), IPv6Network("2000::/3")


def addresses_of(host: str, port: int, *, private: bool) -> list[str]:
    """Returns the addresses of a host. FetchError for one that has none, or one that is not public, unless `private`.

    One that is not public refuses the host: what a name means may change between two looks, so what is returned here
    is what is to be connected to.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        known = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        raise FetchError(f"The host {host} has no address.", permanent=not known) from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not private and not all(map(is_public, addresses)):
        raise FetchError(
            f"The host {host} has a private address: a worker fetches from it where PGEMBEDD_URIS names the host."
        )
    return addresses[:_MOST]


def is_public(address: str) -> bool:
    """Tells whether an address is one of the public internet; of one that stands for an IPv4 address, whether that is.

    Of IPv6 that is what is given out to it (RFC 4291), and not what was before, or reaches IPv4 by another prefix.
    """
    one = ip_address(address)
    if isinstance(one, IPv4Address):
        return one.is_global and not one.is_multicast
    within = one.ipv4_mapped or one.sixtofour or (IPv4Address(int(one) & 0xFFFFFFFF) if one in _NAT64 else None)
    return one in _UNICAST and one.is_global if within is None else is_public(str(within))
