"""Clients that are slow, silent, or gone take nothing from the others."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from pgembedd.http import server
from pgembedd.http.middleware import connection_limits
from pgembedd.http.middleware.connection_limits import HEAD_BUFFER_BYTES
from pgembedd.model import Session
from tests.http.raw import connected, open_files, post, refusal, rest, whole_answer
from tests.support.embedders import Gate, Wrapped, only
from tests.support.http import TOKEN, serving
from tests.support.waiting import PATIENCE_S, eventually


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little patience with those that do not send."""
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_S", 0.2)


def test_who_says_nothing_is_left(brief: None, model: Session) -> None:
    with serving(only(model)) as client, connected(client) as connection:
        assert rest(connection) == b""


@pytest.mark.parametrize("head", [b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", b"\r\n\r\n"], ids=["head", "lines"])
def test_a_head_that_does_not_end_is_refused(model: Session, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """Empty lines are no sign of life. As the second of a connection: the time begins with its first bytes."""
    with serving(only(model)) as client, connected(client) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert whole_answer(connection).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_S", 0.2)
        connection.sendall(head)

        assert refusal(rest(connection)) == (408, "too_slow")


def test_a_body_that_does_not_end_is_refused(model: Session) -> None:
    with serving(only(model), http_timeout_s=0.2) as client, connected(client) as connection:
        connection.sendall(post("/embed", b'{"input": ', length=100))

        assert refusal(rest(connection)) == (408, "too_slow")


def test_half_a_body_is_not_embedded(model: Session) -> None:
    seen: list[str] = []
    with serving(only(Wrapped(model, on_start=seen.extend))) as client:
        with connected(client) as connection:
            connection.sendall(post("/embed", b'{"input": "half"}', length=100))
        client.post("/embed", json={"input": "whole"})

    assert seen == ["whole"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets by /proc")
def test_who_does_not_read_is_cut_off(model: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "UNREAD_TIMEOUT_S", 0.2)
    matrices = b'{"input": ["' + b'", "'.join(b"word " * 256 for _ in range(12)) + b'"], "mean_pool": false}'
    with serving(only(model)) as client:
        before = open_files()
        with connected(client, receive_bytes=4096) as connection:
            connection.sendall(post("/embed", matrices))
            assert connection.recv(12) == b"HTTP/1.1 200"

            eventually(lambda: open_files() <= before + 1)  # the client's own end


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets by /proc")
def test_connections_that_somebody_opens_and_leaves_keep_nobody_out(
    model: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "HEAD_TIMEOUT_S", 600)  # so that they end for no other reason
    with serving(only(model), http_max_connections=20) as client, ExitStack() as opened:
        before = open_files()
        for _ in range(100):
            opened.enter_context(connected(client)).sendall(b"POST /embed HTTP/1.1\r\n")

        for _ in range(5):
            assert client.post("/embed", json={"input": "x"}, headers={"connection": "close"}).status_code == 200
        eventually(lambda: open_files() <= before + 100 + 20)  # the clients' ends, and ours


def third(client: httpx.Client) -> tuple[int, str]:
    with connected(client) as connection:
        connection.settimeout(0.5)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = connection.recv(65_536)
        except TimeoutError:
            return 0, ""
        if answer.startswith(b"HTTP/1.1 200"):  # one of the others has not begun to work
            return 200, ""
        connection.settimeout(PATIENCE_S)  # for the rest of an answer that has begun
        assert b"\r\nretry-after: 1\r\n" in answer
        return refusal(answer + rest(connection))


def test_where_all_connections_are_at_work_another_one_is_told_to_wait(model: Session) -> None:
    gate = Gate()
    with (
        serving(only(Wrapped(model, on_result=gate)), http_max_connections=2) as client,
        connected(client) as one,
        connected(client) as two,
    ):
        for connection in (one, two):
            connection.sendall(post("/embed", b'{"input": "x"}'))
        assert gate.reached.wait(60)

        eventually(lambda: third(client) == (503, "too_many_connections"))
        gate.open()
        assert one.recv(12) == two.recv(12) == b"HTTP/1.1 200"


def test_a_strangers_body_is_not_waited_for(model: Session) -> None:
    with serving(only(model), http_token=TOKEN) as client, connected(client) as connection:
        connection.sendall(post("/embed", b'{"input": ', length=1_000_000))

        assert whole_answer(connection).startswith(b"HTTP/1.1 401")


def test_a_head_without_an_end_is_not_kept(model: Session) -> None:
    with serving(only(model)) as client, connected(client) as connection:
        with suppress(ConnectionError):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 2 * HEAD_BUFFER_BYTES)

        assert connection.recv(12) == b"HTTP/1.1 431"
