"""Providers of embeddings: their requests, their failures as types, and the settings that enable them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgembedd.errors import ConfigurationError, ModelError, PgembeddError, ProviderBusyError, ProviderRefusedError
from pgembedd.model.probes import PROBES
from pgembedd.model.providers import client
from pgembedd.model.providers.configured import Provider, enabled_providers, split_model
from pgembedd.model.providers.embedder import ProviderModel, load, plan_batches
from pgembedd.model.providers.protocol import Limits
from pgembedd.settings import Settings
from pgembedd.settings.limits import vectors_bytes
from tests.support.servers.provider import StandInProvider, provider, vector
from tests.support.servers.stand_in import Answer, Cut, Received, json_answer
from tests.support.waiting import PATIENCE_S, eventually

__all__ = ["provider"]

KEY = "sk-of/this+test"


def configured(folder: Path, **sections: dict[str, Any]) -> dict[str, Provider]:
    """The providers of a file with these sections."""
    lines = [
        line
        for name, members in sections.items()
        for line in (f"[{name}]", *(f"{member} = {value!r}" for member, value in members.items()))
    ]
    (folder / "providers.toml").write_text("\n".join(lines))
    (folder / "key").write_text(KEY + "\n")
    return enabled_providers(Settings(providers_file=str(folder / "providers.toml")))


@contextmanager
def model_of(name: str, url: str, folder: Path, **members: Any) -> Iterator[ProviderModel]:
    """The model of that name at the stand-in."""
    section = {"url": url, "key_file": str(folder / "key"), **members}
    with closing(load(name, configured(folder, **{name.partition(":")[0]: section}), lambda *_: None)) as model:
        yield model


def test_certificates_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with (
        pytest.raises(ConfigurationError, match="that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: No such"),
        model_of("openai:text-embedding-3-small", "https://127.0.0.1:1", tmp_path),
    ):
        pass
    with (
        pytest.raises(ModelError, match="does not answer"),  # it needs none
        model_of("openai:text-embedding-3-small", "http://127.0.0.1:1", tmp_path),
    ):
        pass


def test_each_provider_is_asked_in_its_own_protocol(provider: StandInProvider, tmp_path: Path) -> None:
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("openai:text-embedding-3-small", "/v1/embeddings", {"input": ["a", "b"], "encoding_format": "float"}),
        ("house:e5", "/v1/embeddings", {"input": ["a", "b"], "model": "e5"}),
        ("ollama:nomic-embed-text:v1.5", "/api/embed", {"model": "nomic-embed-text:v1.5", "truncate": False}),
        ("huggingface:thenlper/gte-small", "/models/thenlper/gte-small/pipeline/feature-extraction", {}),
        ("cohere:embed-v4.0", "/v2/embed", {"input_type": "search_query", "texts": ["a", "b"]}),
        ("voyage:voyage-3.5", "/v1/embeddings", {"input_type": "query", "truncation": False}),
    ]
    for name, path, members in cases:
        provider.received.clear()
        with model_of(name, provider.url, tmp_path) as model:
            found = model.start(["a", "b", "a"], kind="query").result().vectors
        probe, asked = provider.received
        assert (asked.path, {**asked.body, **members}) == (path, asked.body)
        assert PROBES[0] in str(probe.body)
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert model.fingerprint == f"{name}/1536"
        want = np.array([vector(text) for text in "aba"])
        assert np.allclose(found, want / np.linalg.norm(want, axis=1, keepdims=True), atol=1e-6)


def test_vectors_are_shortened_by_the_providers_that_can(provider: StandInProvider, tmp_path: Path) -> None:
    shortened = dict.fromkeys(("openai", "house", "ollama", "cohere", "voyage"), 256)
    for name, dims in (shortened | {"huggingface": 1536}).items():
        with model_of(f"{name}:m", provider.url, tmp_path, dimensions=256) as model:
            assert (name, model.dims) == (name, dims)


def test_limits_cut_texts_and_make_batches(provider: StandInProvider, tmp_path: Path) -> None:
    assert list(plan_batches([3, 3, 3, 9, 1], Limits(2, 9, max_request_tokens=9))) == [[0, 1], [2], [3], [4]]
    with model_of("house:e5", provider.url, tmp_path, max_tokens=20, max_inputs=2, dimensions=256) as model:
        long = " ".join(["word"] * 30)
        found = model.start([long, "one", "two", ""]).result()
        assert (model.dims, found.tokens[0], found.dropped[0], found.dropped[1]) == (256, 30, 10, 0)
        assert tuple(provider.texts()[:3]) == PROBES
        assert sorted(provider.texts()[3:]) == sorted([" ".join(["word"] * 20), "one", "two", ""])
        assert [len(asked.body["input"]) for asked in provider.received] == [2, 1, 2, 2]
        assert len(model.split(long, tokens=16, overlap=0, markdown=False)) == 2
        with pytest.raises(ConfigurationError, match="no token ids"):
            model.start([(1, 2)])


class Counted:
    """Counts as the database does."""

    def __init__(self) -> None:
        self.taken = self.tokens = 0

    def take(self, provider: str, tokens: int, tokens_per_day: int | None, requests_per_day: int | None) -> bool:
        self.taken = self.tokens = tokens
        return (provider, tokens_per_day, requests_per_day) == ("openai", None, None)

    def correct(self, provider: str, tokens: int) -> None:
        assert provider == "openai"
        self.tokens += tokens


def error(status: int, **members: str) -> Answer:
    """A refusal in OpenAI's form."""
    return json_answer({"error": {"message": f"No: {KEY}.", **members}}, status, retry_after="0")


