"""Which addresses are public: those that mean a private one in another notation are not."""

from __future__ import annotations

import pytest

from pgembedd.fetch.addresses import is_public

PRIVATE = (
    "127.0.0.1 0.0.0.0 10.0.0.1 100.64.0.1 169.254.169.254 224.0.0.1 ::1 :: fe80::1%1 fc00::1 fec0::1 ff02::1 ff0e::1"
    " ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::10.0.0.1 64:ff9b:1::8.8.8.8"
    " 2002:a00:1:: 2001::1 2001:db8::1"
)
PUBLIC = "8.8.8.8 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(address)
