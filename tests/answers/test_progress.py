"""All that follow an answer know its events in one way, and find out in one way that no worker takes the question."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgembedd.answers.progress import UNTAKEN_AGAIN_S, UNTAKEN_S, Progress, WorkerCheck
from pgembedd.database.answers import AnswerEvent

GENERATING = AnswerEvent("status", {"status": "generating", "attempt": 1}, 1)
AGAIN = AnswerEvent("status", {"status": "queued", "attempt": 1, "reason": "It went away."}, 2)
DONE = AnswerEvent("done", {"status": "complete"}, 3)


@given(st.lists(st.lists(st.integers(1, 9), max_size=5)))
def test_events_are_known_once_and_in_their_order(readings: list[list[int]]) -> None:
    known, new = Progress(), []
    for reading in readings:
        new += known.add([AnswerEvent("delta", {"text": "x"}, seq) for seq in reading])
    assert new == known.events
    assert [event.seq for event in new] == sorted({event.seq for event in new})
    assert known.seq == max((seq for reading in readings for seq in reading), default=0)


def test_nothing_follows_the_last_event() -> None:
    known = Progress()
    assert known.add([DONE, AnswerEvent("delta", {"text": "x"}, 4)]) == [DONE]
    assert known.over
    assert known.add([AnswerEvent("delta", {"text": "x"}, 5)]) == []


def test_a_worker_has_a_question_until_its_attempt_fails() -> None:
    known = Progress()
    found = [known.is_taken]
    for event in (GENERATING, AnswerEvent("delta", {"text": "x"}, 2), AnswerEvent(AGAIN.name, AGAIN.data, 3)):
        known.add([event])
        found.append(known.is_taken)
    assert found == [False, True, True, False]


def test_that_no_worker_is_there_is_looked_for_seldom_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    check, known = WorkerCheck(), Progress()
    assert not check.is_due(known)
    now += UNTAKEN_S
    assert check.is_due(known)
    assert not check.tells(is_untaken=False)
    assert not check.is_due(known)
    now += UNTAKEN_AGAIN_S
    assert check.is_due(known)
    known.add([GENERATING])
    assert not check.is_due(known)
    known.add([AGAIN])
    assert check.tells(is_untaken=True)
    now += 1000 * UNTAKEN_AGAIN_S
    assert not check.is_due(known)