FAILURES: list[tuple[Answer, type[PgembeddError], str]] = [
    (error(429), ProviderBusyError, r"status 429: No: \[key\]"),
    *[(error(status), ProviderBusyError, f"status {status}") for status in (408, 425, 502, 503, 504)],
    (json_answer({"error": "x" * 290 + KEY}, 503), ProviderBusyError, r"x\[key\]$"),
    (Answer(503, {}, [b'{"error": "No: sk-of\\/this\\u002btest"}']), ProviderBusyError, r"No: \[key\]"),
    (Answer(503, {}, [b"<p>" + b"x" * 290 + KEY.encode()]), ProviderBusyError, r"x\[key\]$"),
    (Answer(200, {}, [b'{"da', Cut()]), ProviderBusyError, "does not answer"),
    (error(429, code="insufficient_quota"), ProviderRefusedError, "status 429"),
    (error(401), ProviderRefusedError, r"No: \[key\]"),
    (Answer(302, {"location": "http://127.0.0.1:1"}), ProviderRefusedError, "status 302"),
    (error(400), ModelError, "status 400"),
    (error(500), ModelError, "status 500"),
    (json_answer({"data": []}), ModelError, "0 vectors for 1 text."),
    (json_answer({"data": [{"index": 1, "embedding": [1.0]}]}), ModelError, "something else than vectors"),
    (json_answer({"data": [{"index": i, "embedding": [1.0]} for i in (0, 1)]}), ModelError, "2 vectors for 1 text."),
    (json_answer({"data": [{"index": 0, "embedding": ["x"]}]}), ModelError, "without numbers"),
    (json_answer({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), ProviderRefusedError, "now gives 2"),
    (json_answer({"data": [{"index": 0, "embedding": [0.0] * 1536}]}), ModelError, "a vector of zeros"),
    (json_answer([1]), ModelError, "something else than vectors"),
    (Answer(200, {}, [b"<html>"]), ModelError, "something else than vectors"),
]


def test_failures_are_types_and_none_shows_the_key(provider: StandInProvider, tmp_path: Path) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        for answer, kind, sentence in FAILURES:
            provider.answer = lambda _, given=answer: given  # type: ignore[misc]
            with pytest.raises(kind, match=sentence) as raised:
                model.start(["text"]).result()
            assert type(raised.value) is kind
            assert KEY not in str(raised.value)


def test_a_vector_of_zeros_among_others_is_refused(provider: StandInProvider, tmp_path: Path) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        vectors = [{"index": i, "embedding": [float(i)] * model.dims} for i in (1, 0)]
        provider.answer = lambda _: json_answer({"data": vectors})
        with pytest.raises(ModelError, match="a vector of zeros"):
            model.start(["a", "b"]).result()


def test_a_busy_provider_says_when_it_is_to_be_asked_again(provider: StandInProvider, tmp_path: Path) -> None:
    """In whole seconds or as a date, an hour at most."""
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        soon, past = (formatdate(time.time() + in_s) for in_s in (1800, -9))
        told = {"7": 7, "0.5": 1, "-1": 0, "1e9": 3600, "nan": 5, "soon": 5, "": 5, past: 0, soon: 1800}
        for given, delay_s in told.items():
            provider.answer = lambda _, given=given: json_answer({}, 503, retry_after=given)  # type: ignore[misc]
            with pytest.raises(ProviderBusyError) as raised:
                model.start(["text"]).result()
            assert raised.value.retry_after_s == pytest.approx(delay_s, abs=0 if delay_s != 1800 else 900)


@pytest.mark.parametrize(("told", "counted"), [(-5, 0), (7, 7), (10**30, 10**9)])
def test_what_a_provider_counts_is_believed_within_bounds(
    provider: StandInProvider, tmp_path: Path, told: int, counted: int
) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        model._ledger = ledger = Counted()
        well = provider.answer
        provider.answer = lambda asked: json_answer(
            json.loads(b"".join(part for part in well(asked).parts if isinstance(part, bytes)))
            | {"usage": {"prompt_tokens": told, "total_tokens": told}}
        )
        model.start(["text"]).result()
    assert ledger.tokens == (counted or ledger.taken)


def test_a_key_file_with_more_than_a_key_is_refused_in_a_sentence(provider: StandInProvider, tmp_path: Path) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        for content in (f"{KEY}\nsecond", f"{KEY}ü"):
            (tmp_path / "key").write_text(content, encoding="utf-8")
            sentence = "The file named by key_file of the provider openai holds more than a key: write one line"
            with pytest.raises(ModelError, match=f"^{sentence}") as raised:
                model.start(["text"]).result()
            assert KEY not in str(raised.value)
            assert str(tmp_path) not in str(raised.value), "who calls the service reads it"


def test_after_a_429_no_request_is_sent_until_its_time(provider: StandInProvider, tmp_path: Path) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        provider.answer = lambda _: json_answer({}, 429, retry_after="3000")
        for _ in range(2):
            with pytest.raises(ProviderBusyError) as raised:
                model.start(["text"]).result()
            assert 2000 < raised.value.retry_after_s <= 3000
        assert len(provider.received) == 2  # the probe, and one


def test_so_many_requests_with_documents_are_in_progress_and_a_query_goes_beside_them(
    provider: StandInProvider, tmp_path: Path
) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path, at_once=2, max_inputs=1) as model:
        released, before, well = threading.Event(), len(provider.received), provider.answer

        def held(asked: Received) -> Answer:
            if asked.body["input"] != ["query"]:
                released.wait(PATIENCE_S)
            return well(asked)

        provider.answer = held
        try:
            documents = model.start([f"text {number}" for number in range(4)], kind="document")
            eventually(lambda: len(provider.received) == before + 2)
            assert len(model.start(["query"], kind="query").result().vectors) == 1
            assert len(provider.received) == before + 3
            released.set()
            assert len(documents.result().vectors) == 4
        finally:
            released.set()


