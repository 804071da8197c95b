"""Writes a model's folder in the forms that other engines read. Runs in the peers' own environment.

`python -m bench.engines.export FOLDER FORM`, where FORM is exported (ONNX by torch), fp32, nomask, nncf or weights
(OpenVINO), or ctranslate2. What nncf calibrates with is read from FOLDER/calibration.json, a list of texts.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.engines.common import CTRANSLATE2, EXPORTED_ONNX, OPENVINO, Int64Array, Setup, load_tokenizer

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def _torch_model(folder: Path) -> Any:
    """The network as a torch module that returns the last hidden states in a tuple."""
    import torch
    from transformers import BertModel

    bert = BertModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)
    bert.config.return_dict = False
    return bert.eval()


def _example() -> tuple[Any, Any, Any]:
    """Ids, mask and token types to trace a network with."""
    import torch

    ids = torch.randint(5, 1000, (3, 17))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    return ids, mask, torch.zeros_like(ids)


def exported(folder: Path, target: Path) -> None:
    """ONNX as torch writes it, unfused."""
    import torch

    network = torch.nn.Module()
    network.bert = _torch_model(folder)
    # The exporter would give a value to every optional argument of BERT's own forward.
    network.forward = lambda ids, mask, types: network.bert(ids, mask, types)[0]
    axes = {name: {0: "texts", 1: "tokens"} for name in (*INPUTS, "last_hidden_state")}
    torch.onnx.export(
        network.eval(),
        _example(),
        str(target / Path(EXPORTED_ONNX).name),
        input_names=list(INPUTS),
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def openvino_fp32(folder: Path, target: Path) -> None:
    """OpenVINO's conversion of the torch model, weights in fp32."""
    _save(_converted(folder, masked=True), target, "fp32")


def openvino_nomask(folder: Path, target: Path) -> None:
    """The same without a mask, for runs of equal length."""
    _save(_converted(folder, masked=False), target, "nomask")


def openvino_nncf(folder: Path, target: Path) -> None:
    """int8 weights and activations, ranges from the calibration texts (nncf's recipe for transformers)."""
    import nncf

    dataset = nncf.Dataset(_calibration(folder), lambda ids: {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    quantized = nncf.quantize(
        _converted(folder, masked=True), dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=300
    )
    _save(quantized, target, "nncf")


def openvino_weights(folder: Path, target: Path) -> None:
    """int8 weights; the processor plugin quantises activations on the way."""
    import nncf

    _save(nncf.compress_weights(_converted(folder, masked=True)), target, "weights")


def ctranslate2(folder: Path, target: Path) -> None:
    """CTranslate2's own format in fp32; it quantises at load."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(target), force=True)


def _converted(folder: Path, *, masked: bool) -> Any:
    """The model with inputs by name, any number of texts and tokens; token types, and the mask, may be left out."""
    import openvino

    names = INPUTS[: 2 if masked else 1]
    model = openvino.convert_model(
        _torch_model(folder),
        example_input=dict(zip(names, _example(), strict=False)),
        input=[(name, openvino.PartialShape([-1, -1])) for name in names],
    )
    for port, name in zip(model.inputs, names, strict=True):
        port.get_tensor().set_names({name})
    return model


def _save(model: Any, target: Path, form: str) -> None:
    import openvino

    openvino.save_model(model, str(target / f"{form}.xml"), compress_to_fp16=False)


def _calibration(folder: Path) -> list[Int64Array]:
    texts = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    limit = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))["max_seq_length"]
    return [np.asarray([ids], np.int64) for ids in load_tokenizer(Setup(folder, limit, 1))(texts)]


FORMS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "exported": (EXPORTED_ONNX, exported),
    "fp32": (OPENVINO.format(form="fp32"), openvino_fp32),
    "nomask": (OPENVINO.format(form="nomask"), openvino_nomask),
    "nncf": (OPENVINO.format(form="nncf"), openvino_nncf),
    "weights": (OPENVINO.format(form="weights"), openvino_weights),
    "ctranslate2": (f"{CTRANSLATE2}/model.bin", ctranslate2),
}
"""Each form's chief file, and what writes its folder."""


def main() -> None:
    """Write one form beside the others, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("form", choices=FORMS)
    options = parser.parse_args()
    chief, write = FORMS[options.form]
    final = (options.folder / chief).parent
    with tempfile.TemporaryDirectory(dir=options.folder) as unfinished:
        write(options.folder, Path(unfinished))
        final.mkdir(exist_ok=True)
        # The chief file last: where it is, all are.
        for path in sorted(Path(unfinished).iterdir(), key=lambda path: path.name == Path(chief).name):
            shutil.move(path, final / path.name)


if __name__ == "__main__":
    main()
