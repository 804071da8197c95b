"""The embedded server, as people and processes meet it."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.errors import ConfigurationError
from tests.support.databases import initialized
from tests.support.owners import begin, other_process


def show(server: EmbeddedPostgres, *names: str) -> list[str]:
    with psycopg.connect(server.conninfo()) as connection:
        rows = [connection.execute("select current_setting(%s)", [name]).fetchone() for name in names]
    return [row[0] for row in rows if row is not None]


def test_it_is_utf8_and_utc_and_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    facts = show(server, "server_encoding", "timezone", "jit", "listen_addresses", "unix_socket_directories")
    assert facts == ["UTF8", "UTC", "off", "127.0.0.1", ""]
    with psycopg.connect(server.conninfo()) as connection:
        lowered = connection.execute("select lower('ÄÖ'), 'a' < 'B', to_tsvector('größe—éa')").fetchone()
    assert lowered == ("äö", False, "'größe':1 'éa':2")


def test_the_extensions_are_there(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.conninfo()) as connection:
        names = connection.execute("select name from pg_available_extensions").fetchall()
    assert {("vector",), ("pg_trgm",), ("dblink",)} <= set(names)


@pytest.mark.parametrize("password", [None, "guessed"])
def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres, password: str | None) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=server.port, user="postgres", password=password)


def test_the_password_is_kept_from_others(server: EmbeddedPostgres) -> None:
    for name in ("password", "server.log"):
        assert (server.data_dir / name).stat().st_mode & 0o777 == 0o600
    assert (server.data_dir / "cluster").stat().st_mode & 0o777 == 0o700


def test_the_log_tells_nothing_of_what_users_wrote(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute("create temp table secrets (word text check (length(word) > 99))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("insert into secrets values ('abracadabra')")
    log = (server.data_dir / "server.log").read_text()
    assert "violates check constraint" in log
    assert "abracadabra" not in log


def test_a_database_name_may_be_anything(server: EmbeddedPostgres) -> None:
    name = "a b/ü?%"
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        with psycopg.connect(server.conninfo(name)) as connection:
            assert connection.info.dbname == name
        admin.execute(f'drop database "{name}"')


@pytest.mark.slow
def test_a_second_start_finds_the_first(server: EmbeddedPostgres) -> None:
    with other_process(server.data_dir) as other:
        assert other.facts == {"owned": False, "pid": server.pid, "conninfo": server.conninfo()}
    assert server.owned
    assert server.running()  # the other one's end did not stop it
    with pytest.raises(ConfigurationError, match="does not own"):
        EmbeddedPostgres(server.data_dir).kill()


@pytest.mark.slow
def test_the_variables_of_another_server_do_not_matter(directory: Path) -> None:
    elsewhere = {"PGHOSTADDR": "192.0.2.1", "PGSSLMODE": "verify-full", "PGDATA": "/x", "PGPORT": "1"}
    with other_process(directory / "data", env=elsewhere) as other:
        assert other.facts["owned"]


@pytest.mark.slow
def test_the_port_is_remembered_while_it_is_free(directory: Path) -> None:
    server = EmbeddedPostgres(initialized(directory / "data"), fsync=False)
    with server:
        port = server.port
    with server:
        assert server.port == port
    with socket.create_server(("127.0.0.1", port)), server:
        assert server.port != port


def test_a_port_asked_for_is_kept_or_refused(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}, which is in"):
            EmbeddedPostgres(initialized(directory / "data"), port=port, fsync=False).start()
    with EmbeddedPostgres(directory / "data", port=port, fsync=False) as server:
        assert server.port == port


@pytest.mark.slow
def test_two_checkouts_do_not_collide(directory: Path) -> None:
    one, two = (EmbeddedPostgres(directory / name / "data", fsync=False) for name in "ab")
    with one, two:
        assert one.port != two.port
        assert one.pid != two.pid
        with pytest.raises(psycopg.OperationalError):  # not even with the other's password
            psycopg.connect(one.conninfo().replace(str(one.port), str(two.port)))


@pytest.mark.slow
def test_concurrent_first_starts_end_in_one_server(directory: Path) -> None:
    processes = [begin(directory / "data") for _ in range(3)]
    lines = [process.stdout.readline() for process in processes if process.stdout is not None]
    assert [line.count('"owned": true') for line in sorted(lines)].count(1) == 1
    assert len({line.partition('"pid"')[2] for line in lines}) == 1
    for process in processes:
        process.communicate()
    assert not EmbeddedPostgres(directory / "data").running()


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "tr_TR"])
def test_spaces_letters_and_locales(directory: Path, locale: str) -> None:
    with other_process(directory / "with space and ü" / "data", env={"LC_ALL": locale}) as other:
        assert other.facts.get("owned"), other.facts
        with psycopg.connect(other.facts["conninfo"]) as connection:
            found = connection.execute("select datlocale, lower('I') from pg_database").fetchone()
    assert found == ("C.UTF-8", "i")


@pytest.mark.slow
def test_remove_leaves_nothing(directory: Path) -> None:
    with other_process(directory / "data") as other:
        EmbeddedPostgres(directory / "data").remove()
        assert not (directory / "data").exists()
        assert other.facts["owned"]


def test_stop_by_force_ends_somebody_elses(directory: Path) -> None:
    with other_process(initialized(directory / "data")):
        server = EmbeddedPostgres(directory / "data")
        server.stop()
        assert server.running()
        server.stop(force=True)
        assert not server.running()
        with pytest.raises(ConfigurationError, match="not running: start it first"):
            server.conninfo()