def test_an_answer_that_goes_on_too_long_is_given_up(
    provider: StandInProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_of("openai:text-embedding-3-small", provider.url, tmp_path) as model:
        monkeypatch.setattr(client, "LONGEST_ANSWER", -1)  # its time is over when the first part comes
        with pytest.raises(ProviderBusyError, match="The provider openai answers too slowly"):
            model.start(["text"]).result()


def test_an_answer_is_read_up_to_what_its_vectors_take(provider: StandInProvider, tmp_path: Path) -> None:
    """And an error up to 64 KB: a provider may send without an end."""
    with model_of("openai:m", provider.url, tmp_path) as model:
        most, well = vectors_bytes(2, model.dims), provider.answer
        for blanks, taken in ((most // 2, True), (most + 1, False)):
            provider.answer = lambda asked, blanks=blanks: _padded(well(asked), blanks)  # type: ignore[misc]
            if taken:
                assert model.start(["a", "b"]).result().vectors.shape == (2, model.dims)
            else:
                with pytest.raises(ModelError, match=f"more than {most} bytes"):
                    model.start(["a", "b"]).result()
        ended = threading.Event()
        endless = Answer(400, {}, [b"no" + 100_000 * b"x", ended.wait, b"more"])
        provider.answer = lambda _: endless
        with pytest.raises(ModelError, match="answered with status 400: nox"):
            model.start(["a", "b"]).result()
        ended.set()
    assert most < 200_000


def _padded(answer: Answer, blanks: int) -> Answer:
    return Answer(answer.status, answer.headers, [*answer.parts, blanks * b" "])


def test_a_provider_is_enabled_by_its_name_alone(
    provider: StandInProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    with pytest.raises(ModelError, match="The provider openai of openai:text-embedding-3-small is not enabled here"):
        load("openai:text-embedding-3-small", enabled_providers(Settings()), lambda *_: None)
    assert not provider.received
    found = enabled_providers(Settings(providers=f"ollama, house={provider.url}/v1"))
    assert {name: one.url for name, one in found.items()} == {"ollama": "http://127.0.0.1:11434", "house": provider.url}
    assert split_model("ollama:all-minilm:l6") == ("ollama", "all-minilm:l6")
    assert split_model("gte-small") is split_model("c:/models/own.onnx") is None


def test_settings_that_are_not_right_are_refused_in_a_sentence(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("openai", {}, "needs a key_file"),
        ("house", {}, "needs a URL"),
        ("house", {"url": "http://user:secret@127.0.0.1"}, "without a key in it"),
        ("house", {"url": 7}, "needs a URL"),
        ("house", {"url": url, "protocol": "grpc"}, "must be openai, ollama"),
        ("house", {"url": url, "keyfile": "k"}, "may have"),
        ("house", {"url": url, "at_once": 0}, "must be a number from 1 to 256"),
        ("house", {"url": url, "max_inputs": 1.5}, "must be a number"),
        ("House", {"url": url}, "small letters"),
    ]
    for name, members, sentence in cases:
        with pytest.raises(ConfigurationError, match=sentence):
            configured(tmp_path, **{name: members})
    (tmp_path / "providers.toml").write_text("[house")
    (tmp_path / "binary").write_bytes(b"\xff")
    files = {"providers.toml": "is not TOML", "none": "cannot be read: No such", "binary": "cannot be read: not UTF-8"}
    for name, sentence in files.items():
        with pytest.raises(ConfigurationError, match=sentence):
            enabled_providers(Settings(providers_file=str(tmp_path / name)))
    with pytest.raises(ConfigurationError, match="needs a key_file"):
        enabled_providers(Settings(providers="openai"))
