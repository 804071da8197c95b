"""Each client's way of having long texts cut off, as docs/how-to/clients.md lists them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from pgembedd.model import Session
from tests.support.clients import run_program
from tests.support.embedders import only
from tests.support.http import serving

pytestmark = pytest.mark.clients

CUT = 'extra_body={"truncate": True}'
PYTHON = """
import os
model, key, url = "all-MiniLM-L6-v2", "a word", os.environ["SERVICE"] + "/v1"
texts = ["word " * 1000, "short"]
"""
JS = """
const model = "all-MiniLM-L6-v2", apiKey = "a word", baseURL = process.env.SERVICE + "/v1";
const texts = ["word ".repeat(1000), "short"];
"""
# A program that prints how many vectors it got, and what it adds to its calls to have texts cut off, if it can.
PROGRAMS = {
    "OpenAI": ("""
from openai import OpenAI
print(len(OpenAI(base_url=url, api_key=key).embeddings.create(model=model, input=texts, EXTRA).data))
""", CUT),
    "LangChain": ("""
from langchain_openai import OpenAIEmbeddings
client = OpenAIEmbeddings(model=model, base_url=url, api_key=key, check_embedding_ctx_length=False, EXTRA)
print(len(client.embed_documents(texts)))
""", f"model_kwargs=dict({CUT})"),
    "LlamaIndex": ("""
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
client = OpenAILikeEmbedding(model_name=model, api_base=url, api_key=key, EXTRA)
print(len(client.get_text_embedding_batch(texts)))
""", f"additional_kwargs=dict({CUT})"),
    "LiteLLM": ("""
import litellm
print(len(litellm.embedding(model="openai/" + model, api_base=url, api_key=key, input=texts, EXTRA).data))
""", CUT),
    "Haystack": ("""
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder
from haystack.utils import Secret
token = Secret.from_token(key)
client = OpenAIDocumentEmbedder(model=model, api_base_url=url, api_key=token, raise_on_failure=True)
print(len([each.embedding for each in client.run([Document(content=text) for text in texts])["documents"]]))
""", None),
    "AI SDK": ("""
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany } from "ai";
const client = createOpenAICompatible({ name: "pgembedd", baseURL, apiKey }).embeddingModel(model);
console.log((await embedMany({ model: client, values: texts })).embeddings.length);
""", None),
}  # fmt: skip


def printed(program: str, service: httpx.Client, folder: Path) -> str:
    """What a program prints, or the error that it ends with."""
    python = "import {" not in program
    path = folder / ("program.py" if python else "program.mjs")
    path.write_text((PYTHON if python else JS) + program, encoding="utf-8")
    ended = run_program(path, SERVICE=str(service.base_url), LITELLM_LOCAL_MODEL_COST_MAP="true")
    return ended.out.strip() if ended.code == 0 else ended.err


@pytest.mark.parametrize("client", PROGRAMS)
def test_long_texts_are_refused_until_they_may_be_cut(model: Session, tmp_path: Path, client: str) -> None:
    program, extra = PROGRAMS[client]
    with serving(only(model)) as service:
        refusal = printed(program.replace(", EXTRA", ""), service, tmp_path)
        assert "maximum context length is 256 tokens, but input 0 has 1002" in refusal
        if extra:
            assert printed(program.replace("EXTRA", extra), service, tmp_path) == "2"
            return
    with serving(only(model), http_truncate="on") as service:
        assert printed(program, service, tmp_path) == "2"
