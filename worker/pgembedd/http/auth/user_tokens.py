"""JSON Web Tokens of an application's users, verified with a shared secret or with the issuer's public keys."""

import json
import threading
import time
from http.client import HTTPException
from typing import Any
from urllib.request import urlopen

import jwt

from pgembedd.errors import ConfigurationError
from pgembedd.log import get_logger
from pgembedd.settings import HttpSettings
from pgembedd.settings.files import read_format
from pgembedd.settings.limits import KEYS_BYTES

MIN_SECRET_BYTES = 32
REFRESH_EVERY_S = 30.0
MAX_AGE_S = 600.0
"""Of the keys of a URL: a token after that reads them again, so that a key which was taken away ends."""
FETCH_TIMEOUT_S = 5.0
_LEEWAY_S = 10  # between the issuer's clock and ours
_PUBLIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class UserTokens:
    """Verifies JWTs: HS256 with the secret, other algorithms with the keys of the JWKS. Never waits for a network."""

    def __init__(self, secret: str, jwks: str, audience: str) -> None:
        """`jwks` is a URL or the path of a file; `audience` must be in `aud`, "" for any.

        ConfigurationError for a secret that is too short, and for a file that cannot be read.
        """
        if secret and len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"PGEMBEDD_HTTP_JWT_SECRET must have {MIN_SECRET_BYTES} bytes or more.")
        self._secret, self._audience = secret, audience or None
        self._url = jwks if jwks.startswith(("https://", "http://")) else None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._refreshed_at, self._lock = float("-inf"), threading.Lock()
        if jwks and self._url is None:
            self._keys = _keys(read_format(jwks, "PGEMBEDD_HTTP_JWKS", "JSON", json.loads))
        self._refresh()

    def claims(self, token: str) -> dict[str, Any] | None:
        """Returns the claims of a token that is verified and has not expired, else None."""
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") == "HS256":
                return self._decoded(token, self._secret, ["HS256"]) if self._secret else None
            key = self._keys.get(header.get("kid"))
            self._refresh(REFRESH_EVERY_S if key is None else MAX_AGE_S)
            if key is None:
                return None
            return self._decoded(token, key, _PUBLIC)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None

    def _decoded(self, token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        options: Any = {"require": ["exp"], "verify_aud": self._audience is not None}
        return jwt.decode(token, key, algorithms, options=options, audience=self._audience, leeway=_LEEWAY_S)

    def _refresh(self, max_age_s: float = 0.0) -> None:
        """Reads the keys of a URL in a thread, unless that was done a moment ago."""
        with self._lock:
            if self._url is None or time.monotonic() < self._refreshed_at + max_age_s:
                return
            self._refreshed_at = time.monotonic()
        threading.Thread(target=self._fetch, args=[self._url], name="jwks", daemon=True).start()

    def _fetch(self, url: str) -> None:
        try:
            self._keys = _keys(json.loads(_fetched(url)))
        except (jwt.PyJWTError, ConfigurationError, HTTPException, OSError, ValueError) as error:
            get_logger().warning("jwks_unavailable", url=url, error=str(error))


def user_tokens(settings: HttpSettings) -> UserTokens | None:
    """Returns what verifies JWTs, None where the settings name neither a secret nor keys."""
    if not settings.http_jwt_secret and not settings.http_jwks:
        return None
    return UserTokens(settings.http_jwt_secret, settings.http_jwks, settings.http_jwt_audience)


def _fetched(url: str) -> bytes:
    with urlopen(url, timeout=FETCH_TIMEOUT_S) as response:
        document: bytes = response.read(KEYS_BYTES + 1)
    if len(document) > KEYS_BYTES:
        raise ConfigurationError(f"The key set has more than {KEYS_BYTES} bytes.")
    return document


def _keys(document: Any) -> dict[str | None, jwt.PyJWK]:
    """Returns the public keys by their id; a secret among them is ignored."""
    try:
        found = jwt.PyJWKSet.from_dict(document).keys
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            "PGEMBEDD_HTTP_JWKS names no key set: it is an object with an array `keys`."
        ) from error
    return {key.key_id: key for key in found if key.key_type != "oct"}
