"""A pipeline is a chat model of the Vercel AI SDK."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.http.asked import QUESTION, SENTENCES, Asked, asked, while_answering
from tests.support.clients import run_program
from tests.support.user_tokens import signed

__all__ = ["asked"]
SCRIPT = Path(__file__).with_name("chat.mjs")
pytestmark = pytest.mark.clients


@pytest.mark.parametrize("streamed", [False, True])
def test_a_pipeline_is_a_chat_model_of_the_vercel_sdk(asked: Asked, tmp_path: Path, streamed: bool) -> None:
    program = tmp_path / SCRIPT.name
    shutil.copy(SCRIPT, program)

    def chat(model: str, key: str) -> Any:
        ended = run_program(
            program,
            BASE_URL=f"{asked.client.base_url}/v1",
            KEY=key,
            MODEL=model,
            QUESTION=QUESTION,
            STREAMED="yes" if streamed else "",
        )
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    answer = while_answering(asked, lambda: chat("table:documents", signed(sub="ann")))
    assert (answer["text"], answer["finish"], answer["usage"]) == ("".join(SENTENCES), "stop", 5)
    assert answer["parts"] >= (2 if streamed else 0)
    (source,) = answer["sources"]
    assert source["url"].startswith("https://example.org/")
    assert "for chats: table:documents" in chat("table:nothing", signed(sub="ann"))["failed"]
    assert "failed" in chat("table:documents", "wrong")
