"""The demo of answers: three questions about Python's standard library, answered from its documentation."""

import os
from pathlib import Path

from rich.console import Console

from pgembedd.cli.ask import ask_and_print
from pgembedd.cli.demo_steps import PIPELINE, Step, documents_embedded, worker_process
from pgembedd.cli.search import chosen_pipeline
from pgembedd.database.connect import connect
from pgembedd.database.migrate import migrate
from pgembedd.errors import ConfigurationError
from pgembedd.language.endpoint import HOST_VARIABLE
from pgembedd.settings import Settings

QUESTIONS = (
    "How do I read a csv file into dictionaries?",
    "How do I wait for a thread to finish?",
    "Who won the football match yesterday?",
)
TIMEOUT_S = 600.0


def check_server() -> None:
    """Raises ConfigurationError where no language model's server is named."""
    if not os.environ.get(HOST_VARIABLE):
        raise ConfigurationError(
            "The demo of answers needs a language model: start Ollama (`ollama serve`, `ollama pull mistral`) and set "
            f"{HOST_VARIABLE}=http://127.0.0.1:11434, or another server with PGEMBEDD_LANGUAGE_MODE=openaicompatible "
            "and PGEMBEDD_LANGUAGE_MODEL."
        )


def run_demo(conninfo: str, log: Path, console: Console) -> None:
    """Embeds the documents as the other demo does, and asks."""
    check_server()
    step = Step(console)
    migrate(conninfo)
    with connect(conninfo, autocommit=True) as connection, worker_process(conninfo, log) as check_worker:
        documents_embedded(connection, step, console, check_worker, log)
        where = chosen_pipeline(connection, PIPELINE)
        step("Questions, answered from these rows alone")
        for question in QUESTIONS:
            console.print(f"\n  [italic]{question}[/]")
            ask_and_print(connection, where, question, settings=Settings(log_level="error"), timeout_s=TIMEOUT_S)
