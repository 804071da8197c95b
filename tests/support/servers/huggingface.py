"""A stand-in for Hugging Face's inference API, which cannot be had here: answers in its shapes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers.stand_in import Answer, Received, StandIn, json_answer

PNG = b"\x89PNG\r\n\x1a\n and what follows"

ANSWERS = {
    "facebook/bart-large-cnn": [{"summary_text": "short"}],
    "distilbert/sst-2": [[{"label": "POSITIVE", "score": 0.75}, {"label": "NEGATIVE", "score": 0.25}]],
    "google-t5/t5-base": [{"translation_text": "bonjour"}],
    "Supabase/gte-small": [0.5, -0.5],
    "google-bert/fill": [{"sequence": "paris", "score": 1.0, "token": 3, "token_str": "paris"}],
}


class StandInHuggingFace(StandIn):
    """Answers by the model, not by what is asked of it."""

    def __init__(self) -> None:
        super().__init__(_answer)


def _answer(asked: Received) -> Answer:
    model = "/".join(asked.path.removeprefix("/models/").split("/")[:2])
    if model in ANSWERS:
        return json_answer(ANSWERS[model])
    if "diffusion" in model:
        return Answer(200, {"content-type": "image/png"}, [PNG])
    return json_answer({"error": f"Model {model} does not exist"}, 404)


@pytest.fixture
def huggingface() -> Iterator[StandInHuggingFace]:
    """A stand-in that listens."""
    with (stand_in := StandInHuggingFace()).running():
        yield stand_in
