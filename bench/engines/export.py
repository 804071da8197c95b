"""Writes a model's folder in the forms that other engines read. Runs in the peers' own environment.

`python -m bench.engines.export FOLDER FORM`, where FORM is stock or exported (ONNX), fp32, nncf or weights
(OpenVINO), or ctranslate2. What nncf calibrates with is read from FOLDER/calibration.json, a list of texts.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.common import FORMS, load_tokenizer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def _torch_model(folder: Path, attention: str = "sdpa") -> Any:
    """The network as a torch module that returns the last hidden states in a tuple."""
    import torch
    from transformers import BertModel

    bert = BertModel.from_pretrained(
        folder, dtype=torch.float32, add_pooling_layer=False, attn_implementation=attention
    )
    bert.config.return_dict = False
    return bert.eval()


def _example() -> tuple[Any, Any, Any]:
    """Ids, mask and token types to trace a network with."""
    import torch

    ids = torch.randint(5, 1000, (3, 17))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    return ids, mask, torch.zeros_like(ids)


def stock(folder: Path, target: Path) -> None:
    """ONNX with the operators that onnxruntime's own optimiser fuses, as people run it."""
    from onnxruntime.transformers import optimizer

    exported(folder, target, "eager")  # it knows the attention of this form alone
    optimizer.optimize_model(str(target / "model.onnx"), "bert").save_model_to_file(str(target / "model.onnx"))


def exported(folder: Path, target: Path, attention: str = "sdpa") -> None:
    """ONNX as torch writes it, unfused."""
    import torch

    network = torch.nn.Module()
    network.bert = _torch_model(folder, attention)
    # The exporter would give a value to every optional argument of BERT's own forward.
    network.forward = lambda ids, mask, types: network.bert(ids, mask, types)[0]
    axes = {name: {0: "texts", 1: "tokens"} for name in (*INPUTS, "last_hidden_state")}
    torch.onnx.export(
        network.eval(),
        _example(),
        str(target / "model.onnx"),
        input_names=list(INPUTS),
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def openvino(folder: Path, target: Path, quantised: Callable[[Any, Path], Any] = lambda model, _: model) -> None:
    """OpenVINO's conversion of the torch model: any number of texts and tokens, token types left out."""
    import openvino

    names = INPUTS[:2]
    model = openvino.convert_model(
        _torch_model(folder),
        example_input=dict(zip(names, _example(), strict=False)),
        input=[(name, openvino.PartialShape([-1, -1])) for name in names],
    )
    for port, name in zip(model.inputs, names, strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(quantised(model, folder), str(target / "model.xml"), compress_to_fp16=False)


def quantised(model: Any, folder: Path) -> Any:
    """int8 weights and activations, ranges from the calibration texts (nncf's recipe for transformers)."""
    import nncf

    texts = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    limit = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    encoded = [np.asarray([ids], np.int64) for ids in load_tokenizer(folder, limit)(texts)]
    dataset = nncf.Dataset(encoded, lambda ids: {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    return nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=300)


def light_weights(model: Any, _: Path) -> Any:
    """int8 weights; the processor plugin quantises activations on the way."""
    import nncf

    return nncf.compress_weights(model)


def ctranslate2(folder: Path, target: Path) -> None:
    """CTranslate2's own format in fp32; it quantises at load."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(target), force=True)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "stock": stock,
    "exported": exported,
    "fp32": openvino,
    "nncf": partial(openvino, quantised=quantised),
    "weights": partial(openvino, quantised=light_weights),
    "ctranslate2": ctranslate2,
}
"""The function that writes each form into a folder."""


def main() -> None:
    """Write one form next to the others; where its folder is, all of it is."""
    folder, form = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        target = Path(unfinished, form)
        target.mkdir()
        WRITERS[form](folder, target)
        target.rename((folder / FORMS[form]).parent)


if __name__ == "__main__":
    main()
