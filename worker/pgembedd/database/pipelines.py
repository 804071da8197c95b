"""Statements about whole pipelines."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembedd.database.connection import Connection
from pgembedd.database.records import ServedPipeline

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PipelineRepository:
    """Reads and updates pipelines for a worker, over one connection."""

    connection: Connection

    def running(self) -> list[tuple[ServedPipeline, bool]]:
        """Returns the running pipelines that embed, each with whether a worker has noted that it cannot serve it."""
        return [(ServedPipeline(*row), noted) for *row, noted in self.connection.rows("models")]

    def parsing(self) -> list[tuple[ServedPipeline, bool]]:
        """Returns the same of those that parse files, which have no model."""
        found = self.connection.rows("parse_pipelines")
        return [
            (ServedPipeline(id, name, "", None, 0, parses=True, uri_prefixes=tuple(prefixes or ())), noted)
            for id, name, noted, prefixes in found
        ]

    def note_unserved(self, pipeline: ServedPipeline, reason: str, *, tried: bool, worker: int | None = None) -> None:
        """Notes why the worker of that number cannot serve the pipeline; `status` shows it unless another worker can.

        The reason of a worker that has not `tried`, as it lacks a setting, is shown where no other one has.
        """
        values = {"reason": reason, "tried": tried, "worker": worker}
        self.connection.value("note_unserved", pipeline_id=pipeline.id, **values)

    def note_served(self, pipeline: ServedPipeline, *, loaded: bool = True, worker: int | None = None) -> None:
        """Takes such a note back; while the model is not `loaded` yet, only that of a worker that is gone."""
        self.connection.value("note_served", pipeline_id=pipeline.id, loaded=loaded, worker=worker)

    def pin_model(self, pipeline: ServedPipeline, fingerprint: str) -> str | None:
        """Pins the pipeline to this fingerprint if it has none; returns the one that it is pinned to."""
        pinned: str | None = self.connection.value("pin_model", pipeline_id=pipeline.id, fingerprint=fingerprint)
        return pinned

    def probe(self, pipeline: ServedPipeline, vectors: Float32Array) -> Float32Array | None:
        """Returns the vectors of the probe texts that the pipeline was first served with; these, if it has none."""
        values = vectors.ravel().tolist()
        stored = self.connection.value("probe_model", pipeline_id=pipeline.id, vectors=values)
        return None if stored is None else np.array(stored, np.float32).reshape(-1, vectors.shape[1])

    def diagnose(self, pipeline: ServedPipeline, allowed_s: float | None = None) -> str | None:
        """Returns the reason why the pipeline cannot run, and stops it; None if it can."""
        rows = self.connection.rows_once("diagnose", {"pipeline_id": pipeline.id}, allowed_s=allowed_s)
        reason: str | None = rows[0][0]
        return reason

    def note_slow(self, pipeline_id: int, allowed_s: float, *, tried: bool) -> None:
        """Notes that code of the table's owner did not end in time: the pipeline pauses. `tried`: it was its turn."""
        timeout_s = self.connection.sessions.limit_s or allowed_s
        values = {"pipeline_id": pipeline_id, "allowed_s": allowed_s, "timeout_s": timeout_s, "tried": tried}
        self.connection.value("note_slow", **values)

    def end_turn(self, pipeline: ServedPipeline) -> None:
        """Ends this worker's turn at a slow pipeline, of which a row was done, or failed, in time."""
        self.connection.value("end_turn", pipeline_id=pipeline.id)

    def stop(self, pipeline: ServedPipeline, reason: str) -> None:
        """Stops the pipeline, with a reason that `status` shows."""
        self.connection.value("stop_pipeline", pipeline_id=pipeline.id, reason=reason)

    def maintain(self, sweep_every_s: float) -> int | None:
        """Runs the maintenance if it is due and no other worker runs it; returns the rows that the sweep queued."""
        swept: int | None = self.connection.rows_once("tick", {"sweep_every_s": sweep_every_s})[0][0]
        return swept
