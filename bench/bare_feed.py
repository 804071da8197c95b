"""The least that shows the deltas of answers, by the steps of bench.answers: `python -m bench.bare_feed STEP PORT`.

It hears of each delta with the rights of DATABASE_URL, reads it with those of PGEMBEDD_SEARCH_URL, and makes the event
that a viewer is sent: in one thread, or in a second one, or in a second one that hands it to a third one, with an event
loop, which sends it to one viewer over HTTP.
"""

import asyncio
import json
import os
import select
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import NoReturn

import psycopg

from pgembedd.database.queries import query
from pgembedd.database.text_rows import text_rows
from pgembedd.http.streams.sse import frame

ONE_THREAD, TWO_THREADS, HTTP = STEPS = "one thread", "two threads", "HTTP"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def notices(connection: psycopg.Connection) -> Iterator[str]:
    """Yields the payload of each NOTIFY."""
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    while readable.poll():
        connection.pgconn.consume_input()
        while notice := connection.pgconn.notifies():
            yield notice.extra.decode()


class Feed:
    """The events of answers, each read once. `show` takes them as a viewer is sent them."""

    def __init__(self, show: Callable[[bytes], object]) -> None:
        self._hearing = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        self._reading = psycopg.connect(os.environ["PGEMBEDD_SEARCH_URL"], autocommit=True)
        self._hearing.execute("listen pgembedd_answers")
        self._read, self._show = defaultdict[str, int](int), show

    def heard(self) -> Iterator[str]:
        """Yields the answer of each event."""
        return notices(self._hearing)

    def handed_on(self) -> Iterator[str]:
        """Yields the same, which another thread hears."""
        told: SimpleQueue[str] = SimpleQueue()

        def hear() -> None:
            for answer in self.heard():
                told.put(answer)

        threading.Thread(target=hear, daemon=True).start()
        while True:
            yield told.get()

    def run(self, answers: Iterator[str]) -> None:
        """Reads what is new of each answer."""
        for answer in answers:
            values = {"answers": f"{{{answer}}}", "after": f"{{{self._read[answer]}}}"}
            if found := text_rows(self._reading, query("answer_events"), values):
                self._read[answer] = int(found[-1][1])
                self._show(b"".join([frame(json.loads(data), event, int(seq)) for _, seq, event, data in found]))


async def serve(port: int) -> NoReturn:
    """Sends what is read to one viewer; what happened before it came, with the first event."""
    loop, shown, viewers = asyncio.get_running_loop(), bytearray(), list[asyncio.StreamWriter]()

    def send(part: bytes) -> None:
        shown.extend(part)
        for viewer in viewers:
            viewer.write(b"%x\r\n%b\r\n" % (len(shown), bytes(shown)))
            shown.clear()

    async def view(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        viewers[:] = [writer]
        send(b"")

    feed = Feed(lambda part: loop.call_soon_threadsafe(send, part))
    threading.Thread(target=lambda: feed.run(feed.handed_on()), daemon=True).start()
    async with await asyncio.start_server(view, "127.0.0.1", port) as server:
        await server.serve_forever()
    raise AssertionError


def main(step: str, port: int) -> None:
    """Runs until it is killed; it listens on the port once it hears."""
    if step == HTTP:
        asyncio.run(serve(port))
    feed = Feed(len)
    with socket.create_server(("127.0.0.1", port)):
        feed.run(feed.heard() if step == ONE_THREAD else feed.handed_on())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
