"""The memory of an index build: enough, within the limit, and shared memory only where there is some."""

from __future__ import annotations

import threading

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.loop.index_builder import BuildLimits, Size, build_index, memory_mb, set_index_memory
from tests.support.databases import Database
from tests.support.indexes import NAME, built_up, hnsw_indexes, loaded
from tests.support.sql import value

__all__ = ["built_up", "loaded"]  # fixtures that live next to what looks at them

LIMITS = BuildLimits(64, 2)
NEVER = threading.Event()
NUMBER_BYTES = {"halfvec": 2, "vector": 4}
# -- Its memory --------------------------------------------------------------------------------------------

SIZES = st.builds(
    Size, st.integers(0, 10**9), st.integers(1, 2000), st.sampled_from(["halfvec", "vector"]), st.integers(2, 100)
)


@given(SIZES)
def test_the_memory_holds_the_vectors_and_the_links(size: Size) -> None:
    numbers = size.rows * size.dimensions * NUMBER_BYTES[size.vector_type]
    links = size.rows * 2 * size.m * 8  # a pointer each, at the very least
    assert numbers + links < memory_mb(size) * 1_000_000 < 20_000_000 + 4 * (numbers + links) + 400 * size.rows


def test_the_session_gets_what_it_needs_up_to_the_limit(database: Database, built_up: psycopg.Connection) -> None:
    large = Size(1_000_000, 384, "halfvec", 16)
    built_up.execute(f"alter database {database.name} set maintenance_work_mem = '8MB'")
    with database.connect() as builder:
        assert set_index_memory(builder, large, BuildLimits(64, 3)) == 64
        assert value(builder, "show maintenance_work_mem") == "64MB"
        assert value(builder, "show max_parallel_maintenance_workers") == "3"
        assert set_index_memory(builder, Size(10, 384, "halfvec", 16), BuildLimits(64, 3)) == 16
        assert set_index_memory(builder, large, BuildLimits(1, 0)) == 8, "never below what the server gives"


def test_where_shared_memory_is_short_it_is_built_alone(database: Database, built_up: psycopg.Connection) -> None:
    if value(built_up, "show dynamic_shared_memory_type") != "posix":
        pytest.skip("only POSIX shared memory refuses what it does not have before it is filled")
    built_up.execute("alter table documents set (parallel_workers = 2)")
    built_up.execute(f"alter database {database.name} set maintenance_work_mem = '1500GB'")
    with database.connect() as builder:
        assert build_index(builder, "documents", LIMITS, NEVER) is True
        assert value(builder, "show max_parallel_maintenance_workers") == "0"
    assert hnsw_indexes(built_up) == {NAME: True}
