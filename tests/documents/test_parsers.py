"""Files are parsed in other processes, which may end at any time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from contextlib import closing, suppress
from dataclasses import replace
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import pytest

from pgembedd.documents import errors
from pgembedd.documents.confinement import landlock_version
from pgembedd.documents.document import Page
from pgembedd.documents.parsers import Limits, ParserEndedError, Parsers, UnreadableFile
from pgembedd.errors import ConfigurationError
from tests.documents.files import docx, paragraph, xlsx
from tests.support.waiting import eventually

FILE = b"# Birds\n\nThe swift sleeps in flight.\n"
PAGE = Page(1, (), "# Birds\n\nThe swift sleeps in flight.")


def children() -> list[int]:
    """The processes of this one that parse files."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # of a thread that ended meanwhile
            found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if b"pgembedd.documents.child" in command_line(pid)]


def command_line(pid: int) -> bytes:
    """That of a process; nothing for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def stop(pid: int) -> None:
    """Stops a process where it is: what it is given from now on stays undone."""
    os.kill(pid, signal.SIGSTOP)


@pytest.fixture
def alone() -> Iterator[Parsers]:
    """A pool of one process, which has parsed a file."""
    with closing(Parsers(processes=1, limits=Limits(timeout_s=60, memory_mb=256, file_max_mb=8))) as parsers:
        assert parsers.submit(FILE).result().pages == (PAGE,)
        yield parsers


def test_a_process_is_used_again(alone: Parsers) -> None:
    before = children()
    assert [alone.submit(FILE).result().pages for _ in range(3)] == [(PAGE,)] * 3
    assert children() == before


def test_a_file_whose_process_is_killed_in_the_midst_is_parsed_by_another(alone: Parsers) -> None:
    (pid,) = children()
    stop(pid)
    pending = alone.submit(FILE)
    os.kill(pid, signal.SIGKILL)

    assert pending.result().pages == (PAGE,)
    assert pid not in children()


def test_a_file_that_ends_each_process_is_unreadable_for_now_and_its_neighbours_are_not(alone: Parsers) -> None:
    stop(children()[0])
    pending, neighbour = alone.submit(b"x" * 8_000_000), alone.submit(FILE)
    ended: set[int] = set()
    while len(ended) < 2:
        for pid in set(children()) - ended:
            stop(pid)
            os.kill(pid, signal.SIGKILL)
            ended.add(pid)

    with pytest.raises(
        ParserEndedError, match=r"ended \(SIGKILL\): the file is damaged, or needs more than PGEMBEDD_PARSE_M"
    ):
        pending.result()
    assert neighbour.result().pages == (PAGE,)


def test_a_file_that_takes_too_long_is_unreadable(alone: Parsers) -> None:
    (process,) = alone._idle
    process._limits = replace(process._limits, timeout_s=0.1)
    stop(children()[0])

    with pytest.raises(UnreadableFile, match=r"not parsed within 0\.1 seconds \(PGEMBEDD_PARSE_TIMEOUT_S\)"):
        alone.submit(FILE).result()
    assert alone.submit(FILE).result().pages == (PAGE,)


def test_an_answer_that_is_no_document_is_that_of_no_file(alone: Parsers) -> None:
    """As of a process that a file took over; the file is then parsed by another one."""
    (process,) = alone._idle
    process._answers.close()
    process._answers = BytesIO((2).to_bytes(8) + b"[]")

    assert alone.submit(FILE).result().pages == (PAGE,)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(xlsx({"A": [["a", "b"], ["x" * 20_000_000, "y"]]}), id="library"),
        pytest.param(("\U0001f426" + "bird " * 1_000_000).encode(), id="ours"),
    ],
)
def test_a_file_that_needs_too_much_memory_is_unreadable(file: bytes) -> None:
    with closing(Parsers(processes=1, limits=Limits(timeout_s=60, memory_mb=64, file_max_mb=32))) as parsers:
        with pytest.raises(UnreadableFile, match=r"PGEMBEDD_PARSE_MEMORY_MB \(64\)"):
            parsers.submit(file).result()
        assert parsers.submit(FILE).result().pages == (PAGE,)


def test_an_attachment_that_needs_too_much_memory_is_not_left_out() -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Of birds", "ada@example.org"
    message.set_content("See below.")
    message.add_attachment(docx(paragraph("bird " * 3_000_000)), "application", "octet-stream", filename="birds.docx")
    said = r"needs more memory than PGEMBEDD_PARSE_MEMORY_MB \(128\)"
    limits = Limits(timeout_s=60, memory_mb=128, file_max_mb=32)
    with closing(Parsers(processes=1, limits=limits)) as parsers, pytest.raises(ParserEndedError, match=said):
        parsers.submit(message.as_bytes()).result()


def test_a_file_that_is_too_large_is_not_sent(parsers: Parsers) -> None:
    with pytest.raises(UnreadableFile, match=r"has 9\.0 MB, more than PGEMBEDD_FILE_MAX_MB \(8\)"):
        parsers.submit(b"a" * 9_000_000).result()


def test_closing_cancels_what_is_not_parsed_yet() -> None:
    parsers = Parsers(processes=1, limits=Limits())
    parsers.submit(FILE).result()
    stop(children()[0])
    pending = [parsers.submit(FILE) for _ in range(2)]
    eventually(lambda: pending[0].running())
    parsers.close()

    assert wait(pending, timeout=0).not_done == set()  # a worker waits for whichever is first
    for each in pending:
        with pytest.raises(CancelledError):
            each.result()
    assert children() == []


def test_the_fingerprint_names_the_libraries(parsers: Parsers) -> None:
    assert parsers.fingerprint.startswith("rendering-")
    assert "pypdfium2-" in parsers.fingerprint


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "PACKAGES", (*errors.PACKAGES, "pgembedd-nothing"))
    with pytest.raises(
        ConfigurationError, match=r"package pgembedd-nothing is missing: pip install 'pgembedd\[documents\]'"
    ):
        Parsers(processes=1, limits=Limits())


def test_a_process_has_none_of_our_variables(alone: Parsers) -> None:
    (pid,) = children()
    names = {each.split(b"=")[0] for each in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if each}
    assert names == {b"OMP_THREAD_LIMIT", b"PYTHONPATH", b"PYTHONUTF8"}


def test_a_process_has_its_limits_before_the_first_file(alone: Parsers) -> None:
    (pid,) = children()
    limits = Path(f"/proc/{pid}/limits").read_text()
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()[1:]}

    assert {name: soft[name] for name in ("Max address space", "Max file size", "Max open files", "Max processes")} == {
        **{"Max address space": "256000000", "Max file size": "0"},
        **{"Max open files": "16", "Max processes": "0"},
    }
    assert int(soft["Max cpu time"]) <= 70
    assert landlock_version() == 0 or "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()


CONFINED = """
import os, signal, socket, sys
from pgembedd.documents.confinement import confine
from pgembedd.documents.limits import Limits

