"""`pgembedd parse`"""

import sys
from contextlib import closing
from pathlib import Path

import click

from pgembedd.cli.options import print_json, settings_options
from pgembedd.cli.process import warn_of_unknown_settings
from pgembedd.documents.document import Document, Page
from pgembedd.documents.limits import Limits
from pgembedd.documents.parsers import Parsers, UnreadableFile
from pgembedd.settings import Settings


@click.command("parse")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@settings_options("parse_processes", "parse_timeout_s", "parse_memory_mb", "file_max_mb")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
def command(files: tuple[str, ...], settings: Settings, as_json: bool) -> None:
    """Print the pages of files as a pipeline with the task `parse` would store them. Nothing is stored."""
    warn_of_unknown_settings()
    unreadable = 0
    limits = Limits(settings.parse_timeout_s, settings.parse_memory_mb, settings.file_max_mb)
    with closing(Parsers(processes=settings.parse_processes, limits=limits)) as parsers:
        for path in files:
            try:
                document = parsers.submit(Path(path).read_bytes()).result()
            except UnreadableFile as error:
                unreadable += 1
                click.echo(f"pgembedd: {path}: {error}", err=True)
                continue
            if as_json:
                print_json({"file": path, **_members(document)})
            else:
                click.echo(_shown(path, document))
    sys.exit(1 if unreadable else 0)


def _members(document: Document) -> dict[str, object]:
    pages = [{"page": page.number, "headings": page.headings, "text": page.text} for page in document.pages]
    return {"kind": document.kind, "metadata": document.metadata, "notes": document.notes, "pages": pages}


def _shown(path: str, document: Document) -> str:
    stated = [
        f"{name}: {', '.join(value) if isinstance(value, list) else value}"
        for name, value in sorted(document.metadata.items())
    ]
    head = [f"{path}: {document.kind}, pages with text: {len(document.pages):,}", *stated, *document.notes]
    return "\n\n".join(["\n".join(head), *map(_shown_page, document.pages)]) + "\n"


def _shown_page(page: Page) -> str:
    return f"--- page {page.number}{''.join(f' > {each}' for each in page.headings)}\n\n{page.text}"
