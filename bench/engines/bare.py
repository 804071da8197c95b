"""A bare loop as one writes it in ten lines: onnxruntime, tokenizers, batches in order of arrival, padded.

Settings: `graph` stock (fused) or exported (as torch writes it); `plan` arrival or length; `size` texts of a batch
in order of arrival, else tokens; `callers` that share the session, each with one thread; 0: one caller, all threads.
"""

from bench.engines.common import (
    EXPORTED_ONNX,
    STOCK_ONNX,
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

PACKAGES = ("onnxruntime", "tokenizers")


def load(setup: Setup) -> Embed:
    """A session on the graph, with onnxruntime's defaults unless there are several callers."""
    import numpy as np
    import onnxruntime

    settings = setup.settings
    options = onnxruntime.SessionOptions()
    callers = int(settings.get("callers", 0))
    options.intra_op_num_threads = 1 if callers else setup.threads
    path = setup.folder / {"stock": STOCK_ONNX, "exported": EXPORTED_ONNX}[settings["graph"]]
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tokenize = load_tokenizer(setup)

    def run(batch: Batch) -> Float32Array:
        feed = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": np.zeros_like(batch.ids)}
        return pooled(session.run(["last_hidden_state"], feed)[0], batch.mask)

    def embed(texts: list[str]) -> Float32Array:
        encoded, size = tokenize(texts), int(settings["size"])
        plan = in_order(encoded, size) if settings["plan"] == "arrival" else by_length(encoded, size)
        return map_batches(run, batches(encoded, plan), max(1, callers))

    return embed
