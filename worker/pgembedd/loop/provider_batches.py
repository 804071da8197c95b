"""Sends the texts of a backfill to their provider's batches, and reads what these gave.

A batch in progress is a row in the database, and its jobs are released until it has ended: no worker holds them. See
sql/40_jobs/provider_batch.sql.
"""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard
from uuid import UUID

from pgembedd.database.connection import Connection
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import BACKFILL, Content, Job
from pgembedd.errors import Deferred, ModelError, ProviderBusyError, ProviderRefusedError
from pgembedd.log import get_logger
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.task import Endings
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Kind, Text
from pgembedd.model.providers.protocol import Seen, text_hash
from pgembedd.model.vector_cache import Entry, Key, VectorCache

if TYPE_CHECKING:
    from pgembedd.model.providers.embedder import ProviderModel

Rows = Sequence[tuple[Job, Content]]

JOBS = 1_000
"""Of a batch, at most: they are stored together, too."""

FEWEST_TEXTS, MOST_TEXTS, MOST_CHARS = 100, 5_000, 50_000_000
"""Of a batch. Fewer are asked for at once; more would be much to hold in memory."""

LOOK_S = 60.0
FAR_S = 26 * 3600.0  # a batch ends within a day
FOUND_S = 600.0
"""A batch that the provider does not list after so long was never made: it may be a while until it is listed."""

AGAIN_S = 600.0
"""After a batch that gave nothing its texts are sent again."""

OUTPUTS_KEPT = 4
WAITS = "Its text is in a batch of its provider, which takes up to a day."


@dataclass(frozen=True)
class Batch:
    """A row of the table: the provider's names are None as long as they are not known."""

    id: UUID
    batch: str | None
    output: str | None
    msg_ids: list[int]
    age_s: float


class GivenVectors(VectorCache):
    """The vectors that batches gave, by text; `paid` are the messages of their jobs."""

    recalls = False

    def __init__(self) -> None:
        super().__init__(sys.maxsize)
        self.paid: set[int] = set()

    def keys(self, owner: Hashable, model: Embedder, texts: Sequence[Text], kind: Kind) -> list[Key]:  # noqa: ARG002
        """Returns the hashes of the texts."""
        return [text_hash(str(text)) for text in texts] if self.paid else []


