"""The task `embed`: texts of rows become vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap

from pgembedd.database.connection import Connection
from pgembedd.database.jobs import JobRepository
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.database.records import LANES, Content, Job, Result, Vector
from pgembedd.errors import Deferred, ProviderBusyError, ProviderRefusedError, RowFailure
from pgembedd.log import get_logger
from pgembedd.loop.bisect import bisect
from pgembedd.loop.chunk_rows import chunk_row
from pgembedd.loop.fair_share import FairShare
from pgembedd.loop.pinning import PinnedModels
from pgembedd.loop.provider_batches import GivenVectors, ProviderBatches
from pgembedd.loop.task import Batch, Endings
from pgembedd.model.embedder import Embedder
from pgembedd.model.vector_cache import VectorCache


@dataclass(frozen=True)
class Embedding:
    """Embeds the texts of rows, but for those whose vectors the cache holds."""

    served: PinnedModels
    cache: VectorCache
    name = "embed"

    def reader(self, connection: Connection, share: FairShare, outcomes: Endings) -> "TextReader":
        """Returns what reads texts."""
        return TextReader(self, connection, share, outcomes)

    def results(
        self, batch: Batch[Content], pipelines: PipelineRepository
    ) -> Iterator[list[tuple[Job, Result | RowFailure | Deferred]]]:
        """Waits for the vectors of all jobs. Where the model fails on the batch, bad rows fail individually."""

        def embed(rows: Sequence[tuple[Job, Content]]) -> list[Result]:
            is_first = len(rows) == len(batch.jobs)
            if is_first:
                part = batch
            else:
                model = self.served.serving(batch.jobs[0].pipeline, pipelines)
                part = started(rows, model, self.cache, batch.began)
            try:
                return self._results(part, pipelines)
            except Deferred:
                raise
            except BaseException as error:  # a model may raise anything, also a panic of Rust
                name = type(error).__name__
                if is_first:
                    get_logger().warning(
                        "model_failed_on_claim", pipeline=batch.jobs[0].pipeline.name, jobs=len(rows), error=name
                    )
                raise RowFailure("model", f"{name}: {error}") from error

        rows = list(zip(batch.jobs, batch.contents, strict=True))
        yield [(job, result) for (job, _), result in bisect(rows, embed)]

    def _results(self, batch: Batch[Content], pipelines: PipelineRepository) -> list[Result]:
        """Waits for the model; returns each job with the vectors of its texts, none where it has no text.

        Deferred where the model's provider is busy, or refuses every request.
        """
        vectors: Iterator[Vector] = iter(())
        try:
            if batch.pending is not None:
                embedded = batch.pending.result()
                recalled = [False] * len(embedded.tokens) if embedded.recalled is None else embedded.recalled.tolist()
                counts = (embedded.tokens.tolist(), embedded.dropped.tolist(), recalled)
                vectors = starmap(Vector, zip(embedded.vectors, *counts, strict=True))
        except ProviderBusyError as busy:
            raise Deferred(str(busy), busy.retry_after_s) from busy
        except ProviderRefusedError as refused:
            raise self.served.refused(batch.jobs[0].pipeline, refused, pipelines) from refused
        return [
            Result(job, content, [next(vectors) for _ in content.texts])
            for job, content in zip(batch.jobs, batch.contents, strict=True)
        ]

    def store(self, results: Sequence[Result], statements: JobRepository) -> list[str]:
        """Writes the vectors."""
        return statements.store(results)


class TextReader:
    """Reads the texts of rows, in chunks where the pipeline has them, and passes them to the model.

    Texts of a backfill may go to a batch of their provider's, for which their jobs wait.
    """

    def __init__(self, task: Embedding, connection: Connection, share: FairShare, outcomes: Endings) -> None:
        self._task, self._jobs, self._pipelines = task, JobRepository(connection), PipelineRepository(connection)
        self._batches = ProviderBatches(task.served, connection, share, outcomes)
        self._given = GivenVectors()

    def rows(self, jobs: Sequence[Job]) -> list[tuple[Job, Content | RowFailure | Deferred]]:
        """Returns the text of each row, but of those that wait for a batch."""
        model = self._task.served.serving(jobs[0].pipeline, self._pipelines)
        jobs, self._given = self._batches.admit(jobs, model)
        found = [
            (job, _chunked(job, content, model)) for job, content in (bisect(jobs, self._jobs.read) if jobs else [])
        ]
        failed = [(job, content) for job, content in found if isinstance(content, RowFailure)]
        readable = [(job, content) for job, content in found if isinstance(content, Content)]
        return [*failed, *self._batches.submit(readable, model, self._given)]

    def start(self, rows: Sequence[tuple[Job, Content]], began: float) -> Batch[Content]:
        """Passes the texts to the model, but for those whose vectors a batch gave or the cache holds."""
        model = self._task.served.serving(rows[0][0].pipeline, self._pipelines)
        return started(rows, model, self._given if self._given.paid else self._task.cache, began)


def started(rows: Sequence[tuple[Job, Content]], model: Embedder, cache: VectorCache, began: float) -> Batch[Content]:
    """Passes the texts of rows to the model, but for those whose vectors the cache holds."""
    jobs, contents = zip(*rows, strict=True)
    texts = [text for content in contents for text in content.texts]
    keys = cache.keys(jobs[0].pipeline.source, model, texts, "document")
    pending = cache.start(model, texts, keys, LANES[jobs[0].queue]) if texts else None
    return Batch(jobs, contents, pending, began)


def _chunked(job: Job, content: Content | RowFailure, model: Embedder) -> Content | RowFailure:
    try:
        return content if isinstance(content, RowFailure) else chunk_row(job, content, model)
    except RowFailure as failure:
        return failure
