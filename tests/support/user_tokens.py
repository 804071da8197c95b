"""Tokens of an application's users: JWTs that the service verifies."""

from __future__ import annotations

import time
from typing import Any

import jwt

SECRET = "the secret of the project's own tokens"


def signed(secret: str = SECRET, **claims: Any) -> str:
    """A user's token."""
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + 600, **claims}, secret, "HS256")
