"""What a reranker takes for a query and a text, by the tokens that it reads of both: seconds of one core.

The time of the processor, which other processes of the machine add little to.
"""

import time
from argparse import Namespace
from functools import partial

from bench.report import Result, compare, interleave, main
from pgembedd.model.reranker import Reranker

QUERY = "how do I reset my password"
LENGTHS = (32, 64, 128, 256, 512)


def text_of(reranker: Reranker, tokens: int) -> str:
    """Returns a text that has so many tokens together with the query."""
    alone = int(reranker.start(QUERY, ["password"]).result().tokens[0])
    return "password " * (tokens - alone + 1)


def used_s(reranker: Reranker, text: str) -> float:
    """Returns the seconds of the processor's time that a pair takes."""
    before = time.process_time()
    reranker.score(QUERY, [text])
    return time.process_time() - before


def measure(options: Namespace) -> list[Result]:
    """Seconds of a pair of each length."""
    with Reranker(threads=1) as reranker:
        texts = {length: text_of(reranker, length) for length in LENGTHS}
        read = reranker.start(QUERY, list(texts.values())).result().tokens.tolist()
        if read != list(LENGTHS):
            raise RuntimeError(f"The pairs have {read} tokens.")
        cases = {f"pair of {length} tokens": partial(used_s, reranker, text) for length, text in texts.items()}
        return compare("rerank", "s", interleave(cases, options.rounds), f"pair of {LENGTHS[0]} tokens")


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "onnxruntime", rounds=20)
