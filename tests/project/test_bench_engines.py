"""What the comparisons with other libraries rest on: texts, batches, the count of operations."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import load_corpus, sample
from bench.engines.catalogue import PEER_CASES, ours
from bench.engines.common import FORMS, Batch, Float32Array, Setup, batches, collect, in_threads, pooled
from bench.engines.files import GTE_CONFIG
from bench.engines.libraries import LIBRARIES
from bench.gpu import find_device, product_flops
from bench.roofline import operations
from bench.texts import manual_sections, plain
from pgembedd.cli.demo_documents import Document
from pgembedd.model.onnx.checkpoint import BertConfig
from pgembedd.model.onnx.runtime import CPU

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


def planned(plan: str, size: int, multiple: int = 1) -> Setup:
    """Settings of batches."""
    return Setup(Path(), 512, 2, settings={"plan": plan, "size": size, "multiple": multiple})


@pytest.mark.slow
@given(lengths=LENGTHS, size=st.integers(1, 200), multiple=st.sampled_from([1, 8, 16]), callers=st.integers(1, 3))
def test_every_plan_embeds_every_text_once_and_keeps_the_order(
    lengths: list[int], size: int, multiple: int, callers: int
) -> None:
    encoded = [[number + 1] * length for number, length in enumerate(lengths)]

    def run(batch: Batch) -> Float32Array:
        # The mean over what is no padding must be the text's own number.
        hidden = np.stack([batch.ids, np.ones_like(batch.ids)], axis=-1).astype(np.float32)
        return pooled(hidden, batch.mask)

    for plan in ("arrival", "length"):
        vectors = collect(in_threads(run, callers)(batches(encoded, planned(plan, size, multiple))))
        found = vectors[:, 0] / vectors[:, 1]
        assert np.allclose(found, np.arange(1, len(lengths) + 1))


@given(lengths=LENGTHS, size=st.integers(1, 200))
def test_texts_share_a_batch_only_where_nothing_is_padded(lengths: list[int], size: int) -> None:
    encoded = [[1] * length for length in lengths]
    for batch in batches(encoded, planned("length", size)):
        assert batch.mask.all()
        assert len(batch.positions) == 1 or batch.ids.size <= size


def test_a_sample_is_the_same_each_time_and_has_the_corpus_own_lengths() -> None:
    texts = ["x" * (1 + number**2 % 997) + str(number) for number in range(2000)]
    chosen = sample(texts, 200)
    assert chosen == sample(list(reversed(texts)), 200)
    assert len(set(chosen)) == 200
    ranks = (10, 50, 90)
    of_all, of_some = (np.percentile([len(text) for text in some], ranks) for some in (texts, chosen))
    assert np.allclose(of_all, of_some, rtol=0.05)


@pytest.mark.slow
def test_the_corpus_says_what_this_machine_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: list[Document]
) -> None:
    monkeypatch.setattr("bench.corpus.standard_library", lambda: library)
    monkeypatch.setattr("bench.corpus.manual_sections", lambda: manual_sections(tmp_path))
    corpus = load_corpus()
    assert any("no manual pages" in sentence for sentence in corpus.missing())
    assert len(corpus.texts) == len(set(corpus.texts)) > 1000


def test_sections_of_a_manual_page_become_texts(tmp_path: Path) -> None:
    (tmp_path / "man1").mkdir()
    page = '.\\" a comment\n.de XX\nsetup\n..\n.TH ls 1\n.SH NAME\nls \\- list\n.SH "SEE ALSO"\n.BR dir (1)\n'
    (tmp_path / "man1" / "ls.1").write_text(page, encoding="utf-8")
    assert list(manual_sections(tmp_path)) == ["ls(1) NAME\n\nls - list", "ls(1) SEE ALSO\n\ndir (1)"]


def test_troff_loses_its_requests_and_escapes() -> None:
    assert plain('.PP\n\\fBbold\\fR and \\(dqquoted\\(dq\n.in +4\n.I one "two"') == "bold and quoted\none two"


def test_the_operations_of_gte_small() -> None:
    """42.5 MFLOP a token, and 18.4 kFLOP a pair of tokens: 12 layers of 2 (4 x 384^2 + 2 x 384 x 1536), 4 x 384."""
    fields = {name: GTE_CONFIG[name] for name in BertConfig.__dataclass_fields__}
    config = BertConfig(**fields)
    assert operations(100, config) == 100 * 42_467_328 + 100 * 100 * 18_432


def test_every_case_reads_files_that_can_be_written_under_a_name_of_its_own() -> None:
    cases = [*ours("a model"), *PEER_CASES]
    assert {case.form for case in cases} == FORMS.keys()
    assert {case.engine for case in cases} == LIBRARIES.keys()
    assert len({case.name for case in cases}) == len(cases)


def test_without_a_gpu_its_bench_says_so() -> None:
    with pytest.raises(SystemExit, match=r"^PGEMBEDD_DEVICE is cuda, but this onnxruntime .* runs on CPUs alone: "):
        find_device(on_cpu=False)


def test_the_limit_of_a_device_is_that_of_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU provider, whose products take between a microsecond and a second."""
    monkeypatch.setattr("bench.gpu.SECONDS", 0.02)
    assert 1e6 < product_flops(CPU, 64) < 1e13
