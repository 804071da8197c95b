"""Stand-ins for providers of embeddings, which cannot be had here: their protocols as their documents describe them.

A vector is made of the text alone, so that a text finds itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from tests.support.servers.stand_in import Answer, Received, StandIn, json_answer

DIMENSIONS = 1_536


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector that belongs to this text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return [float(number) for number in np.random.default_rng(seed).standard_normal(dimensions).round(4)]


class StandInProvider(StandIn):
    """Answers in the protocol that the path belongs to. A text with `poison` in it fails its whole request."""

    def __init__(self) -> None:
        super().__init__(answer)

    def texts(self) -> list[str]:
        """All texts that it has seen, in OpenAI's protocol."""
        return [text for asked in self.received for text in asked.body["input"]]


def answer(asked: Received) -> Answer:
    """The answer of a provider that is well."""
    body = asked.body
    texts = body.get("input") or body.get("texts") or body.get("inputs")
    if any("poison" in text for text in texts):
        return json_answer({"error": {"message": "The input has a token that is not allowed."}}, 400)
    vectors = [vector(text, body.get("dimensions") or body.get("output_dimension") or DIMENSIONS) for text in texts]
    match asked.path:
        case "/v1/embeddings":
            items = [{"index": i, "embedding": each} for i, each in enumerate(vectors)]
            return json_answer({"data": items[::-1], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        case "/api/embed":
            return json_answer({"embeddings": vectors, "prompt_eval_count": 3})
        case "/v2/embed":
            return json_answer({"embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": 3}}})
        case _:
            return json_answer(vectors)


@pytest.fixture
def provider() -> Iterator[StandInProvider]:
    """A stand-in that listens."""
    with (stand_in := StandInProvider()).running():
        yield stand_in
