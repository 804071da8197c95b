"""10,000 malformed requests leave the service serving, and nothing of them behind."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from pgembedd.model import Session
from tests.http.malformed import SECRET, Malformed, malformed
from tests.http.raw import open_files
from tests.support.databases import Database
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.waiting import eventually

FIRST = 200  # after so many everything is loaded that ever will be
MOST_GROWTH_KB = 100_000


@pytest.fixture
def client(database: Database, model: Session) -> Iterator[httpx.Client]:
    with serving(only(model), database.conninfo, http_token=TOKEN) as opened:
        yield opened


def answer_to(address: tuple[str, int], request: Malformed) -> bytes:
    """What comes first, b"" where the connection ends without a word."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            connection.sendall(request.data)
            if request.ends:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before all of it was sent
        try:
            return connection.recv(65_536)
        except ConnectionResetError:
            return b""


def send_all(client: httpx.Client, requests: Iterator[Malformed]) -> Counter[str]:
    """How many of each kind were answered; every answer is a refusal."""
    address = (client.base_url.host, client.base_url.port or 0)
    answered: Counter[str] = Counter()
    for request in requests:
        answer = answer_to(address, request)
        status = answer[9:10] or b"-"
        right = status == b"4" or (request.legal and status in b"23") or (request.ends and not answer)
        assert right, (request.kind, request.data[:300], answer[:500])
        assert SECRET.encode() not in answer, (request.kind, request.data[:300], answer[:500])
        answered[request.kind] += bool(answer)
    return answered


def memory_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1000


def serves_after(client: httpx.Client, model: Session, count: int) -> None:
    requests = malformed(count)
    send_all(client, (next(requests) for _ in range(FIRST)))
    before = open_files(), threading.active_count(), memory_kb()
    answered = send_all(client, requests)

    assert client.get("/livez").status_code == 200
    vector = client.post("/embed", json={"input": "hello world"}).json()["embedding"]
    assert np.array_equal(np.float32(vector), model.embed(["hello world"], kind="query").vectors[0])
    assert len(answered) == 19
    assert sum(answered.values()) > count / 2
    eventually(lambda: open_files() <= before[0] + 5)
    assert threading.active_count() <= before[1] + 40  # the framework's pool of threads fills up
    assert memory_kb() < before[2] + MOST_GROWTH_KB


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts files and memory by /proc")
@pytest.mark.parametrize("count", [2_000, pytest.param(5_000, marks=pytest.mark.slow)])
def test_malformed_requests_leave_it_serving(
    client: httpx.Client, model: Session, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    serves_after(client, model, count)

    log = "".join(capfd.readouterr())
    assert "Traceback" not in log
    assert "error" not in log
    assert SECRET not in log
    assert TOKEN not in log
