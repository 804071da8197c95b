"""The libraries, each loaded from a folder of model files. Their settings, apart from those of `common.batches`:

- ours: `model`, the name or path that `Session` takes;
- bare: `callers` that share the session, each with one thread; 0: one caller, all threads;
- ctranslate, openvino: `streams` that share the model, the threads divided among them; 0: the library's own choice;
- openvino: `group` of values that share a scale where activations are quantised on the way;
- fastembed, sentence: `size` texts of a batch, else their defaults, 256 and 32;
- sentence: `backend` torch or onnx; `callers` as of bare; `device`.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bench.engines.common import FORMS, Batch, Embed, Float32Array, Setup, batched, collect, in_threads, pooled


def ours(setup: Setup) -> Embed:
    """A session as the worker opens it."""
    from pgembedd.model import Session

    session = Session(setup.settings["model"], precision=setup.precision, threads=setup.threads)  # type: ignore[arg-type]
    return lambda texts: session.embed(texts).vectors


def bare(setup: Setup) -> Embed:
    """A loop as one writes it in ten lines: onnxruntime with its defaults, tokenizers, batches."""
    import onnxruntime

    options, callers = onnxruntime.SessionOptions(), setup.number("callers")
    options.intra_op_num_threads = 1 if callers else setup.threads
    session = onnxruntime.InferenceSession(str(setup.file), options, providers=["CPUExecutionProvider"])

    def run(batch: Batch) -> Float32Array:
        feed = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": np.zeros_like(batch.ids)}
        return pooled(session.run(["last_hidden_state"], feed)[0], batch.mask)

    return batched(setup, in_threads(run, max(1, callers)))


def fastembed(setup: Setup) -> Embed:
    """The folder as a model of its own."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        "bench/local",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/files"),
        dim=384,
        model_file=FORMS["stock"],
    )
    model = TextEmbedding("bench/local", specific_model_path=str(setup.folder))
    options = {"batch_size": size} if (size := setup.number("size")) else {}
    return lambda texts: np.asarray(list(model.embed(texts, **options)), np.float32)


def sentence(setup: Setup) -> Embed:
    """The folder as a model of its own; it sorts by length by itself."""
    callers = setup.number("callers")
    if callers:  # before torch is imported, for the pools of all threads that call it
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    from sentence_transformers import SentenceTransformer

    device = setup.settings.get("device", "cpu")
    model = SentenceTransformer(str(setup.folder), device=device, **_backend(setup, callers))
    if setup.precision == "fp16":
        model.half()

    def encode(texts: list[str]) -> Float32Array:
        size = setup.number("size", 32)
        vectors: Float32Array = model.encode(texts, normalize_embeddings=True, batch_size=size, show_progress_bar=False)
        return vectors

    def embed(texts: list[str]) -> Float32Array:
        order = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
        shares = [order[number::callers] for number in range(callers)]
        with ThreadPoolExecutor(callers) as pool:
            found = pool.map(lambda share: encode([texts[position] for position in share]), shares)
            return collect(list(zip(shares, found, strict=True)))

    return embed if callers else encode


def _backend(setup: Setup, callers: int) -> dict[str, Any]:
    if setup.settings.get("backend") != "onnx":
        return {}
    import onnxruntime

    arguments: dict[str, Any] = {"file_name": FORMS["stock"], "provider": "CPUExecutionProvider"}
    if callers:
        arguments["session_options"] = onnxruntime.SessionOptions()
        arguments["session_options"].intra_op_num_threads = 1
    return {"backend": "onnx", "model_kwargs": arguments}


def ctranslate(setup: Setup) -> Embed:
    """Its own conversion of the checkpoint, in this precision."""
    import ctranslate2

    streams = setup.number("streams", 1)
    encoder = ctranslate2.Encoder(
        str(setup.file.parent),
        device="cpu",
        compute_type={"fp32": "float32"}.get(setup.precision, setup.precision),
        inter_threads=streams,
        intra_threads=setup.threads // streams,
    )

    def run(batch: Batch) -> Float32Array:
        ids = [row[:length].tolist() for row, length in zip(batch.ids, batch.mask.sum(axis=1), strict=True)]
        hidden = np.array(encoder.forward_batch(ids).last_hidden_state)
        return pooled(hidden, batch.mask[:, : hidden.shape[1]])

    return batched(setup, in_threads(run, streams))


def openvino(setup: Setup) -> Embed:
    """Its own conversion of the torch model, compiled for this processor.

    Its defaults, except that fp32 means fp32: where the processor has bf16 it would use that.
    """
    import openvino

    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": setup.threads}
    for name, setting in (("NUM_STREAMS", "streams"), ("DYNAMIC_QUANTIZATION_GROUP_SIZE", "group")):
        config |= {name: number} if (number := setup.number(setting)) else {}
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(str(setup.file), "CPU", config))

    def run(todo: list[Batch]) -> list[tuple[list[int], Float32Array]]:
        """All batches through the queue of requests, as many at once as there are streams."""
        parts: list[tuple[list[int], Float32Array]] = []

        def finished(request: Any, batch: Batch) -> None:
            parts.append((batch.positions, pooled(request.get_output_tensor(0).data, batch.mask)))

        queue.set_callback(finished)
        for each in todo:
            queue.start_async({"input_ids": each.ids, "attention_mask": each.mask}, each)
        queue.wait_all()
        return parts

    return batched(setup, run)


LIBRARIES: dict[str, tuple[Callable[[Setup], Embed], tuple[str, ...]]] = {
    "ours": (ours, ("onnxruntime",)),
    "bare": (bare, ("onnxruntime", "tokenizers")),
    "fastembed": (fastembed, ("fastembed", "onnxruntime")),
    "sentence": (sentence, ("sentence-transformers", "transformers", "torch")),
    "openvino": (openvino, ("openvino", "nncf")),
    "ctranslate": (ctranslate, ("ctranslate2",)),
}
"""What loads each engine, and the packages whose versions count."""
