"""A relay between a client and a server that puts faults in: what it is told to answer instead of the server."""

from __future__ import annotations

from collections import deque

import httpx

from tests.support.servers.stand_in import Answer, Received, StandIn


class FaultInjectingRelay(StandIn):
    """Passes requests on to `upstream` and its answers back; each of `faults` is one answer, given instead."""

    def __init__(self, upstream: httpx.Client) -> None:
        super().__init__(self._relay)
        self._upstream = upstream
        self.faults: deque[Answer] = deque()

    def _relay(self, asked: Received) -> Answer:
        if self.faults:
            return self.faults.popleft()
        answer = self._upstream.request(asked.method, asked.path, json=asked.body)
        return Answer(answer.status_code, {"content-type": answer.headers["content-type"]}, [answer.content])
