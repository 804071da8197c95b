"""Names and addresses of this machine, and how long a server asks its clients to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pgembedd.settings.servers import LONGEST_DELAY_S, is_loopback, retry_after_s

HERE = ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LocalHost.", "app.localhost"]
ELSEWHERE = [
    "",
    "0.0.0.0",
    "::",
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "localhost.example.org",
    "notlocalhost",
    "127.0.0.1.nip",
]


@pytest.mark.parametrize("host", HERE)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_another_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("given", "delay_s"),
    [("0", 0), ("7", 7), ("0.2", 1), ("-5", 0), ("3000000000", LONGEST_DELAY_S), ("inf", LONGEST_DELAY_S)]
    + [(said, None) for said in ("", "soon", "nan", "Mon, 99 Jan 2035 00:00:00 GMT")],
)
def test_a_delay_in_seconds(given: str, delay_s: int | None) -> None:
    assert retry_after_s({"retry-after": given}) == delay_s


def test_a_delay_until_a_date() -> None:
    now = datetime.now(UTC)
    assert retry_after_s({"retry-after": format_datetime(now - timedelta(days=1), usegmt=True)}) == 0
    assert retry_after_s({"retry-after": format_datetime(now + timedelta(days=1), usegmt=True)}) == LONGEST_DELAY_S
    until = retry_after_s({"retry-after": format_datetime(now + timedelta(minutes=30), usegmt=True)})
    assert until is not None
    assert 0 < until <= 1800


def test_no_delay() -> None:
    assert retry_after_s({}) is None
