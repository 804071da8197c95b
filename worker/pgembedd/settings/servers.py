"""Tells of another server whether it is on this machine, and when it may be asked again."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from math import ceil

LONGEST_DELAY_S = 3_600


def is_loopback(host: str) -> bool:
    """Tells that an address or a name means this machine alone, as `localhost` and all names below it do (RFC 6761)."""
    name = host.strip("[]").rstrip(".").casefold()
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Returns the delay that Retry-After gives, in seconds or as a date (RFC 9110), an hour at most; else None."""
    given = headers.get("retry-after", "")
    try:
        delay_s = float(given)
    except ValueError:
        try:
            delay_s = parsedate_to_datetime(given).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return ceil(min(max(delay_s, 0.0), LONGEST_DELAY_S)) if delay_s == delay_s else None
