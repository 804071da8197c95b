"""OpenVINO, from its own conversion of the torch model.

Settings: `form` fp32, nomask (no attention mask: equal lengths only), nncf (int8 weights and activations), or
weights (int8 weights, activations quantised on the way); `streams` 0 for its own choice; `plan` arrival or length;
`size` texts or tokens of a batch; `multiple` tokens to which lengths are rounded up.
"""

from typing import Any

from bench.engines.common import (
    OPENVINO,
    Batch,
    Embed,
    Float32Array,
    Setup,
    batches,
    by_length,
    collect,
    in_order,
    load_tokenizer,
    pooled,
)

PACKAGES = ("openvino", "nncf")


def load(setup: Setup) -> Embed:
    """Compile the model for this processor."""
    import openvino

    settings = setup.settings
    form, multiple = str(settings["form"]), int(settings.get("multiple", 1))
    model = openvino.Core().compile_model(str(setup.folder / OPENVINO.format(form=form)), "CPU", _config(setup))
    tokenize, queue = load_tokenizer(setup), openvino.AsyncInferQueue(model)

    def embed(texts: list[str]) -> Float32Array:
        encoded = tokenize(texts)
        if settings["plan"] == "arrival":
            plan = in_order(encoded, int(settings["size"]))
        else:
            plan = by_length(encoded, int(settings["size"]), multiple)
        return _run(queue, batches(encoded, plan, multiple), len(texts), masked=form != "nomask")

    return embed


def _config(setup: Setup) -> dict[str, Any]:
    """Its defaults, except that fp32 means fp32: where the processor has bf16 it would use that."""
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": setup.threads}
    if streams := int(setup.settings.get("streams", 0)):
        config["NUM_STREAMS"] = streams
    if hint := setup.settings.get("hint"):
        config["PERFORMANCE_HINT"] = hint
    if group := setup.settings.get("group"):
        config["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = int(group)
    return config


def _run(queue: Any, todo: list[Batch], count: int, *, masked: bool) -> Float32Array:
    """All batches through the queue of requests, as many at once as there are streams."""
    parts: list[tuple[list[int], Float32Array]] = []

    def finished(request: Any, batch: Batch) -> None:
        parts.append((batch.positions, pooled(request.get_output_tensor(0).data, batch.mask)))

    queue.set_callback(finished)
    for batch in todo:
        feed = {"input_ids": batch.ids}
        if masked:
            feed["attention_mask"] = batch.mask
        queue.start_async(feed, batch)
    queue.wait_all()
    return collect(count, parts)
