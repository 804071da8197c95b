"""`/v1/embeddings` of a provider's model: the real `openai` client, our service, faults, and a service as provider."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgembedd.loop.model_loader import loader
from pgembedd.model import Session
from pgembedd.settings import Settings
from tests.support.embedders import only
from tests.support.fault_relay import FaultInjectingRelay
from tests.support.http import serving
from tests.support.servers.stand_in import Answer, Cut, json_answer

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["hello world", "How do I reset my password?", "Straße, naïve, 東京, 😀"]
VECTOR = {"index": 0, "embedding": [1.0] * 384}

FAULTS: list[tuple[Answer, int, str, str]] = [
    (json_answer({"error": {"message": "Out of order."}}, 500), 500, "model_error", "status 500: Out of order."),
    (json_answer({}, 503, retry_after="7"), 503, "provider_busy", "status 503"),
    (Answer(200, {}, [b'{"data": [', Cut()]), 503, "provider_busy", "does not answer"),
    (json_answer({"data": [VECTOR]}), 500, "model_error", "gave 1 vector for 3 texts"),
    (json_answer({"data": [VECTOR | {"index": i, "embedding": [1.0] * (i + 1)} for i in range(3)]}), 500,
     "model_error", "vectors of different lengths"),
    (json_answer({"data": [VECTOR | {"index": i, "embedding": [1.0, 2.0]} for i in range(3)]}), 503,
     "provider_refused", "gave 384 dimensions and now gives 2"),
]  # fmt: skip


@pytest.mark.slow
def test_each_fault_of_a_provider_is_an_error_of_one_request(model: Session) -> None:
    import openai

    name = f"house:{MODEL}"
    expected = model.embed(TEXTS).vectors
    with (
        serving(only(model)) as upstream,
        (relay := FaultInjectingRelay(upstream)).running(),
        serving(loader(Settings(providers=f"house={relay.url}")), http_models=name) as service,
        openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="any", max_retries=0) as client,
    ):

        def vectors(asking: openai.OpenAI) -> np.ndarray[Any, Any]:
            answer = asking.embeddings.create(model=name, input=TEXTS)
            return np.array([each.embedding for each in answer.data])

        assert np.allclose(vectors(client), expected, atol=1e-6)
        for fault, status, code, sentence in FAULTS:
            relay.faults.append(fault)
            with pytest.raises(openai.APIStatusError, match=sentence) as caught:
                vectors(client)
            assert (caught.value.status_code, caught.value.code) == (status, code)
            assert relay.url not in str(caught.value)
            if fault.headers.get("retry-after"):
                assert caught.value.response.headers["retry-after"] == "7"
            assert np.allclose(vectors(client), expected, atol=1e-6)

        seen = len(relay.received)
        relay.faults.append(json_answer({}, 429, retry_after="1"))
        assert np.allclose(vectors(client.with_options(max_retries=1)), expected, atol=1e-6)
        assert len(relay.received) == seen + 2, "the client came again when it was told to"
