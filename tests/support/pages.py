"""Files in SQL tests: jobs worked with a stand-in for the parser, whose pages are what form feeds part."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import psycopg

from pgembedd.database.queries import query
from tests.support.sql import FRESH, LANES, Job, call, claim, due, rows

PARSER = "parser-1"
MOST_BYTES = 1000


@dataclass(frozen=True)
class File:
    """The result of read_files() for a job."""

    state: str
    file: bytes | None
    hash: bytes
    size: int | None


def contracts(connection: psycopg.Connection, **options: Any) -> Any:
    """`contracts` (id, name, file), without rows, and the pipeline that parses its files."""
    connection.execute("create table contracts (id int primary key, name text, file bytea)")
    return create_parsing(connection, **options)


def create_parsing(connection: psycopg.Connection, **options: Any) -> Any:
    """create_pipeline() for the files of `contracts`, into `contract_pages`, unless told otherwise."""
    defaults = {"pipeline": "contract_text", "source": "contracts", "content_columns": ["file"], "task": "parse"}
    return call(connection, "create_pipeline", **defaults | {"into_table": "contract_pages"} | options)


def parse_jobs(connection: psycopg.Connection, queue: str = FRESH) -> list[Job]:
    """Claims what is due in a queue of pipelines that parse."""
    found = due(connection, queue, "parse")
    return [job for pipeline in found for job in claim(connection, queue, pipeline=pipeline)]


def read_files(
    connection: psycopg.Connection, jobs: Sequence[Job], parser: str = PARSER, most_bytes: int = MOST_BYTES
) -> list[File]:
    """The file of each job's row; all of one pipeline."""
    values = {"pipeline_id": jobs[0].pipeline_id, "ids": [job.key for job in jobs], "parser": parser}
    found = connection.execute(query("read_files"), {**values, "most_bytes": most_bytes})
    return [File(state, file, hash or sha256(file or b"").digest(), size) for state, file, hash, size in found]


def store_pages(
    connection: psycopg.Connection, jobs: Sequence[Job], files: Sequence[File] | None = None, parser: str = PARSER
) -> list[str]:
    """Stores the pages of what was read (read now, if not given); one outcome per job."""
    files = read_files(connection, jobs, parser) if files is None else files
    pages = [
        {"job": job, "page": number, "headings": [f"Part {number}"], "text": text, "metadata": {"kind": "text"}}
        for job, file in enumerate(files, start=1)
        for number, text in enumerate((file.file or b"").decode().split("\f") if file.file else [], start=1)
    ]
    values = {
        "queue": jobs[0].queue,
        "pipeline_id": jobs[0].pipeline_id,
        "msg_ids": [job.msg_id for job in jobs],
        "read_cts": [job.read_ct for job in jobs],
        "hashes": [file.hash for file in files],
        "states": [file.state for file in files],
        "pages": json.dumps(pages),
        "parser": parser,
        "file_hashes": None,
        "validators": None,
    }
    outcomes: dict[int, str] = dict(connection.execute(query("store_pages"), values).fetchall())
    return [outcomes[job.msg_id] for job in jobs]


def parse_all(connection: psycopg.Connection, parser: str = PARSER) -> list[str]:
    """Works all that is due; the outcomes."""
    return [
        outcome
        for queue in LANES
        if (jobs := parse_jobs(connection, queue))
        for outcome in store_pages(connection, jobs, parser=parser)
    ]


def pages(connection: psycopg.Connection) -> list[tuple[int, int, str]]:
    """(id, page, text) of `contract_pages`."""
    return [
        (row[0], row[1], row[2]) for row in rows(connection, "select id, page, text from contract_pages order by 1, 2")
    ]
