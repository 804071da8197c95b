"""Statements about listings of objects."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgembedd.database.connection import Connection


@dataclass(frozen=True, slots=True)
class DueListing:
    """A pipeline whose source is to have a row for each object below a URI."""

    pipeline_id: int
    pipeline: str
    uri: str
    prefixes: Sequence[str]


@dataclass(frozen=True)
class ListingRepository:
    """Keeps what is listed, and writes it into the source once it is complete, over one connection."""

    connection: Connection

    def due(self) -> list[DueListing]:
        """Returns the pipelines whose objects are to be listed."""
        return [DueListing(*row) for row in self.connection.rows("due_listings")]

    def begin(self, due: DueListing) -> int | None:
        """Begins a listing, and returns its number; None where another worker has begun it."""
        number: int | None = self.connection.value("begin_listing", pipeline_id=due.pipeline_id)
        return number

    def add(self, due: DueListing, number: int, objects: Sequence[Any]) -> bool:
        """Keeps a page of dataclasses; False where another listing has begun."""
        page = json.dumps([asdict(each) for each in objects])
        return bool(self.connection.value("add_objects", pipeline_id=due.pipeline_id, number=number, objects=page))

    def finish(self, due: DueListing, number: int, objects: int, left_out: str | None) -> tuple[int, int] | None:
        """Writes the source; returns how many rows were written, and deleted. None where another listing has begun.

        `left_out` is a sentence about objects that have no rows, for the status of the pipeline.
        """
        values = {"pipeline_id": due.pipeline_id, "number": number, "objects": objects, "left_out": left_out}
        return next(iter(self.connection.rows_once("finish_listing", values)), None)

    def fail(self, due: DueListing, number: int, problem: str) -> None:
        """Notes why the objects cannot be listed."""
        self.connection.value("fail_listing", pipeline_id=due.pipeline_id, number=number, problem=problem)
