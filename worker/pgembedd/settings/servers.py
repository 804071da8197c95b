"""Another server: whether a URL names one, which certificates it needs, why it failed, when it may be asked again."""

import os
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from math import ceil
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from urllib.parse import SplitResult, urlsplit

from pgembedd.errors import ConfigurationError

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


def certificates(url: str) -> SSLContext:
    """Returns the authorities of the system, or those that SSL_CERT_FILE or SSL_CERT_DIR names; none unless for https.

    ConfigurationError for files that cannot be read.
    """
    if not url.casefold().startswith("https:"):
        return _no_certificates()
    return _certificates(*map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR")))


@cache
def _no_certificates() -> SSLContext:
    return SSLContext(PROTOCOL_TLS_CLIENT)


@cache
def _certificates(*_: str | None) -> SSLContext:
    """Returns those that these variables name, which take 30 ms to read."""
    import httpx2

    try:
        return httpx2.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {error.strerror}."
        ) from error


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
