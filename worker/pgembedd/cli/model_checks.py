"""What `pgembedd model verify` prints, and when it fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pgembedd.errors import ModelError
from pgembedd.model import Check, Session, verify
from pgembedd.model.quality import Embedder, Quality, measure
from pgembedd.model.quality import Progress as Listener

SHOWN_CHARACTERS = 40


def check_known_outputs(session: Session) -> None:
    """Print what the model computes beside what is known of it; ModelError where they differ."""
    checks = verify(session)
    _print_checks(checks)
    if not all(check.ok for check in checks):
        raise ModelError(f"{session.name} does not compute on this machine what it should: do not use it here.")


def check_quality(
    name: str, precisions: tuple[str, str], reference: Embedder, candidate: Embedder, sample: int | None
) -> None:
    """Measure the candidate against the reference and print it; ModelError where the candidate fails the gate."""
    with _progress() as progress:
        quality = measure(reference, candidate, sample=sample, progress=progress)
    _print_quality(Console(), name, precisions, quality)
    gates = quality.gates(precisions[0])
    _print_checks(gates)
    basis = f", on a sample of {quality.queries} queries" if quality.sampled else ""
    if failed := ", ".join(f"{gate.name} {gate.got}" for gate in gates if not gate.ok):
        raise ModelError(
            f"{name} at {precisions[1]} is too far from {precisions[0]}{basis} ({failed}): keep it at {precisions[0]}."
        )
    advice = "; measure it whole, without --sample, before you rely on it" if quality.sampled else ""
    click.echo(f"{name} passes the quality gate at {precisions[1]}{basis}{advice}.")


@contextmanager
def _progress() -> Iterator[Listener]:
    """A bar on standard error where that is a terminal, gone when it is done."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("texts embedded", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_quality(console: Console, name: str, precisions: tuple[str, str], quality: Quality) -> None:
    """Retrieval and likeness, then the short and odd texts, least alike first."""
    searched = f"Cranfield, {quality.documents} documents, {quality.queries} queries, exact search"
    click.echo(f"\n{name} at {precisions[1]} against {precisions[0]}: {searched}\n")
    search = _table("", *precisions, "difference")
    scores = quality.reference_ndcg, quality.candidate_ndcg
    search.add_row("nDCG@10", *(f"{score:.4f}" for score in scores), f"{quality.ndcg_difference:+.2%}")
    search.add_row("recall@10 overlap", "", f"{quality.overlap:.4f}", "")
    alike = _table("cosine", "mean", "worst")
    for what, likeness in (("documents", quality.document_likeness), ("queries", quality.query_likeness)):
        alike.add_row(what, f"{likeness.mean:.5f}", f"{likeness.worst:.5f}")
    odd = _table("short and odd texts", "cosine")
    for text, cosine in sorted(quality.odd, key=lambda each: each[1]):
        odd.add_row(_shown(text), f"{cosine:.5f}")
    for table in (search, alike, odd):
        console.print(table)
        console.print()


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first, min_width=20)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _shown(text: str) -> str:
    """As Python writes it, cut."""
    written = repr(text)
    return escape(written if len(written) <= SHOWN_CHARACTERS else f"{written[: SHOWN_CHARACTERS - 3]}...")


def _print_checks(checks: list[Check]) -> None:
    for check in checks:
        mark = click.style("ok  ", fg="green") if check.ok else click.style("BAD ", fg="red")
        click.echo(f"{mark} {check.name}: {check.got} (expected {check.expected})")