class ProviderBatches:
    """The batches of the pipelines of a lane, over one connection."""

    def __init__(self, models: PinnedModels, connection: Connection, share: FairShare, outcomes: Endings) -> None:
        """`outcomes` uses the same connection, and `share` is the lane's."""
        self._models, self._share, self._connection, self._outcomes = models, share, connection, outcomes
        self._pipelines = PipelineRepository(connection)
        self._outputs: OrderedDict[str, dict[Key, Entry]] = OrderedDict()

    def admit(self, jobs: Sequence[Job], model: Embedder) -> tuple[Sequence[Job], GivenVectors]:
        """Returns the jobs that wait for no batch, and what ended batches gave. Deferred where these cannot be had."""
        given = GivenVectors()
        if not _takes_batches(model, jobs):
            return jobs, given
        self._share.ask_for(jobs[0].due, JOBS)
        waiting: set[int] = set()
        asked = {"pipeline_id": jobs[0].pipeline.id, "msg_ids": [job.msg_id for job in jobs]}
        for batch in (Batch(*row) for row in self._connection.rows("provider_batches", **asked)):
            with self._deferring(jobs):
                if (output := batch.output or self._look(jobs, batch, model)) is None:
                    waiting.update(batch.msg_ids)
                else:
                    given.paid.update(batch.msg_ids)
                    given.put(self._output(output, model))
        return [job for job in jobs if job.msg_id not in waiting], given

    def submit(self, rows: Rows, model: Embedder, given: GivenVectors) -> Rows:
        """Sends the texts of rows as a batch, where they are enough; returns the rows that go on, as they are paid for.

        Deferred where they cannot be sent.
        """
        if not rows or not _takes_batches(model, [job for job, _ in rows]):
            return rows
        jobs, texts = _fitting([row for row in rows if row[1].texts and row[0].msg_id not in given.paid])
        if len(texts) < FEWEST_TEXTS:
            return rows
        msg_ids = [job.msg_id for job in jobs]
        number = self._connection.value("begin_provider_batch", pipeline_id=jobs[0].pipeline.id, msg_ids=msg_ids)
        with self._deferring(jobs):
            try:
                batch = model.send_batch(str(number), sorted(texts))
            except ProviderRefusedError:
                self._note(number, lost_s=0.0)  # after any other error it may have been made all the same
                raise
        self._note(number, batch)
        self._share.sent(jobs[0].due)
        get_logger().info("batch_sent", pipeline=jobs[0].pipeline.name, batch=batch, jobs=len(jobs), texts=len(texts))
        self._wait(jobs, Batch(number, batch, None, msg_ids, 0.0))
        sent = set(msg_ids)
        return [row for row in rows if row[0].msg_id not in sent]

    def _look(self, jobs: Sequence[Job], batch: Batch, model: "ProviderModel") -> str | None:
        """Returns the file of a batch that has ended; None, and its jobs are released, where it gives none by now."""
        assert model.batches is not None
        name = batch.batch or model.batches.find(str(batch.id))
        unmade = Seen(batch.age_s > FOUND_S, "never made", None)
        seen = unmade if name is None else model.batches.look(name)
        if seen.ended:
            get_logger().info("batch_ended", batch=name, status=seen.status, jobs=len(batch.msg_ids))
        if seen.ended and seen.output is None:
            self._note(batch.id, name, lost_s=AGAIN_S)
            self._wait(jobs, batch, f"A batch of {model.name} gave no vectors ({seen.status}).", AGAIN_S)
            return None
        if name != batch.batch or seen.ended:
            self._note(batch.id, name, seen.output if seen.ended else None)
        if not seen.ended:
            self._wait(jobs, batch)
            return None
        return seen.output

    def _output(self, output: str, model: "ProviderModel") -> dict[Key, Entry]:
        if output not in self._outputs:
            try:
                self._outputs[output] = model.batch_entries(output, MOST_TEXTS)
            except ProviderRefusedError:
                raise
            except ModelError as error:
                get_logger().warning("batch_unreadable", model=model.name, error=str(error))
                return {}
            while len(self._outputs) > OUTPUTS_KEPT:
                self._outputs.popitem(last=False)
        return self._outputs[output]

    def _wait(self, jobs: Sequence[Job], batch: Batch, why: str = WAITS, again_s: float | None = None) -> None:
        """Releases the jobs of a batch: for so long, or until who claims the first one finds that it has ended."""
        mine = [job for job in jobs if job.msg_id in batch.msg_ids]
        for some, delay_s in ((mine[:1], again_s or LOOK_S), (mine[1:], again_s or FAR_S)):
            if some:
                self._outcomes.end(some, Deferred(why, delay_s))

    def _note(
        self, number: UUID, batch: str | None = None, output: str | None = None, lost_s: float | None = None
    ) -> None:
        self._connection.value("note_provider_batch", id=number, batch=batch, output=output, lost_s=lost_s)

    @contextmanager
    def _deferring(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Raises Deferred for errors of the provider."""
        try:
            yield
        except ProviderBusyError as busy:
            raise Deferred(str(busy), busy.retry_after_s) from busy
        except ProviderRefusedError as refused:
            raise self._models.refused(jobs[0].pipeline, refused, self._pipelines) from refused
        except ModelError as error:
            raise Deferred(str(error), LOOK_S) from error


def _fitting(rows: Rows) -> tuple[list[Job], set[str]]:
    """Returns the first jobs whose texts fit into a batch, and these texts."""
    jobs, texts, characters = list[Job](), set[str](), 0
    for job, content in rows:
        new = set(content.texts) - texts
        characters += sum(map(len, new))
        if jobs and (len(texts) + len(new) > MOST_TEXTS or characters > MOST_CHARS):
            break
        jobs.append(job)
        texts |= new
    return jobs, texts


def _takes_batches(model: Embedder, jobs: Sequence[Job]) -> "TypeGuard[ProviderModel]":
    """Tells whether the texts of jobs are for batches."""
    return jobs[0].queue == BACKFILL and not jobs[0].suspect and getattr(model, "batches", None) is not None
