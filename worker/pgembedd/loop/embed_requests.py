"""Answering pgembedd.embed(): texts that wait in somebody's query for their vectors."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from pgembedd.database.connect import is_connection_error
from pgembedd.database.queries import query
from pgembedd.database.vector_codec import Vectors
from pgembedd.errors import DatabaseUnavailableError, ModelError, ModelMismatchError
from pgembedd.log import get_logger
from pgembedd.loop.gateway import Gateway
from pgembedd.loop.pinning import Models
from pgembedd.model.embedder import Embedder, EmbeddingsFuture, FailedFuture

# Few at a time: a question that comes meanwhile waits for all of them. What is left is taken at once afterwards.
AT_MOST = 8
LOOK_EVERY_S = 1.0  # a NOTIFY comes with every question; this finds those that another worker left
LOOK_UP_S = 0.25  # how often it looks whether it is to stop
PAUSE_S = 5.0
END_WITHIN_S = 5.0  # for what is in the model; its caller asks another worker then


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """A text whose caller waits; `fingerprint` is what its vector must be of, None for whatever the model is here.

    `known`: some pipeline has that model.
    """

    id: UUID
    model: str
    fingerprint: str | None
    known: bool
    kind: Literal["query", "document"]
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The vector, float32 (dims,), or the sentence that the caller is told instead."""

    id: UUID
    vector: npt.NDArray[np.float32] | None
    refusal: str | None = None


class Line(Gateway):
    """The connection that a worker is asked on: it hears of questions, and callers see that somebody is there."""

    _heard_on: psycopg.Connection | None = None

    @property
    def connection(self) -> psycopg.Connection:
        """The open connection, told to hear; a new one hears from the beginning."""
        connection = super().connection
        if self._heard_on is not connection:
            heard = connection.execute(query("hear_questions")).fetchone()
            # Not while somebody holds the lock for themselves, as any role may: then the next call tries again.
            if heard and heard[0]:
                self._heard_on = connection
        return connection

    def take(self, at_most: int) -> list[VectorRequest]:
        """EmbedRequests that are this worker's to answer, first come first."""
        return [VectorRequest(*row) for row in self._rows("take_questions", at_most=at_most)]

    def answer(self, answers: Sequence[Answer]) -> None:
        """Let the callers have their answers; those who gave up get none."""
        values = {
            "ids": [answer.id for answer in answers],
            "embeddings": Vectors([answer.vector for answer in answers]),
            "refusals": [answer.refusal for answer in answers],
        }
        self._once("answer_questions", values)

    def decline(self, question: VectorRequest, reason: str) -> None:
        """Leave it to another worker; `reason` is the answer when there is none."""
        self._one("decline_question", id=question.id, reason=reason)


class EmbedRequests:
    """Runs in a thread of its own, beside a worker's or alone."""

    def __init__(
        self, line: Line, models: Models, stopping: threading.Event, served: Callable[[], Collection[str]] = tuple
    ) -> None:
        """`served` are models to load although no pipeline has them: a name may come from anybody who may ask."""
        self._line, self._models, self._stopping, self._served = line, models, stopping, served

    def run(self) -> None:
        """Answer until stopping. An error of the database's is logged, and the rest of the process goes on."""
        try:
            while not self._stopping.is_set():
                self._guarded()
        finally:
            self._line.close()

    def _guarded(self) -> None:
        try:
            self._wait_and_answer()
        except (psycopg.Error, DatabaseUnavailableError) as error:
            if self._stopping.is_set() and is_connection_error(error):
                return
            state = error.sqlstate if isinstance(error, psycopg.Error) else None
            get_logger().error("questions_failed", error=type(error).__name__, sqlstate=state)
            self._stopping.wait(PAUSE_S)

    def _wait_and_answer(self) -> None:
        while self.turn() and not self._stopping.is_set():
            pass
        waited_s = 0.0
        while waited_s < LOOK_EVERY_S and not self._stopping.is_set():
            if self._line.hear(LOOK_UP_S):
                return
            waited_s += LOOK_UP_S

    def turn(self) -> bool:
        """Take what waits and answer it; False when nothing did."""
        questions = self._line.take(AT_MOST)
        started = [(question, self._start(question)) for question in questions]
        answers = [_answer(question, pending) for question, pending in started if pending is not None]
        if answers:
            self._line.answer(answers)
        return bool(questions)

    def _start(self, question: VectorRequest) -> EmbeddingsFuture | None:
        """The text in the model; None when it was declined."""
        try:
            embedder = self._embedder(question)
        except ModelError as error:
            self._line.decline(question, str(error))
            return None
        try:
            return embedder.start([question.text], kind=question.kind, urgent=True)  # whatever it is, somebody waits
        except Exception as error:
            return FailedFuture(error)

    def _embedder(self, question: VectorRequest) -> Embedder:
        if not question.known and question.model not in self._served():
            raise ModelError(f"No pipeline has the model {question.model}, and no worker was told to serve it.")
        embedder = self._models.named(question.model)
        if question.fingerprint not in (None, embedder.fingerprint):
            raise ModelMismatchError(
                f"The vectors to be searched are of {question.fingerprint}, but {question.model} of this worker is "
                f"{embedder.fingerprint}: start a worker of the version and the precision that made them."
            )
        return embedder


def _answer(question: VectorRequest, pending: EmbeddingsFuture) -> Answer:
    """Never raises: the error is the caller's to hear of, and without its message, which may hold the text."""
    try:
        return Answer(question.id, pending.result().vectors[0])
    except Exception as error:
        name = type(error).__name__
        get_logger().warning("question_failed", model=question.model, error=name)
        return Answer(question.id, None, f"The model {question.model} could not embed the text ({name}).")


@contextmanager
def answering(
    conninfo: str, models: Models, served: Callable[[], Collection[str]], on_death: Callable[[], None]
) -> Iterator[None]:
    """Answer questions while the block runs, without a worker; `on_death` is called if that ends by itself."""
    stopping = threading.Event()
    questions = EmbedRequests(Line(conninfo, stopping, "questions"), models, stopping, served)

    def run() -> None:
        try:
            questions.run()
        finally:
            if not stopping.is_set():
                on_death()

    thread = threading.Thread(target=run, name="questions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(END_WITHIN_S)
