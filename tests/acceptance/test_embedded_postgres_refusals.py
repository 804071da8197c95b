"""The embedded server where something is in the way: other users' rights, other people's files, no room."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres, home, installation, postmaster
from pgembedd.embedded_postgres.account import account_for
from pgembedd.embedded_postgres.installation import run_program
from pgembedd.errors import ConfigurationError
from tests.support.databases import initialized
from tests.support.owners import OTHER_USER, as_root, other_process


@pytest.fixture
def shared(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /var/lib/pgembedd."""
    place = directory / "shared"
    place.mkdir()
    place.chmod(0o755)
    for module in (home, installation):
        monkeypatch.setattr(module, "SHARED_DIR", place)
    return place


def refusal(data_dir: Path, **options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddedPostgres(data_dir, fsync=False, **options).start()  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.slow
@as_root
def test_an_ordinary_user_starts_one_of_its_own(directory: Path) -> None:
    mine = directory / "user's own"
    mine.mkdir()
    shutil.chown(mine, OTHER_USER["user"], OTHER_USER["group"])
    mine.chmod(0o700)
    with other_process(mine / "data", env={"HOME": str(mine)}, **OTHER_USER) as other:
        assert other.facts.get("owned"), other.facts
        with psycopg.connect(other.facts["conninfo"]) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert (mine / "data" / "cluster").owner() == OTHER_USER["user"]
        found = EmbeddedPostgres(mine / "data")
        found.start()  # root may use it too
        assert not found.owned
    with EmbeddedPostgres(mine / "data") as root:  # and root's start of it runs as its owner
        assert root.owned
        assert Path(f"/proc/{root.pid}").owner() == OTHER_USER["user"]


@pytest.mark.slow
@as_root
def test_roots_server_is_refused_to_others(directory: Path) -> None:
    with (
        EmbeddedPostgres(initialized(directory / "data"), fsync=False),
        other_process(directory / "data", **OTHER_USER) as other,
    ):
        assert "Permission denied" in other.facts["error"]


@pytest.mark.slow
@as_root
def test_a_closed_parent_stays_closed(directory: Path, shared: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data", fsync=False)
    with server:
        port = server.port
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("create table kept ()")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert len(list(shared.glob("closed-*/cluster/PG_VERSION"))) == 1
    with server:
        assert server.port == port
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("table kept")
    (elsewhere,) = shared.iterdir()
    elsewhere.rename(directory / "mislaid")
    assert "bring it back" in refusal(closed / "data")  # rather than start again
    (directory / "mislaid").rename(elsewhere)
    server.remove()
    assert list(shared.iterdir()) == []
    assert list(closed.iterdir()) == []


@pytest.mark.slow
@as_root
def test_a_server_tree_that_is_closed_is_copied(directory: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = account_for(directory / "none")
    original = installation.find_installation(account).root.parent
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    for name in (original.name, f"{original.name}.libs"):
        (closed / name).symlink_to(original.with_name(name))
    monkeypatch.setattr(installation, "_package_dir", lambda: closed / original.name)
    found = installation.find_installation(account)
    assert found.root.is_relative_to(shared)
    for program in ("initdb", "postgres", "pg_dump"):
        assert f" {found.major}." in run_program([found.program(program), "--version"], account).stdout
    assert installation.find_installation(account) == found  # and copied once
    assert len(list(shared.iterdir())) == 1
    with EmbeddedPostgres(initialized(directory / "data"), fsync=False) as server:
        assert os.fsencode(shared) in Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_another_major_version_is_refused(directory: Path) -> None:
    with EmbeddedPostgres(initialized(directory / "data"), fsync=False):
        pass
    (directory / "data" / "cluster" / "PG_VERSION").write_text("15\n")
    message = refusal(directory / "data")
    assert "was made by PostgreSQL 15, and this is PostgreSQL 18" in message
    (directory / "data" / "cluster" / "PG_VERSION").unlink()
    assert "cluster/PG_VERSION is missing" in refusal(directory / "data")


def test_what_is_no_data_directory_is_refused(directory: Path) -> None:
    (directory / "file").write_text("")
    assert "Not a directory" in refusal(directory / "file")
    assert "Not a directory" in refusal(directory / "file" / "data")
    (directory / "PG_VERSION").write_text("18\n")
    assert "is not a data directory of the embedded Postgres" in refusal(directory)


def test_where_nothing_can_be_written_a_sentence_says_so(directory: Path) -> None:
    if os.geteuid() == 0:
        with other_process(directory / "data", **OTHER_USER) as other:
            message = other.facts["error"]
    else:
        directory.chmod(0o500)
        message = refusal(directory / "data")
        directory.chmod(0o700)
    assert f"cannot use {directory / 'data'} (Permission denied)" in message


def test_a_full_disk_is_told(directory: Path) -> None:
    small = directory / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=711", "none", str(small)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        message = refusal(small / "data")
        assert "No space left on device" in message
        assert "Make room" in message
        assert not list((small / "data").glob("cluster*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_why_the_server_did_not_start_is_quoted_from_its_log(directory: Path) -> None:
    message = refusal(initialized(directory / "data"), settings={"shared_buffers": "17 elephants"})
    assert "did not start: " in message
    assert "FATAL:  configuration file" in message
    assert str(directory / "data" / "server.log") in message
    assert "cannot run /no/such: No such file" in refusal(directory / "data", launcher=["/no/such"])


def test_a_server_that_no_longer_knows_the_password_is_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postmaster, "REFUSING_TIMEOUT_S", 0.0)
    with EmbeddedPostgres(initialized(directory / "data"), fsync=False) as server:
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("alter role postgres password 'another'")
        assert "takes no connections" in refusal(directory / "data")
    with pytest.raises(ConfigurationError, match="password authentication failed"):
        server.start()
    assert not server.running()
