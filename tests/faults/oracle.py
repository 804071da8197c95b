"""Compares what is stored with what must be: the ledger's rows, embedded again by the same model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg
from numpy.typing import NDArray

from pgembedd.documents.read import read
from pgembedd.model import Session
from tests.faults.ledger import Place
from tests.faults.subjects import CHUNK_OVERLAP, CHUNK_TOKENS, SUBJECTS, Key, Row, Subject
from tests.support.sql import LANES, rows, value

NEAR = 0.002
"""Largest difference of a number: halfvec rounds by 0.00025 at most; two texts differ by ten times this."""


@dataclass
class Findings:
    """What is wrong, a sentence each."""

    lost: list[str] = field(default_factory=list)
    """Committed rows that are not there, or without their vector or chunks."""
    stale: list[str] = field(default_factory=list)
    """Vectors and chunks of another text."""
    duplicated: list[str] = field(default_factory=list)
    """Chunks beyond a row's own, and messages that are left although every row is right."""
    failed: list[str] = field(default_factory=list)
    """Dead letters of rows, stopped pipelines, workers that ended."""
    stuck: list[str] = field(default_factory=list)
    """Messages left when the time was up."""

    def add(self, other: Findings) -> None:
        """Takes over what another comparison found."""
        for name, mine in vars(self).items():
            mine.extend(getattr(other, name))

    def counts(self) -> dict[str, int]:
        """How many there are, by kind."""
        return {name: len(found) for name, found in vars(self).items()}

    def __bool__(self) -> bool:
        return any(vars(self).values())


class Oracle:
    """The model, and the vectors of the texts that are there."""

    def __init__(self, model: Session) -> None:
        self._model = model
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def compare(
        self,
        connection: psycopg.Connection,
        expected: Mapping[Place, Row],
        subjects: Sequence[Subject] = SUBJECTS,
        *,
        drained: bool = True,
    ) -> Findings:
        """All that is wrong in the database; `drained` is what the wait for the queues came to."""
        findings = Findings()
        for subject in subjects:
            mine = {number: row for (name, number), row in expected.items() if name == subject.name}
            self._compare_rows(connection, subject, mine, findings)
            contents = {subject.key(number): subject.content(row) for number, row in mine.items()}
            _compare_failures(connection, subject, contents, findings)
            if subject.pages:
                contents = _compare_pages(connection, subject.pages, contents, findings)
                _compare_failures(connection, subject.pages, contents, findings)
            of = subject.pages or subject
            compare = self._compare_chunks if of.chunks else self._compare_vectors
            compare(connection, of, contents, findings)
        right = not (findings.lost or findings.stale or findings.duplicated)
        left = messages(connection)
        if not drained:
            findings.stuck += left
        if right:
            findings.duplicated += left
        return findings

    def _compare_rows(
        self, connection: psycopg.Connection, subject: Subject, mine: Mapping[int, Row], findings: Findings
    ) -> None:
        """The table itself: what was committed is there, and no more."""
        select = f"select {subject.as_text()}, title, body from {subject.name}"
        found = {tuple(key): Row(title, body) for key, title, body in rows(connection, select)}
        wanted = {subject.key(number): row for number, row in mine.items()}
        for key in wanted.keys() | found.keys():
            if wanted.get(key) != found.get(key):
                findings.lost.append(f"{subject.name} {key}: the row is not the one that was committed")

    def _compare_vectors(
        self, connection: psycopg.Connection, subject: Subject, contents: Mapping[Key, str], findings: Findings
    ) -> None:
        self._embed(list(contents.values()))
        for key, stored in rows(connection, f"select {subject.as_text()}, embedding::text from {subject.name}"):
            text = contents.get(tuple(key), "")
            if stored is None and text.strip():
                findings.lost.append(f"{subject.name} {key} has no vector")
            elif stored is not None and not (text.strip() and self._is_vector_of(stored, text)):
                findings.stale.append(f"{subject.name} {key} has the vector of another text")

    def _compare_chunks(
        self, connection: psycopg.Connection, subject: Subject, contents: Mapping[Key, str], findings: Findings
    ) -> None:
        select = f"select {subject.as_text()}, chunk, embedding::text from {subject.chunks} order by 1, chunk_index"
        stored: dict[Key, list[tuple[str, str]]] = {}
        for key, chunk, vector in rows(connection, select):
            stored.setdefault(tuple(key), []).append((chunk, vector))
        wanted = {key: self._chunks(text) for key, text in contents.items()}
        self._embed([chunk for chunks in wanted.values() for chunk in chunks])
        for key in wanted.keys() | stored.keys():
            have, want = stored.get(key, []), wanted.get(key, [])
            if len(have) > len(want):
                findings.duplicated.append(f"{subject.name} {key} has {len(have)} chunks instead of {len(want)}")
            elif len(have) < len(want):
                findings.lost.append(f"{subject.name} {key} has {len(have)} chunks instead of {len(want)}")
            elif any(
                chunk != text or not self._is_vector_of(vector, text)
                for (chunk, vector), text in zip(have, want, strict=True)
            ):
                findings.stale.append(f"{subject.name} {key} has chunks of another text")

    def _chunks(self, text: str) -> list[str]:
        if not text.strip():
            return []
        split = self._model.split(text, tokens=CHUNK_TOKENS, overlap=CHUNK_OVERLAP, markdown=False)
        return [chunk.text for chunk in split]

    def _embed(self, texts: list[str]) -> None:
        """Keeps the vectors of these texts, computed once."""
        new = sorted({text for text in texts if text.strip()} - self._vectors.keys())
        if new:
            self._vectors |= dict(zip(new, self._model.embed(new).vectors, strict=True))

    def _is_vector_of(self, stored: str, text: str) -> bool:
        return bool(np.abs(np.array(json.loads(stored)) - self._vectors[text]).max() < NEAR)


