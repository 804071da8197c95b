"""The public keys of users' tokens, read from a server: rotated, revoked, away, and of another issuer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pgembedd.http.auth import user_tokens
from pgembedd.http.auth.user_tokens import UserTokens
from tests.support.servers.stand_in import Answer, Cut, StandIn, json_answer
from tests.support.waiting import eventually

ONE, TWO, FOREIGN = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


def key_set(**keys: ec.EllipticCurvePrivateKey) -> Answer:
    """The issuer's answer: the public keys, by their ids."""
    public = {name: jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) for name, key in keys.items()}
    return json_answer({"keys": [{**key, "kid": name, "alg": "ES256"} for name, key in public.items()]})


def token_of(key: ec.EllipticCurvePrivateKey, kid: str) -> str:
    """A user's token."""
    return jwt.encode({"sub": "ann", "exp": int(time.time()) + 600}, key, "ES256", headers={"kid": kid})


@pytest.fixture
def issuer() -> Iterator[StandIn]:
    with StandIn(lambda _: key_set(one=ONE)).running() as running:
        yield running


@pytest.fixture
def tokens(issuer: StandIn, monkeypatch: pytest.MonkeyPatch) -> UserTokens:
    """Verifies with the issuer's keys, which it has read once, and reads again at once where it asks again."""
    monkeypatch.setattr(user_tokens, "REFRESH_EVERY_S", 0.0)
    made = UserTokens("", f"{issuer.url}/auth/v1/.well-known/jwks.json", "")
    eventually(lambda: made.claims(token_of(ONE, "one")))
    return made


def test_a_rotated_key_is_read_when_a_token_names_it(issuer: StandIn, tokens: UserTokens) -> None:
    issuer.answer = lambda _: key_set(one=ONE, two=TWO)
    assert tokens.claims(token_of(TWO, "two")) is None, "no request waits for the issuer"
    eventually(lambda: tokens.claims(token_of(TWO, "two")))
    assert tokens.claims(token_of(ONE, "one")) is not None
    assert {received.path for received in issuer.received} == {"/auth/v1/.well-known/jwks.json"}


def test_a_revoked_key_ends_with_the_age_of_the_keys(
    issuer: StandIn, tokens: UserTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.answer = lambda _: key_set(two=TWO)
    assert tokens.claims(token_of(ONE, "one")) is not None
    monkeypatch.setattr(user_tokens, "MAX_AGE_S", 0.0)
    eventually(lambda: tokens.claims(token_of(ONE, "one")) is None)
    assert tokens.claims(token_of(TWO, "two")) is not None


def test_a_key_of_another_issuer_is_refused(issuer: StandIn, tokens: UserTokens) -> None:
    assert tokens.claims(token_of(FOREIGN, "one")) is None
    asked = len(issuer.received)
    assert tokens.claims(token_of(FOREIGN, "another")) is None
    eventually(lambda: len(issuer.received) > asked)
    assert tokens.claims(token_of(FOREIGN, "another")) is None


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({}, 500),
        json_answer([]),
        json_answer({"keys": 1}),
        json_answer({"keys": []}),
        json_answer({"keys": ["one"]}),
        Answer(parts=[b"<html>"]),
        Answer(parts=[b"\xff\xfe\xff"]),
        Answer(parts=[b'{"keys": [', Cut()]),
    ],
    ids=["500", "list", "number", "empty", "text", "html", "binary", "cut"],
)
def test_an_issuer_that_answers_nonsense_keeps_the_last_keys(
    issuer: StandIn, tokens: UserTokens, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[Any] = []
    monkeypatch.setattr(user_tokens, "get_logger", lambda: Log(warned))
    issuer.answer = lambda _: answer
    assert tokens.claims(token_of(TWO, "two")) is None
    eventually(lambda: warned)
    assert warned[0]["url"].endswith("/jwks.json")
    assert tokens.claims(token_of(ONE, "one")) is not None
    issuer.answer = lambda _: key_set(two=TWO)
    eventually(lambda: tokens.claims(token_of(TWO, "two")))


def test_an_issuer_that_is_down_when_the_service_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_tokens, "REFRESH_EVERY_S", 0.0)
    with StandIn(lambda _: key_set(one=ONE)).running() as gone:
        url = gone.url
    warned: list[Any] = []
    monkeypatch.setattr(user_tokens, "get_logger", lambda: Log(warned))
    tokens = UserTokens("", url, "")
    eventually(lambda: warned)
    assert "Connection refused" in warned[0]["error"]
    assert tokens.claims(token_of(ONE, "one")) is None


class Log:
    """Keeps the fields of warnings."""

    def __init__(self, kept: list[Any]) -> None:
        self._kept = kept

    def warning(self, event: str, **fields: Any) -> None:
        """Keeps one."""
        assert event == "jwks_unavailable"
        self._kept.append(fields)
