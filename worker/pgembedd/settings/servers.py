"""Another server: whether a URL names one, whether it is on this machine, why it failed, when it may be asked again."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from math import ceil
from urllib.parse import SplitResult, urlsplit

LONGEST_DELAY_S = 3_600


def server_url(url: object) -> SplitResult | None:
    """Returns the parts of a URL of HTTP that names a server, and nothing that is asked of it; None for another one."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        named = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # a port or an address that is none
        return None
    return parts if named and not parts.query and not parts.fragment else None


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


def error_excerpt(text: str, key: str | None) -> str:
    """Returns an error's text on one line, 300 characters at most, without `key`, which the cut could have halved."""
    return " ".join((text.replace(key, "[key]") if key else text).split())[:300]
