"""The embedding server that one writes in ten minutes: FastAPI on uvicorn, fastembed as it comes. For bench.http.

`python -m bench.engines.naive_http FOLDER PORT`, in the peers' own environment.
"""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from bench.engines.common import Setup
from bench.engines.libraries import fastembed


class Asked(BaseModel):
    """What is to be embedded."""

    input: str | list[str]


def main() -> None:
    """Load and serve until killed."""
    embed = fastembed(Setup(Path(sys.argv[1]), max_tokens=256, threads=0))
    app = FastAPI()

    @app.post("/embed")
    def answer(asked: Asked) -> dict[str, list[float] | list[list[float]]]:
        if isinstance(asked.input, str):
            return {"embedding": embed([asked.input])[0].tolist()}
        return {"embeddings": embed(asked.input).tolist()}

    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")


if __name__ == "__main__":
    main()