def refused(attempt):
    try:
        attempt()
        return False
    except OSError:
        return True

def connect():
    with socket.socket() as one:
        one.settimeout(5)
        one.connect(("127.0.0.1", int(sys.argv[1])))

parent = os.getppid()
assert not refused(connect)
confine(Limits(memory_mb=300))
attempts = {
    "read": lambda: open("/etc/hostname").read(),
    "write": lambda: open("/tmp/pgembedd-confined", "w").write("x"),
    "connect": connect,
    "signal": lambda: os.kill(parent, 0),
}
print(*(name for name, attempt in attempts.items() if refused(attempt)))
try:
    bytearray(400_000_000)
except MemoryError:
    print("memory")
"""


def test_a_process_reads_no_file_reaches_no_network_and_no_other_process() -> None:
    """As far as the kernel can: Landlock's first version knows files, the fourth TCP, the sixth signals."""
    version = landlock_version()
    expected = {"write"} | ({"read"} if version >= 1 else set()) | ({"signal"} if version >= 6 else set())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run([sys.executable, "-c", CONFINED, port], capture_output=True, text=True, check=True)
    refused, memory = done.stdout.splitlines()

    assert memory == "memory"
    assert set(refused.split()) - {"connect"} == expected
    assert "connect" in refused or version < 4
