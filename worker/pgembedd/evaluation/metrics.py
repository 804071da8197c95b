"""The metrics of retrieval, of one question each; their means over all questions are what is reported.

`found` are the keys as they were returned, best first; `relevant` has the grade of each relevant key, above 0.
"""

from collections.abc import Mapping, Sequence
from math import log2

TOP = 10
"""Places of a result that count."""


def ndcg(found: Sequence[str], relevant: Mapping[str, float], top: int = TOP) -> float:
    """Returns the normalised discounted cumulative gain of the first `top`, from 0 to 1.

    A key's gain is its grade, discounted by log2(rank + 1), and the sum is divided by that of the best possible order
    (Järvelin and Kekäläinen 2002, with the grade itself as gain, as trec_eval's ndcg_cut and BEIR have it).
    """
    gained = sum(relevant.get(key, 0.0) / log2(rank + 1) for rank, key in enumerate(found[:top], start=1))
    best = sorted(relevant.values(), reverse=True)[:top]
    return gained / sum(grade / log2(rank + 1) for rank, grade in enumerate(best, start=1))


def recall(found: Sequence[str], relevant: Mapping[str, float], top: int = TOP) -> float:
    """Returns the share of the relevant keys that are among the first `top` (Manning, Raghavan and Schütze 2008)."""
    return len(relevant.keys() & set(found[:top])) / len(relevant)


def reciprocal_rank(found: Sequence[str], relevant: Mapping[str, float], top: int = TOP) -> float:
    """Returns 1 / rank of the first relevant key, 0 where none is among the first `top` (Voorhees 1999, TREC-8)."""
    return next((1 / rank for rank, key in enumerate(found[:top], start=1) if key in relevant), 0.0)


METRICS = {f"nDCG@{TOP}": ndcg, f"recall@{TOP}": recall, f"MRR@{TOP}": reciprocal_rank}
"""Every metric by the name that is printed and stored."""
