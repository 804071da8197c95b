"""In which order a worker looks at the lanes. Pure."""

from collections.abc import Sequence

BACKFILL_EVERY = 4


def queue_order(turn: int, lanes: Sequence[tuple[str, str]]) -> list[str]:
    """Queues to try for the claim number `turn`: fresh before backfill, but every fourth turn the other way round.

    So a fresh write waits for one claim of a backfill at most, and a stream of fresh writes leaves a backfill
    a quarter of the worker. ObserverGroup queues take turns at being first.
    """
    if not lanes:
        return []
    first = turn // BACKFILL_EVERY % len(lanes)
    rotated = [*lanes[first:], *lanes[:first]]
    fresh, backfill = [lane[0] for lane in rotated], [lane[1] for lane in rotated]
    return backfill + fresh if turn % BACKFILL_EVERY == BACKFILL_EVERY - 1 else fresh + backfill
