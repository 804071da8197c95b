"""The description of a model that is not registered, read from its folder."""

from dataclasses import replace
from pathlib import Path

from pgembedd.errors import ModelError
from pgembedd.model.files.cache import sha256_of
from pgembedd.model.model_spec import CHECKPOINT, CONFIG, READY_MADE, TOKENIZER, FolderSource, ModelFile, ModelSpec
from pgembedd.model.onnx.checkpoint import read_config, read_json
from pgembedd.model.pooling import Pooling
from pgembedd.model.specs import find, resolve

_DEFAULT_MAX_TOKENS = 512


def describe_folder(path: Path, name: str | None = None) -> ModelSpec:
    """The model in a folder, or in an ONNX file that lies with its tokenizer; digests as found.

    A folder holds `tokenizer.json` and either `model.safetensors` with `config.json`, or `model.onnx`
    (also as `onnx/model.onnx`). `dims` is 0 for an ONNX file: loading it tells. ModelError where a file
    is missing.
    """
    folder, onnx = _find(path)
    names = [TOKENIZER, CONFIG, CHECKPOINT] if onnx is None else [TOKENIZER]
    for each in names:
        if not (folder / each).is_file():
            raise ModelError(f"{folder} has no {each}; copy it there, or name another folder.")
    files = [_digest(each, folder / each) for each in names]
    if onnx is not None:
        files += [_digest(READY_MADE, folder / onnx), *_external_data(folder / onnx)]
    return ModelSpec(
        name=name or (path.stem if path.is_file() else path.resolve().name),
        source=FolderSource(folder, onnx or READY_MADE),
        files=tuple(files),
        dims=read_config(folder / CONFIG).hidden_size if onnx is None else 0,
        max_tokens=_max_tokens(folder),
        licence="unknown",
        pooling=_pooling(folder),
        precision="fp32" if onnx is None else "as stored",
    )


def _find(path: Path) -> tuple[Path, str | None]:
    """The model's folder, and the ONNX file's path in it if it has one and no checkpoint."""
    if path.is_file():
        folder = path.parent if (path.parent / TOKENIZER).is_file() else path.parent.parent
        return folder, str(path.relative_to(folder))
    if not path.is_dir():
        raise ModelError(f"There is no file or folder {path}; give the path of a model's files.")
    if not (path / CHECKPOINT).is_file():
        for onnx in (READY_MADE, f"onnx/{READY_MADE}"):
            if (path / onnx).is_file():
                return path, onnx
    return path, None


def _digest(name: str, path: Path) -> ModelFile:
    return ModelFile(name, sha256_of(path), path.stat().st_size)


def _external_data(onnx: Path) -> list[ModelFile]:
    """Weights that lie next to the ONNX file (`model.onnx_data`, `model.onnx.data`) are part of the model."""
    return [_digest(each.name, each) for each in sorted(onnx.parent.glob(f"{onnx.name}?data*")) if each.is_file()]


def _max_tokens(folder: Path) -> int:
    """The limit that sentence-transformers wrote down, else the number of positions.

    Never from tokenizer_config.json: in common models it says 128 where the model reads 512.
    """
    for name, key in (("sentence_bert_config.json", "max_seq_length"), (CONFIG, "max_position_embeddings")):
        if (folder / name).is_file():
            found = read_json(folder / name).get(key)
            if isinstance(found, int) and found > 0:
                return found
    return _DEFAULT_MAX_TOKENS


def _pooling(folder: Path) -> Pooling:
    """Mean, unless sentence-transformers wrote down that the first token's vector is taken."""
    written = folder / "1_Pooling" / CONFIG
    return "cls" if written.is_file() and read_json(written).get("pooling_mode_cls_token") is True else "mean"


def describe(name: str, model_dir: Path | None) -> ModelSpec:
    """The registered model of that name, with its files in `model_dir` if that is given; else the one at the path."""
    if registered := find(name):
        return registered if model_dir is None else replace(registered, source=FolderSource(model_dir))
    if model_dir is not None:
        return describe_folder(model_dir, name)
    return describe_folder(Path(name)) if Path(name).exists() else resolve(name)
