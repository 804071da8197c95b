"""The order in which a worker tries the queues. Pure."""

from collections.abc import Sequence

BACKFILL_EVERY = 4


def queue_order(claim: int, lanes: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the queues to try for claim number `claim`: fresh before backfill, in every fourth claim backfill first.

    So a fresh write waits for at most one claim of a backfill, and a stream of fresh writes leaves a quarter of the
    worker to a backfill. With several queues each is the first in turn.
    """
    if not lanes:
        return []
    first = claim // BACKFILL_EVERY % len(lanes)
    rotated = [*lanes[first:], *lanes[:first]]
    fresh, backfill = [lane[0] for lane in rotated], [lane[1] for lane in rotated]
    return backfill + fresh if claim % BACKFILL_EVERY == BACKFILL_EVERY - 1 else fresh + backfill
