"""`pgembedd model list|pull|verify`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from pgembedd.errors import ConfigurationError

if TYPE_CHECKING:
    from pgembedd.model.specs import Precision


@click.group("model")
def command() -> None:
    """The models: what there is, fetching one, checking that it computes what it should."""


@command.command("list")
def list_models() -> None:
    """The models pgembedd knows, and whether their files are on this machine."""
    from pgembedd.model import describe_models

    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in ("model", "here", "download", "dims", "tokens", "licence", "fingerprint"):
        table.add_column(column, no_wrap=True)
    for info in describe_models():
        size = f"{info.download_bytes / 1e6:.0f} MB"
        here = "yes" if info.cached else "no"
        table.add_row(
            info.name, here, size, str(info.dims), str(info.max_tokens), info.licence, info.fingerprint.split("@")[-1]
        )
    Console().print(table)


@command.command("pull")
@click.argument("name", default="gte-small")
def pull_model(name: str) -> None:
    """Fetch a model's files, check their digests and build its graph, so that a start needs no network."""
    from pgembedd.model import pull

    info = pull(name, notify=_say)
    click.echo(f"{info.name} is here and checked; fingerprint {info.fingerprint}.")


@command.command("verify")
@click.argument("name", default="gte-small")
@click.option(
    "--model-dir", envvar="PGEMBEDD_MODEL_DIR", type=click.Path(path_type=Path), help="Directory with its files."
)
@click.option("--quality", is_flag=True, help="Measure as well what a cheaper precision costs in quality; minutes.")
@click.option(
    "--precision", type=click.Choice(["int8"]), default="int8", show_default=True, help="With --quality: which one."
)
@click.option("--sample", metavar="N", type=click.IntRange(1, 225), help="With --quality: N of the 225 queries only.")
def verify_model(name: str, model_dir: Path | None, quality: bool, precision: "Precision", sample: int | None) -> None:
    """Compare what the model computes on this machine with what is known of it."""
    if sample and not quality:
        raise click.UsageError("--sample goes with --quality.")
    from pgembedd.cli.model_checks import check_known_outputs, check_quality
    from pgembedd.model import Session

    with Session(name, model_dir=model_dir, notify=_say) as session:
        check_known_outputs(session)
        if quality:
            with Session(name, model_dir=model_dir, notify=_say, precision=precision) as candidate:
                if candidate.fingerprint == session.fingerprint:
                    raise ConfigurationError(f"{session.name} has its one precision only; there is nothing to compare.")
                check_quality(session.name, (session.spec.precision, precision), session, candidate, sample)


def _say(line: str) -> None:
    click.echo(line, err=True)
