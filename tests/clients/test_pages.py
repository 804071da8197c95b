"""The pages whose programs use packages of other projects work in the order of reading, with these packages."""

from __future__ import annotations

import pytest

from tests.project.test_pages import WITH_CLIENTS, Desk, desk, no_roles_left, provider, read, reading
from tests.support.databases import fresh_database

__all__ = ["desk", "no_roles_left", "provider"]


@pytest.mark.clients
@pytest.mark.usefixtures("no_roles_left")
@pytest.mark.parametrize("page", WITH_CLIENTS)
def test_a_page_works_with_packages_of_other_projects(desk: Desk, page: str) -> None:
    with fresh_database(desk.server, desk.example.name) as database, reading(desk, database, clients=True) as reader:
        reader.start("run")
        read(reader, page)
