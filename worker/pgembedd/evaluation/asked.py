"""Asks a language model questions, through ask() and the workers, and measures its answers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from pgembedd.answers.questions import Question as Asked
from pgembedd.answers.questions import Questions
from pgembedd.answers.watch import follow
from pgembedd.evaluation.questions import Question, key_text
from pgembedd.search.run import in_transactions
from pgembedd.text.quantities import counted


@dataclass(frozen=True)
class Outcome:
    """The answer to one question, with the keys of the rows that it cites."""

    question: Question
    status: str
    """`complete`, `refused` or `failed`."""
    text: str = ""
    cited: tuple[str, ...] = ()
    invalid: int = 0
    """Numbers that it cites and that no source has."""
    reason: str | None = None
    """The sentence of one that failed."""

    @property
    def facts(self) -> int:
        """The number of the question's facts that the answer states, in any case and with any white space."""
        text = _plain(self.text)
        return sum(_plain(fact) in text for fact in self.question.facts)


@dataclass(frozen=True)
class AnswerQuality:
    """Shares from 0 to 1, None of nothing, and counts. An answer is one that neither was refused nor failed."""

    with_answer: int
    answered: float | None
    """Of the questions that have an answer in the table."""
    cited: float | None
    """Of these answers, the share that cites a source,"""
    relevant: float | None
    """and that cites a relevant row."""
    without_answer: int
    refused: float | None
    """Of the questions that have none."""
    facts: int
    stated: float | None
    """Of the facts."""
    invalid: int
    failed: int
    reason: str | None
    """Of the first that failed."""

    def to_json(self) -> dict[str, Any]:
        """Returns what is printed with --json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Returns what is printed."""
        found = []
        if self.with_answer:
            shares = f"{_percent(self.cited)} of these cite a source, {_percent(self.relevant)} a relevant row"
            answered = f"{_percent(self.answered)} answered"
            found.append(f"{counted(self.with_answer, 'question')} with an answer: {answered}; {shares}")
        if self.without_answer:
            found.append(f"{counted(self.without_answer, 'question')} without one: {_percent(self.refused)} refused")
        if self.facts:
            found.append(f"{counted(self.facts, 'fact')}: {_percent(self.stated)} stated")
        invalid = "citation of a source that there is not", "citations of sources that there are not"
        found.append(counted(self.invalid, *invalid))
        if self.failed:
            found.append(f"{self.failed} failed, the first one: {self.reason}")
        return found


def ask_all(
    connection: psycopg.Connection,
    pipeline: str,
    asked: Sequence[Question],
    vectors: Sequence[Sequence[float]],
    timeout_s: float,
    show: Callable[[int], None],
) -> list[Outcome]:
    """Asks one question after another; GenerationTimeoutError where nothing comes for `timeout_s` seconds.

    The connection is in autocommit. `show` is called with how many are done.
    """
    found: list[Outcome] = []
    questions = Questions(in_transactions(connection))
    for question, vector in zip(asked, vectors, strict=True):
        answer = questions.ask(Asked(pipeline, question.query, embedding=vector)).id
        *_, last = follow(connection, answer, timeout_s=timeout_s)
        now = questions.state(answer)
        text = now.answer if now is not None and now.answer else ""
        if last.name == "error":
            found.append(Outcome(question, "failed", text, reason=str(last.data.get("message"))))
        else:
            numbers = last.data.get("citations") or []
            keys = [key_text(one["key"]) for one in questions.sources(answer) if one["n"] in numbers]
            invalid = len(last.data.get("invalid") or [])
            found.append(Outcome(question, last.data["status"], text, tuple(keys), invalid))
        show(len(found))
    return found


def judge_answers(outcomes: Sequence[Outcome]) -> AnswerQuality:
    """Returns what the answers are worth; a question without relevant rows has no answer in the table."""
    known = [one for one in outcomes if one.question.relevant]
    unknown = [one for one in outcomes if not one.question.relevant]
    answers = [one for one in known if one.status == "complete"]
    failed = [one for one in outcomes if one.status == "failed"]
    facts = sum(len(one.question.facts) for one in known)
    return AnswerQuality(
        with_answer=len(known),
        answered=_share(len(answers), len(known)),
        cited=_share(sum(bool(one.cited) for one in answers), len(answers)),
        relevant=_share(sum(not one.question.relevant.keys().isdisjoint(one.cited) for one in answers), len(answers)),
        without_answer=len(unknown),
        refused=_share(sum(one.status == "refused" for one in unknown), len(unknown)),
        facts=facts,
        stated=_share(sum(one.facts for one in known), facts),
        invalid=sum(one.invalid for one in outcomes),
        failed=len(failed),
        reason=failed[0].reason if failed else None,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
