"""CTranslate2, from its own conversion of the checkpoint.

Settings: `compute` float32 or int8 or another of its types; `plan` arrival or length; `size` texts or tokens of a
batch; `streams` workers that share the model, the threads divided among them; 0: one, with all threads.
"""

from bench.engines.common import (
    CTRANSLATE2,
    Batch,
    Embed,
    Float32Array,
    Setup,
    batches,
    by_length,
    in_order,
    load_tokenizer,
    map_batches,
    pooled,
)

PACKAGES = ("ctranslate2",)


def load(setup: Setup) -> Embed:
    """The encoder in this precision."""
    import ctranslate2
    import numpy as np

    settings = setup.settings
    streams = int(settings.get("streams", 0))
    encoder = ctranslate2.Encoder(
        str(setup.folder / CTRANSLATE2),
        device="cpu",
        compute_type=str(settings["compute"]),
        inter_threads=streams or 1,
        intra_threads=setup.threads // (streams or 1),
    )
    tokenize = load_tokenizer(setup)

    def run(batch: Batch) -> Float32Array:
        lengths = batch.mask.sum(axis=1)
        ids = [row[:length].tolist() for row, length in zip(batch.ids, lengths, strict=True)]
        hidden = np.array(encoder.forward_batch(ids).last_hidden_state)
        return pooled(hidden, batch.mask[:, : hidden.shape[1]])

    def embed(texts: list[str]) -> Float32Array:
        encoded, size = tokenize(texts), int(settings["size"])
        plan = in_order(encoded, size) if settings["plan"] == "arrival" else by_length(encoded, size)
        return map_batches(run, batches(encoded, plan), max(1, streams))

    return embed
