"""`pgembedd model list|pull|verify`"""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pgembedd.errors import ModelError
from pgembedd.model import RERANKERS, Reranker, Session, built_in, is_cached, pull, verify


@click.group("model")
def command() -> None:
    """The models: what there is, fetching one, checking that it computes what it should."""


@command.command("list")
def list_models() -> None:
    """The models pgembedd knows, and whether their files are on this machine."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in ("model", "here", "download", "dims", "tokens", "licence", "fingerprint"):
        table.add_column(column, no_wrap=True)
    for spec in built_in():
        size = f"{spec.download_bytes / 1e6:.0f} MB"
        here = "yes" if is_cached(spec) else "no"
        dims = str(spec.dims or "reranks")
        fingerprint = spec.fingerprint.split("@")[-1]
        table.add_row(spec.name, here, size, dims, str(spec.max_tokens), spec.licence, fingerprint)
    Console().print(table)


@command.command("pull")
@click.argument("name", default="gte-small")
def pull_model(name: str) -> None:
    """Fetch a model's files, check their digests and build its graph, so that a start needs no network."""
    spec = pull(name, notify=_say)
    click.echo(f"{spec.name} is here and checked; fingerprint {spec.fingerprint}.")


@command.command("verify")
@click.argument("name", default="gte-small")
@click.option(
    "--model-dir", envvar="PGEMBEDD_MODEL_DIR", type=click.Path(path_type=Path), help="Directory with its files."
)
def verify_model(name: str, model_dir: Path | None) -> None:
    """Compare what the model computes on this machine with what is known of it."""
    kind = Reranker if name.casefold() in RERANKERS else Session
    with kind(name, model_dir=model_dir, notify=_say) as model:
        checks = verify(model)
    for check in checks:
        mark = click.style("ok  ", fg="green") if check.ok else click.style("BAD ", fg="red")
        click.echo(f"{mark} {check.name}: {check.got} (expected {check.expected})")
    if not all(check.ok for check in checks):
        raise ModelError(f"{name} does not compute on this machine what it should: do not use it here.")


def _say(line: str) -> None:
    click.echo(line, err=True)