def _compare_pages(
    connection: psycopg.Connection, pages: Subject, files: Mapping[Key, str], findings: Findings
) -> dict[Key, str]:
    """The pages of files, and what they must hold."""
    wanted = {
        (*key, str(page.number)): page.text
        for key, file in files.items()
        if file
        for page in read(file.encode(), len(file)).pages
    }
    stored = {tuple(key): text for key, text in rows(connection, f"select {pages.as_text()}, text from {pages.name}")}
    for key in wanted.keys() | stored.keys():
        if key not in stored:
            findings.lost.append(f"{pages.name} {key} is missing")
        elif key not in wanted:
            findings.duplicated.append(f"{pages.name} {key} is a page of no file")
        elif stored[key] != wanted[key]:
            findings.stale.append(f"{pages.name} {key} is a page of another file")
    return wanted


def messages(connection: psycopg.Connection) -> list[str]:
    """What is in the queues."""
    return [
        f"{lane}: {message} read {read_ct} times"
        for lane in LANES
        for message, read_ct in rows(connection, f"select message, read_ct from pgmq.q_{lane}")
    ]


def drained(connection: psycopg.Connection) -> bool:
    """Tells that no message is queued."""
    queued = " + ".join(f"(select count(*) from pgmq.q_{lane})" for lane in LANES)
    return bool(value(connection, f"select {queued} = 0"))


def _compare_failures(
    connection: psycopg.Connection, subject: Subject, contents: Mapping[Key, str], findings: Findings
) -> None:
    """Dead letters that name a row of ours; those of garbage name none."""
    state, reason = rows(
        connection, "select state, state_reason from pgembedd_internal.pipeline where name = %s", subject.name
    )[0]
    if state != "running":
        findings.failed.append(f"{subject.name} is {state}: {reason}")
    for key, why, error in rows(
        connection, "select key, reason, error from pgembedd.dead_letters where pipeline = %s", subject.name
    ):
        named = key if isinstance(key, dict) else {"id": key}
        parts = tuple(str(named.get(name)) for name in subject.key_columns)
        if parts in contents:
            findings.failed.append(f"{subject.name} {parts} failed ({why}): {error}")
