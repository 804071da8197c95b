"""The addresses of a host, and whether they are public."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from pgembedd.fetch.errors import FetchError

_MOST = 4
"""Addresses of a host that are tried."""
_NAT64 = IPv6Network("64:ff9b::/96")


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
    """Tells whether an address is one of the public internet, also by way of the IPv4 address within it."""
    one = ip_address(address)
    return all(each.is_global and not each.is_multicast for each in (one, *_embedded(one)))


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in inner if each is not None]
