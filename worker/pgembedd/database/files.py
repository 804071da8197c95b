"""Statements about the files of claimed jobs, and about their pages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from pgembedd.database.jobs import JobRepository
from pgembedd.database.records import FileContent, Job, ParsedFile, UriContent
from pgembedd.database.vector_codec import BigIntegers, Blobs, Integers, Texts


@dataclass(frozen=True)
class FileRepository:
    """Reads files and stores their pages, over the connection of `jobs`; `parser` is the fingerprint of the parser."""

    jobs: JobRepository
    parser: str

    def read(self, jobs: Sequence[Job], most_bytes: int) -> list[FileContent]:
        """Returns the file of each job's row, up to `most_bytes` together. Deferred on contention."""
        values = {"pipeline_id": jobs[0].pipeline.id, "ids": Texts([job.id for job in jobs]), "parser": self.parser}
        with self.jobs.translated("content", jobs):
            rows = self.jobs.connection.rows_once(
                "read_files", values | {"most_bytes": most_bytes}, allowed_s=jobs[0].allowed_s, binary=True
            )
        return [
            FileContent(state, file, hash or sha256(file or b"").digest(), size) for state, file, hash, size in rows
        ]

    def read_uris(self, jobs: Sequence[Job]) -> list[UriContent]:
        """Returns the URI of each job's row, and what is known of its file. Deferred on contention."""
        values = {"pipeline_id": jobs[0].pipeline.id, "ids": [job.id for job in jobs], "parser": self.parser}
        with self.jobs.translated("content", jobs):
            rows = self.jobs.connection.rows_once("read_uris", values, allowed_s=jobs[0].allowed_s, binary=True)
        return [UriContent(*row) for row in rows]

    def note_unreadable(self, job: Job, content: FileContent, sentence: str) -> None:
        """Notes that no text is read of a file that was fetched, before its job fails for that."""
        self.jobs.connection.value(
            "note_file",
            pipeline_id=job.pipeline.id,
            id=job.id,
            uri_hash=content.hash,
            file_hash=content.file_hash,
            validator=content.validator,
            parser=self.parser,
            unreadable=sentence,
        )

    def store(self, results: Sequence[ParsedFile]) -> list[str]:
        """Writes and acknowledges; returns an outcome per result. RowFailure if the table refuses, Deferred if busy."""
        jobs = [result.job for result in results]
        pages = [{"job": number, **page} for number, result in enumerate(results, 1) for page in result.pages]
        values = {
            "queue": jobs[0].queue,
            "pipeline_id": jobs[0].pipeline.id,
            "msg_ids": BigIntegers([job.msg_id for job in jobs]),
            "read_cts": Integers([job.read_ct for job in jobs]),
            "hashes": Blobs([result.content.hash for result in results]),
            "states": [result.content.state for result in results],
            "pages": json.dumps(pages, ensure_ascii=False),
            "parser": self.parser,
            "file_hashes": [result.content.file_hash for result in results],
            "validators": [result.content.validator for result in results],
        }
        with self.jobs.translated("write", jobs):
            rows = self.jobs.connection.rows_once("store_pages", values, allowed_s=jobs[0].allowed_s)
        outcomes: dict[int, str] = dict(rows)
        return [outcomes[job.msg_id] for job in jobs]
