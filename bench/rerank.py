"""What a reranker takes for a query and a text, by the tokens that it reads of both: seconds of one core.

Beside it a graph of pgembedd's of the same size, with random weights, for a text of as many tokens: what the reranker
would take if its checkpoint were to be had. The time of the processor, which other processes of the machine add little
to.
"""

import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial

from bench.engines.files import GTE_SHAPE, model_files
from bench.report import Result, compare, interleave, main
from pgembedd.model import RERANKERS, Session
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.model_spec import TOKENIZER, Precision
from pgembedd.model.reranker import Reranker

QUERY = "how do I reset my password"
LENGTHS = (32, 64, 128, 256, 512)
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def text_of(reranker: Reranker, tokens: int) -> str:
    """Returns a text that has so many tokens together with the query."""
    alone = int(reranker.start(QUERY, ["password"]).result().tokens[0])
    return "password " * (tokens - alone + 1)


def used_s(work: Callable[[], object]) -> float:
    """Returns the seconds of the processor's time that some work takes."""
    before = time.process_time()
    work()
    return time.process_time() - before


def measure(options: Namespace) -> list[Result]:
    """Seconds of a pair of each length, and of a text of each length."""
    with Reranker(threads=1) as reranker:
        texts = {length: text_of(reranker, length) for length in LENGTHS}
        read = reranker.start(QUERY, list(texts.values())).result().tokens.tolist()
        if read != list(LENGTHS):
            raise RuntimeError(f"The pairs have {read} tokens.")
        cases = {
            f"pair of {length} tokens": partial(used_s, partial(reranker.score, QUERY, [text]))
            for length, text in texts.items()
        }
        name, _ = model_files(GTE_SHAPE, ModelFiles(RERANKERS[reranker.name]).obtain(TOKENIZER))
        for precision in PRECISIONS:
            ours = Session(name, threads=1, precision=precision)
            cases |= {
                f"our graph at {precision}, {length} tokens": partial(
                    used_s, partial(ours.embed, ["password " * (length - 2)])
                )
                for length in LENGTHS
            }
        return compare("rerank", "s", interleave(cases, options.rounds), f"pair of {LENGTHS[0]} tokens")


if __name__ == "__main__":
    main(__doc__, measure, "pgembedd", "onnxruntime", rounds=20)
