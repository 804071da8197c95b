"""A web server of files that this process trusts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.files import FileServer, file_server, make_certificate


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and its certificate."""
    return make_certificate(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def web(certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server, whose authority is the one that is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[1]))
    with file_server(certificates) as server:
        yield server
