"""docs/how-to/orms.md, each section from top to bottom in a database of its own, and what the tools do untold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from tests.project.pages import Block, Reader, blocks
from tests.project.test_pages import ORMS
from tests.support.command import pgembedd
from tests.support.databases import Database, fresh_database, open_directory, running_server
from tests.support.sql import rows, value

pytestmark = pytest.mark.clients

ENGINE = Path(__file__).with_name("schema_engine.mjs")
SECTIONS = ["Django", "Drizzle", "Prisma"]
ROWS = """
    insert into documents (title, body) values
        ('Passwords', 'How to reset a forgotten password'), ('Wifi', 'How to connect a phone to the wifi')
"""
OURS = """
    select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'i')
       and relname ~ '_words|chunks|_hnsw$|_missing$' and relname !~ '_pkey$|_idx$' order by 1
"""
MANAGE = """
import os
import sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os
from urllib.parse import urlsplit

url = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path[1:],
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
        "PASSWORD": url.password,
        "TEST": {"TEMPLATE": os.environ.get("TEMPLATE")},
    }
}
INSTALLED_APPS = ["documents"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
DJANGO_TEST = """
from django.test import TestCase
from documents.models import Document

class DocumentTest(TestCase):
    def test_a_document(self):
        Document.objects.create(title="one")
        self.assertEqual(Document.objects.count(), 1)
"""
SAVE = """
from django.db import connection
from documents.models import Document

document = Document.manager.filter(embedding__isnull=False).first()
connection.cursor().execute("update documents set embedding = null where id = %s", [document.pk])
document.save()
print(Document.objects.get(pk=document.pk).embedding is None)
"""
"""The vector goes between the query and save()."""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def migrated(server: EmbeddedPostgres) -> Iterator[Database]:
    """A database with pgembedd and nothing else."""
    with fresh_database(server) as database:
        assert pgembedd("migrate", database=database.conninfo).code == 0
        yield database


class Project:
    """A reader of one section, with its files and its database."""

    def __init__(self, reader: Reader, database: Database, section: str) -> None:
        self.reader, self.database = reader, database
        self.blocks = in_section(section)

    def read(self, last: str = "") -> None:
        """Runs the section as far as the first block with these words."""
        for block in self.blocks:
            if block.language == "console" and "search" in block.text:
                self.embed_rows()
            if file := file_of(block):
                self.save(file, block.text)
            elif block.language == "console":
                self.reader.run(block)
            if last and last in block.text:
                return

    def embed_rows(self) -> None:
        """Inserts two rows and waits for their vectors."""
        with self.database.connect() as connection:
            connection.execute(ROWS)
            for pipeline in ("documents", "chunks"):
                connection.execute("call pgembedd.wait_for_pipeline(%s)", [pipeline])

    def save(self, name: str, text: str) -> None:
        """Writes a file; a star in its folder stands for the part of its name that the tool chose."""
        if "*" in name:
            (found,) = Path().glob(name)
            name = str(found)
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        self.reader.save(name, text)

    def add(self, name: str) -> None:
        """Writes a file of the page."""
        ((file, text),) = [(file_of(block), block.text) for block in self.blocks if name in block.text.split("\n")[0]]
        assert file is not None
        self.save(file, text)

    @contextmanager
    def without(self, name: str, *patterns: str) -> Iterator[None]:
        """Takes the lines of a file that match one of the patterns, each of which there must be, meanwhile."""
        text = before = Path(name).read_text(encoding="utf-8")
        for pattern in patterns:
            text, found = re.subn(rf"^.*{pattern}.*\n", "", text, flags=re.MULTILINE)
            assert found, pattern
        self.save(name, text)
        yield
        self.save(name, before)

    @contextmanager
    def changed(self, name: str, old: str, new: str) -> Iterator[None]:
        """Replaces a part of a file meanwhile."""
        before = Path(name).read_text(encoding="utf-8")
        assert old in before
        self.save(name, before.replace(old, new))
        yield
        self.save(name, before)

    def statements(self, first: str) -> list[str]:
        """Returns those of the SQL of the section that begins with that one."""
        (block,) = [each for each in self.blocks if each.text.startswith(first)]
        return block.text.splitlines()


def in_section(section: str) -> list[Block]:
    """The blocks below a heading."""
    lines = (Path(__file__).parents[3] / ORMS).read_text(encoding="utf-8").splitlines()
    first = lines.index(f"## {section}")
    later = [nth for nth, line in enumerate(lines) if nth > first and line.startswith("## ")]
    return [block for block in blocks(ORMS) if first < block.line <= min(later, default=len(lines))]


def file_of(block: Block) -> str | None:
    """The file that a block is, by the comment in its first line."""
    match = re.match(r"(?:#|//|--) (\S+\.(?:py|ts|prisma|sql))\n", block.text)
    return match[1] if match else None


@contextmanager
def project(server: EmbeddedPostgres, template: Database, section: str) -> Iterator[Project]:
    """The project of a section, in its own folder, with a worker."""
    with (
        fresh_database(server, template.name) as database,
        open_directory() as folder,
        chdir(folder),
        Reader(str(server.bin_dir / "psql"), database.conninfo, folder, {}, clients=True) as reader,
    ):
        reader.export("PRISMA_SCHEMA_ENGINE_BINARY", str(ENGINE))
        reader.export("CHECKPOINT_DISABLE", "1")  # no look for a newer version of Prisma
        if section == "Django":
            reader.export("TEMPLATE", template.name)
            for name, text in {"manage.py": MANAGE, "settings.py": SETTINGS}.items():
                reader.save(name, text)
        reader.start("run")
        yield Project(reader, database, section)


def test_every_block_is_a_file_or_commands_or_what_a_tool_would_do() -> None:
    sections = [block for section in SECTIONS for block in in_section(section)]
    assert sections == blocks(ORMS)
    others = [block for block in sections if block.language != "console" and file_of(block) is None]
    assert [block.text.split()[0] for block in others] == ["DROP", "DROP"]


def assert_all_is_there(database: Database) -> None:
    """Both pipelines run, with each vector and all that belongs to them."""
    with database.connect() as connection:
        assert [name for (name,) in rows(connection, OURS)] == [
            "document_chunks",
            "document_chunks_embedding_hnsw",
            "document_chunks_view",
            "documents_embedding_hnsw",
            "documents_embedding_missing",
            "documents_words",
            "documents_words2",
            "documents_words2_view",
            "documents_words_view",
        ]
        assert value(connection, "select count(embedding) from documents") == 2
        assert value(connection, "select array_agg(state) from pgembedd.status") == ["running", "running"]


# -- Django ------------------------------------------------------------------------------------------------


def test_django(server: EmbeddedPostgres, migrated: Database) -> None:
    with project(server, migrated, "Django") as reading, reading.database.connect() as connection:
        reading.read()
        assert_all_is_there(reading.database)

        connection.execute("select pgembedd.pause('documents')")
        for manager, left_alone in (("objects", "True"), ("_base_manager", "False")):
            printed = reading.reader.output_of("python", "manage.py", "shell", "-c", SAVE.replace("manager", manager))
            assert (manager, printed.split()[-1]) == (manager, left_alone)

        reading.save("documents/tests.py", DJANGO_TEST)
        reading.reader.output_of("python", "manage.py", "migrate")
        reading.reader.output_of("python", "manage.py", "test")
        reading.reader.output_of("python", "manage.py", "migrate", "documents", "zero")
        assert rows(connection, OURS) == []


def test_django_untold(server: EmbeddedPostgres, migrated: Database) -> None:
    with project(server, migrated, "Django") as reading:
        reading.read("class Chunk")
        models = Path("documents/models.py").read_text(encoding="utf-8")
        with reading.changed("documents/models.py", models[models.index("class Chunk") :], ""):
            reading.reader.output_of("python", "manage.py", "makemigrations", "documents")
            reading.add("0002_pipelines.py")
            reading.reader.output_of("python", "manage.py", "migrate")
        told, untold = 'db_table, managed = "document_chunks", False', 'db_table = "document_chunks"'
        with reading.changed("documents/models.py", told, untold):
            reading.reader.output_of("python", "manage.py", "makemigrations", "documents", "--name", "chunk")
            failed = reading.reader.outcome_of("python", "manage.py", "migrate")
            assert 'relation "document_chunks" already exists' in failed.err
            Path("documents/migrations/0003_chunk.py").unlink()
        reading.add("0003_title.py")
        with reading.without("documents/migrations/0003_title.py", r"RunSQL\("):
            failed = reading.reader.outcome_of("python", "manage.py", "migrate")
            assert "view document_chunks_view depends on column" in failed.err


# -- Drizzle -----------------------------------------------------------------------------------------------


def test_drizzle(server: EmbeddedPostgres, migrated: Database) -> None:
    with project(server, migrated, "Drizzle") as reading:
        reading.read()
        assert_all_is_there(reading.database)


def test_drizzle_untold(server: EmbeddedPostgres, migrated: Database) -> None:
    with project(server, migrated, "Drizzle") as reading:
        reading.read("drizzle-kit push")

        def pushed() -> str:
            printed = reading.reader.outcome_of("npx", "drizzle-kit", "push", "--strict", "--verbose").out
            return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", printed)

        with reading.without("drizzle.config.ts", "tablesFilter"):
            assert 'DROP TABLE "document_chunks"' in pushed()
            with reading.without("schema.ts", "embedding: ", r"index\(", r"\.using", r"\.with"):
                printed = pushed()
        assert [each for each in reading.statements("DROP VIEW") if each not in printed] == []
        with reading.without("schema.ts", '"documents_embedding_missing"'):
            printed = pushed()
        assert 'DROP INDEX "documents_embedding_missing"' in printed
        assert "DROP TABLE" not in printed
        with reading.changed("schema.ts", 'm: "16", ef_construction: "64"', "m: 16, ef_construction: 64"):
            assert 'CREATE INDEX "documents_embedding_hnsw"' in pushed()


# -- Prisma ------------------------------------------------------------------------------------------------


def test_prisma(server: EmbeddedPostgres, migrated: Database) -> None:
    with project(server, migrated, "Prisma") as reading:
        reading.read()
        with reading.changed("prisma/schema.prisma", "  body ", "  section String?\n  body "):
            reading.reader.output_of("npx", "prisma", "migrate", "dev", "--name", "section")
        (made,) = Path().glob("prisma/migrations/*_section/migration.sql")
        assert [" ".join(line.split()) for line in made.read_text(encoding="utf-8").splitlines() if line] == [
            "-- AlterTable",
            'ALTER TABLE "documents" ADD COLUMN "section" TEXT;',
        ]
        assert_all_is_there(reading.database)


def test_prisma_untold(server: EmbeddedPostgres, migrated: Database) -> None:
    with project(server, migrated, "Prisma") as reading:
        reading.read("prisma db push")
        with (
            reading.without("prisma.config.ts", "tables: "),
            reading.without("prisma/schema.prisma", "  embedding ", "@@index"),
        ):
            drift = reading.reader.outcome_of("npx", "prisma", "migrate", "dev")
            assert drift.code != 0
            assert "Drift detected" in drift.out
            assert "[+] Added tables\n  - document_chunks\n" in drift.out

            diff = ["migrate", "diff", "--from-config-datasource", "--to-schema", "prisma/schema.prisma", "--script"]
            printed = reading.reader.output_of("npx", "prisma", *diff).splitlines()
            assert [line for line in printed if line.endswith(";")] == reading.statements('DROP INDEX "doc')

            pushed = reading.reader.outcome_of("npx", "prisma", "db", "push", "--accept-data-loss")
            assert "view document_chunks_view depends on table document_chunks" in pushed.err
        with reading.database.connect() as connection:
            columns = "select attname::text from pg_attribute where attrelid = 'documents'::regclass and attnum > 0"
            assert ("embedding",) not in rows(connection, columns), "although it has failed"
