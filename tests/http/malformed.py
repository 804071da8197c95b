"""Requests that no client should send, the same ones every time."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.http import TOKEN

SECRET = "a-text-that-is-nobody-elses"
"""Stands in bodies, paths and headers: no log and no answer may hold it."""

PATHS = [
    "/embed",
    "/v1/embeddings",
    "/api/v1/retry",
    "/functions/v1/embed",
    "/webhooks/database",
    "/retry",
    "/api/v1/search",
]
FIELDS = ["input", "model", "pipeline", "kind", "mean_pool", "normalize", "truncate", "dimensions", "encoding_format",
          "jobId", "id", "schema", "table", "type", "record", "old_record", "queue", "readCt"]  # fmt: skip
VALUES = ["1e999", "-1", "1" * 400, "1" * 5000, "null", "true", "[]", "{}", '""', '"\\u0000"', '"\\ud800"', '[["x"]]',
          "NaN", "-Infinity", "[1e400]", "[-1]", "[9999999999999999999]", '{"a":1}', f'"{SECRET}"', "[true]", "0.5",
          "[" * 500 + "]" * 500, "[null]", '["x",[1]]', '"' + "y" * 3000 + '"', "[[],[]]"]  # fmt: skip


@dataclass(frozen=True)
class Malformed:
    """Bytes for a connection. `ends`: the client ends its half at once, so no answer needs to come.

    `legal`: a server may find nothing wrong with it, which fails nothing.
    """

    kind: str
    data: bytes
    ends: bool = False
    legal: bool = False


def head(line: str, *headers: str) -> bytes:
    """A request up to its body, with a token that may do everything."""
    return "\r\n".join([line, "Host: localhost", f"Authorization: Bearer {TOKEN}", *headers, "", ""]).encode("latin-1")


def posted(path: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A POST that is well formed but for what is in it."""
    return head(f"POST {path} HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers) + body


def request_line(r: random.Random) -> Malformed:
    lines = [
        "GET", "GET /", "/embed HTTP/1.1", " GET / HTTP/1.1", "GET / HTTP/9.9", "GET / HTTP/1.1 x",
        "GET\t/\tHTTP/1.1", "G\x00T / HTTP/1.1", "GET / http/1.1", "get / HTTP/1.1", "GET // HTTP/0.9",
        f"{SECRET} / HTTP/1.1", "GET / HTTP/", "GET http:// HTTP/1.1", "CONNECT x HTTP/1.1", "GET \x01 HTTP/1.1",
        "GET x HTTP/1.1", "*** * HTTP/1.1", "{}", "GET / HTTP/1.1\rX", "\x16\x03\x01\x02", "PRI * HTTP/2.0\r\n\r\nSM",
        "GET / RTSP/1.0", "M-SEARCH",
    ]  # fmt: skip
    return Malformed("request line", head(r.choice(lines)), ends=True)


def method(r: random.Random) -> Malformed:
    name = r.choice(["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "LOCK", "HEAD", "PURGE", "M-SEARCH"])
    return Malformed("method", head(f"{name} {r.choice(PATHS[:5])} HTTP/1.1"))


def header(r: random.Random) -> Malformed:
    lines = ["X", "X : y", ": y", "X\x00: y", "X: \x00", "X: a\rb", "(x): y", "X y: z", "\x7f: x", "X: y\r\n folded",
             f"X-{SECRET} : 1", "Host: other", "Host: a\r\nHost: b", "X: \x01"]  # fmt: skip
    return Malformed("header", head("POST /embed HTTP/1.1", r.choice(lines), "Content-Length: 0"), legal=True)


def giant(r: random.Random) -> Malformed:
    size = r.choice([70_000, 100_000])
    one = [f"X: {SECRET * (size // len(SECRET))}"]
    many = [f"X-{number}: {SECRET}" for number in range(size // 30)]
    if r.random() < 0.3:
        return Malformed("giant", head(f"GET /embed?input={'x' * size} HTTP/1.1"))
    return Malformed("giant", head("GET /livez HTTP/1.1", *r.choice([one, many])))


def length(r: random.Random) -> Malformed:
    value = r.choice(
        ["-1", "+13", "0x0d", "13, 14", "1e1", "", " ", "9" * 30, "13\r\nContent-Length: 14", "\u00b2", "99999999"]
    )
    data = (
        head("POST /embed HTTP/1.1", "Content-Type: application/json", f"Content-Length: {value}") + b'{"input": "x"}'
    )
    return Malformed("length", data)


def smuggling(r: random.Random) -> Malformed:
    coding = r.choice([
        "chunked", "Chunked", "identity, chunked", "chunked, identity", "xchunked", " chunked",
        "chunked\r\nTransfer-Encoding: x",
    ])  # fmt: skip
    data = head(
        "POST /embed HTTP/1.1", "Content-Type: application/json", "Content-Length: 4", f"Transfer-Encoding: {coding}"
    )
    return Malformed("smuggling", data + b"5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n")


def chunks(r: random.Random) -> Malformed:
    body = r.choice([
        b"zz\r\nx\r\n0\r\n\r\n", b"-1\r\n\r\n", b"ffffffffffffffffff\r\nx", b"5\r\nabc\r\n0\r\n\r\n", b"3\r\nabcde",
        b"\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"3;" + b"e" * 80_000 + b"\r\nabc\r\n", b"1\nx\n0\n\n",
        b"0\r\n" + b"T: t\r\n" * 20_000,
    ])  # fmt: skip
    begin = head("POST /embed HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked")
    return Malformed("chunks", begin + body, ends=True)


def truncated(r: random.Random) -> Malformed:
    whole = posted(r.choice(PATHS), b'{"input": "' + SECRET.encode() + b'"}')
    return Malformed("truncated", whole[: r.randrange(1, len(whole))], ends=True)


def pipelined(r: random.Random) -> Malformed:
    bad = posted("/embed", b"{") * r.randrange(2, 20)
    return Malformed("pipelined", bad + r.choice([b"", b"\x00" * 50, b"GET", head("GET / HTTP/7")]))


def noise(r: random.Random) -> Malformed:
    return Malformed("noise", r.randbytes(r.randrange(0, 300)), ends=True)


def mutated(r: random.Random) -> Malformed:
    data = bytearray(posted(r.choice(PATHS), b'{"input": 5, "x": "' + SECRET.encode() + b'"}'))
    for _ in range(r.randrange(1, 6)):
        data[r.randrange(len(data))] = r.randrange(256)
    return Malformed("mutated", bytes(data), ends=True, legal=True)


def not_json(r: random.Random) -> Malformed:
    body = r.choice([
        b"{", b"\xff\xfe\x00", b'{"input": "\xc3\x28"}', b"[" * r.choice([10, 100_000]), b"{\"a\":" * 50_000, b"'x'",
        b"", b'{"input": "x",}', b"\x00", b'{"input": "a\nb"}', b"<x/>", b'{"input": ' + b"1" * 5000 + b"}",
        b'"\\u12"', b"nul", b'{"input": "x"} {}', SECRET.encode(),
    ])  # fmt: skip
    return Malformed("not JSON", posted(r.choice(PATHS), body))


def wrong_shape(r: random.Random) -> Malformed:
    fields = [f'"{r.choice([*FIELDS, SECRET])}": {r.choice(VALUES)}' for _ in range(r.randrange(0, 4))]
    body = "{" + ", ".join(fields) + "}" if r.random() < 0.9 else r.choice(VALUES)
    return Malformed("wrong shape", posted(r.choice(PATHS[:5]), body.encode()), legal=True)


def wrong_kind(r: random.Random) -> Malformed:
    body = b'{"input": "' + SECRET.encode() + b'"}'
    if r.random() < 0.5:
        return Malformed(
            "coded", posted("/embed", zlib.compress(body), f"Content-Encoding: {r.choice(['gzip', 'br', 'x'])}")
        )
    kind = r.choice(
        ["text/plain", "", "application/x-www-form-urlencoded", "json", "application/json2", "\xff", "a/" * 500]
    )
    return Malformed("wrong kind", posted("/embed", body, kind=kind))


def form(r: random.Random) -> Malformed:
    body = r.choice(
        [
            b"token=%ff",
            b"&" * 500,
            b"a=1&" * 1000,
            b"pipeline=\xff",
            b"token=" + SECRET.encode(),
            b"%" * 100,
            b"text=%00",
        ]
    )
    path = r.choice(["/retry", "/hits"])
    return Malformed(
        "form",
        posted(path, body, kind=r.choice(["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])),
    )


def path(r: random.Random) -> Malformed:
    paths = [
        "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/embed%00", "/%ff%fe", "/%", "/%zz", "//",
        "/embed/", "/" + "a" * 9000, "/v1/models/%2e%2e", "/v1/models/" + "%ff" * 2000, f"/{SECRET}",
        "/embed?input=%00%ff", "/embed", "/embed?" + "a=1&" * 5000, "*", "/embed?input=" + "%20" * 50,
        "/embed?model=%ff&input=x", "/?page=9999999999999999999999", "/dead-letters?pipeline=%00",
        "/dead-letters?page=-1",
        "/api/v1/events?event=%00", "/v1/models/%0d%0aX-Injected:%201", "http://[::1/embed", "/\\embed", "/;/embed",
        "/page.css/..", "/static/../auth.py", "/\xff", "/?retried=x",
    ]  # fmt: skip
    return Malformed("path", head(f"GET {r.choice(paths)} HTTP/1.1"), legal=True)


def token(r: random.Random) -> Malformed:
    given = r.choice(
        [
            "",
            "Bearer",
            "Bearer ",
            f"Bearer {SECRET}",
            "Basic eDp5",
            "Bearer \xff\xff",
            "Bearer " + "x" * 9000,
            "Bearer a b c",
            TOKEN,
        ]
    )
    data = f"POST /embed HTTP/1.1\r\nHost: localhost\r\nAuthorization: {given}\r\nContent-Length: 13\r\n\r\n"
    return Malformed("token", data.encode("latin-1") + b'{"input":"x"}')


def other_protocol(r: random.Random) -> Malformed:
    tls = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + r.randbytes(80)
    frame = struct.pack(">I", 9)[1:] + b"\x04\x00\x00\x00\x00\x00" + r.randbytes(9)
    postgres = struct.pack(">II", 8, 80877103)
    return Malformed(
        "other protocol",
        r.choice(
            [
                tls,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame,
                postgres,
                b"GET /\r\n",
                b"SSH-2.0-x\r\n",
                b"*1\r\n$4\r\nPING\r\n",
            ]
        ),
        ends=True,
    )


KINDS: list[Callable[[random.Random], Malformed]] = [
    request_line, method, header, giant, length, smuggling, chunks, truncated, pipelined, noise, mutated, not_json,
    wrong_shape, wrong_shape, wrong_shape, wrong_kind, form, path, path, token, other_protocol,
]  # fmt: skip


def malformed(count: int, seed: int = 10) -> Iterator[Malformed]:
    """So many, of every kind in turn."""
    r = random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](r)
