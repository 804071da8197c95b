"""The texts of a request: the model that is to embed them, and limits on them."""

from collections.abc import Iterable

from fastapi.concurrency import run_in_threadpool

from pgembedd.http.errors.refusals import Refusal
from pgembedd.http.models.served import ServedModels
from pgembedd.model.embedder import Embedder
from pgembedd.model.futures import Embeddings, Text
from pgembedd.settings import HttpSettings
from pgembedd.telemetry.observer import Observer

BYTES_PER_TOKEN = 4


async def model_for(served: ServedModels, model: str | None, pipeline: str | None) -> Embedder:
    """Returns the model of a request; loading it, or asking the database for the pipeline, is done in a thread."""
    if pipeline is None:
        found = served.get_if_loaded(model)
        return found if found is not None else await run_in_threadpool(served.get, model)
    if model is not None:
        raise Refusal(422, "Name a model or a pipeline, not both.", "wrong_shape", param="pipeline")
    return await run_in_threadpool(served.of_pipeline, pipeline)


def check_inputs(http: HttpSettings, embedder: Embedder, texts: list[str]) -> None:
    """Raises Refusal for no texts, blank ones, too many, or too many tokens."""
    if not texts or any(not text.strip() for text in texts):
        raise Refusal(
            422, "The input is empty: send at least one text, none of them blank.", "empty_input", param="input"
        )
    if len(texts) > http.http_max_inputs:
        raise Refusal(
            413, f"{len(texts)} texts are more than {http.http_max_inputs} (PGEMBEDD_HTTP_MAX_INPUTS).", param="input"
        )
    check_tokens(http, estimated_tokens(texts, embedder.max_tokens), "The texts have")


def check_tokens(
    http: HttpSettings, tokens: int, they_have: str, status: int = 413, code: str = "", param: str = "input"
) -> None:
    """Raises Refusal for more tokens than a request may have; `they_have` begins its sentence."""
    if tokens > http.http_max_input_tokens:
        most = f"{http.http_max_input_tokens} (PGEMBEDD_HTTP_MAX_INPUT_TOKENS)"
        sentence = f"{they_have} about {tokens} tokens, more than {most}: send fewer at a time."
        raise Refusal(status, sentence, code, param=param)


def too_long(number: int, tokens: int, embedder: Embedder) -> str:
    """Returns the sentence for a text that the model would cut."""
    return (
        f"Text {number} has {tokens} tokens, but {embedder.name} reads {embedder.max_tokens}: "
        "shorten it, cut it into chunks, or send truncate: true."
    )


def truncation(observer: Observer, embedded: Embeddings, embedder: Embedder) -> dict[str, str] | None:
    """Returns the header of an answer whose texts were cut, and counts them; None where none was."""
    texts = int((embedded.dropped > 0).sum())
    if not texts:
        return None
    observer.truncated(embedder.name, texts)
    return {"x-truncated-tokens": str(int(embedded.dropped.sum()))}


def estimated_tokens(texts: Iterable[Text], max_tokens: int) -> int:
    """Returns about how many tokens a model reads that cuts each text after `max_tokens`."""
    return sum(min(about_tokens(text), max_tokens) for text in texts)


def about_tokens(text: Text) -> int:
    """Returns about how many tokens a text has, however long."""
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1 if isinstance(text, str) else len(text)
