"""`pgembedd tune`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pgembedd.model import Session
    from pgembedd.model.autotune import Measured, Tuning
    from pgembedd.model.specs import Precision


@click.command("tune")
@click.argument("name", default="gte-small")
@click.option(
    "--precision", type=click.Choice(["fp32", "int8"]), default="fp32", show_default=True, help="Of the model's graph."
)
@click.option(
    "--model-dir", envvar="PGEMBEDD_MODEL_DIR", type=click.Path(path_type=Path), help="Directory with its files."
)
@click.option("--forget", is_flag=True, help="Measure nothing; forget what was found before.")
def command(name: str, precision: "Precision", model_dir: Path | None, forget: bool) -> None:
    """Measure what suits this machine best, and remember it for every worker on it: a minute or two.

    Run it while nothing else does. It changes the speed, never the vectors.
    """
    from pgembedd.model import Session
    from pgembedd.model.autotune import default_tuning, remember, search_best

    def load(tuning: "Tuning | None" = None) -> "Session":
        return Session(name, precision=precision, model_dir=model_dir, tuning=tuning, notify=_say)

    with load() as session:
        model, fingerprint = session.name, session.fingerprint
    if forget:
        remember(fingerprint, None)
        click.echo(f"Forgotten: {model} at {precision} runs as it would without tuning.")
        return
    best = search_best(load, sample_texts(), _report)
    if best.tuning == default_tuning():
        remember(fingerprint, None)
        click.echo(
            f"{model} at {precision} does best as it is, with {_setting(best.tuning)}; there is nothing to keep."
        )
        return
    path = remember(fingerprint, best.tuning)
    click.echo(f"{model} at {precision} does best with {_setting(best.tuning)}; remembered in {path}.")


def sample_texts() -> list[str]:
    """A fixed mixture of short texts and of some hundred words each, as tables have."""
    from pgembedd.model.retrieval import load_cranfield

    collection = load_cranfield()
    return [*list(collection.documents.values())[::20], *collection.queries.values()]


def _report(measured: "Measured") -> None:
    click.echo(f"  {_setting(measured.tuning):<42} {measured.texts_per_s:8.1f} texts/s")


def _setting(tuning: "Tuning") -> str:
    threads = "1 thread" if tuning.threads == 1 else f"{tuning.threads} threads"
    if tuning.run_tokens == 1:
        return f"{threads}, every text alone"
    return f"{threads}, up to {tuning.run_tokens} tokens a run"


def _say(line: str) -> None:
    click.echo(line, err=True)
