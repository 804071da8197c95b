"""A pipeline is a chat model of the Vercel AI SDK, whose packages are fetched from npm once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.http.asked import QUESTION, SENTENCES, Asked, asked, while_answering
from tests.support.npm import npm_folder
from tests.support.user_tokens import signed
from tests.support.waiting import PATIENCE_S

__all__ = ["asked"]
SCRIPT = Path(__file__).with_name("vercel_chat.mjs")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> Path:
    """The script next to its packages, where Node looks for them."""
    return Path(shutil.copy(SCRIPT, npm_folder("vercel", "ai@6.0.326", "@ai-sdk/openai@3.0.141", "zod@4.6.7")))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_pipeline_is_a_chat_model_of_the_vercel_sdk(asked: Asked, program: Path, streamed: bool) -> None:
    def chat(model: str, key: str) -> Any:
        environment = {
            "BASE_URL": f"{asked.client.base_url}/v1",
            "KEY": key,
            "MODEL": model,
            "QUESTION": QUESTION,
            "STREAMED": "yes" if streamed else "",
            "PATH": os.environ["PATH"],
        }
        ended = subprocess.run(
            ["node", program], env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    answer = while_answering(asked, lambda: chat("table:documents", signed(sub="ann")))
    assert (answer["text"], answer["finish"], answer["usage"]) == ("".join(SENTENCES), "stop", 5)
    assert answer["parts"] >= (2 if streamed else 0)
    (source,) = answer["sources"]
    assert source["url"].startswith("https://example.org/")
    assert "for chats: table:documents" in chat("table:nothing", signed(sub="ann"))["failed"]
    assert "failed" in chat("table:documents", "wrong")
