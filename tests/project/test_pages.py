"""The pages work in the order of reading: each is read from top to bottom, and all of its code is run.

README and the first page begin with nothing. Each how-to begins with a copy of the database that the first page leaves
behind (docs/start/first-pipeline.md), and with its worker. What is not run stands in NOT_RUN, with the reason.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model.providers.configured import enabled_providers
from pgembedd.settings import Settings
from tests.documents.files import pdf
from tests.project.pages import ROOT, Block, Reader, blocks, commands
from tests.support.command import pgembedd
from tests.support.databases import Database, fresh_database, initialized, open_directory, running_server
from tests.support.guide import follow_guide, guide_table, process_as_the_guide
from tests.support.pgai import install_pgai
from tests.support.servers.huggingface import StandInHuggingFace
from tests.support.servers.ollama import StandInOllama, line
from tests.support.servers.provider import StandInProvider, provider
from tests.support.servers.stand_in import Answer, Received

README, FIRST = "README.md", "docs/start/first-pipeline.md"
ROOMS = [ROOT / "docs" / "start", ROOT / "docs" / "how-to"]
PAGES = [README, *sorted(str(page.relative_to(ROOT)) for room in ROOMS for page in room.glob("*.md"))]
WITH_CLIENTS = ["docs/how-to/clients.md", "docs/how-to/langchain.md"]
"""Pages whose programs use packages of other projects: tests/clients/test_pages.py runs them."""
ORMS = "docs/how-to/orms.md"
"""The page that tests/clients/orms/test_page.py runs, a section at a time."""
RUN = {"sql", "console", "python", "json", "toml"}

ALEMBIC, TRACES = "tests/migration/test_operations.py", "tests/loop/test_tracing_page.py"
__all__ = ["provider"]

NOT_RUN = {
    (README, "make demo"): "tests/acceptance/test_demo.py runs it",
    (README, "make test"): "it is what runs this",
    ("docs/how-to/alembic.md", "# env.py"): f"{ALEMBIC} runs it",
    ("docs/how-to/alembic.md", "# models.py"): f"{ALEMBIC} runs it",
    ("docs/how-to/alembic.md", "# versions/0001_documents.py"): f"{ALEMBIC} runs it",
    ("docs/how-to/alembic.md", "class Chunk"): "tests/migration/test_autogenerate.py runs it",
    ("docs/how-to/answers.md", "supabase.channel"): "needs Supabase's Realtime, in a browser",
    ("docs/how-to/backup.md", "pg_dump"): "tests/migration/test_restore.py runs it",
    ("docs/how-to/backup.md", "pg_restore"): "tests/migration/test_restore.py runs it",
    ("docs/how-to/documents.md", "pgembedd run --uris"): "tests/loop/test_uris.py has such a worker",
    ("docs/how-to/documents.md", '["s3://manuals"]'): "tests/fetch/test_buckets.py has such a file",
    ("docs/how-to/gpu.md", ""): "needs a GPU: tests/model/test_device.py has its graph, and what is said without one",
    ("docs/how-to/measure-search.md", "python -m bench.retrieval"): "needs collections that cannot be shipped",
    ("docs/how-to/moving.md", 'psql -c "select cron.unschedule'): "needs pg_cron",
    (
        "docs/how-to/moving.md",
        "select pgembedd.change_model('documents.embedding'",
    ): "tests/acceptance/test_import.py runs it",
    ("docs/how-to/operations.md", "helm "): "needs a cluster: tests/project/test_chart.py has what the chart makes",
    ("docs/how-to/operations.md", "kubectl create secret"): "needs a cluster",
    ("docs/how-to/operations.md", "pip install 'pgembedd[ray]'"): "tests/cluster/test_ray.py has Ray",
    ("docs/how-to/operations.md", "ray start --head"): "tests/cluster/test_ray.py starts nodes",
    ("docs/how-to/operations.md", "pgembedd run --on ray"): "tests/cluster/test_ray.py runs it",
    ("docs/how-to/operations.md", "pypi-attestations verify"): "needs a published release",
    ("docs/how-to/operations.md", "gh attestation verify"): "needs a published release",
    ("docs/how-to/rights.md", "create extension vector;"): "needs a bare server with pg_cron",
    ("docs/how-to/rights.md", "grant usage, create on schema pgmq"): "needs pgmq of another owner",
    ("docs/how-to/rights.md", "select pgmq.create("): "needs pgmq before 1.6",
    ("docs/how-to/search.md", "export DATABASE_URL=postgresql://worker@primary"): "needs a standby",
    ("docs/how-to/search.md", 'pgembedd search "how do I reset my password" documents --database'): "needs a standby",
    ("docs/how-to/tracing.md", "from opentelemetry.propagate import inject"): f"{TRACES} runs it",
}
"""Blocks and commands that are not run, by their page and their beginning, with the reason."""

FILES = {
    ("docs/how-to/answers.md", '{"query": "How do I reset my password?"'): "questions.jsonl",
    ("docs/how-to/langchain.md", "# langchain_pgembedd.py"): "langchain_pgembedd.py",
    ("docs/how-to/langchain.md", "# llama_index_pgembedd.py"): "llama_index_pgembedd.py",
    ("docs/how-to/measure-search.md", '{"query": "how do I reset my password"'): "questions.jsonl",
}
"""Blocks that a command or a program further down reads from a file."""

CODES = {(page, "pgembedd doctor"): 1 for page in (README, FIRST)}
"""Exit codes: the doctor of these pages looks at a database in which nothing is installed."""

SUPABASE = "create publication supabase_realtime; create role authenticated; "


def beginning(page: str, text: str, table: dict[tuple[str, str], str]) -> tuple[str, str] | None:
    """The entry of a table that a block or a command of a page begins with."""
    return next((key for key in table if key[0] == page and text.startswith(key[1])), None)


def pieces(block: Block) -> list[str]:
    """What may be left out by itself: a command, or a whole block."""
    return [each.line for each in commands(block.text)] if block.language == "console" else [block.text]


def test_all_code_is_run_but_what_is_listed_with_a_reason() -> None:
    """Every block names its language; one that is not run here stands in the table, which has nothing else."""
    used = set()
    for block in (each for page in PAGES if page != ORMS for each in blocks(page)):
        assert block.language in RUN | {"text", "js"}, f"{block} is of no language that is known here"
        assert block.language != "text" or not re.search(r"^\$ |;$", block.text, re.MULTILINE), f"{block} is code"
        left_out = [beginning(block.page, text, NOT_RUN) for text in pieces(block)]
        used |= set(left_out)
        assert block.language != "js" or block.page in WITH_CLIENTS or left_out != [None], block
    assert used - {None} == set(NOT_RUN)
    for reason in NOT_RUN.values():
        assert all((ROOT / file).is_file() for file in re.findall(r"tests/\S+\.py", reason)), reason


def test_settings_of_providers_are_taken(tmp_path: Path) -> None:
    page = blocks("docs/how-to/providers.md")
    (tmp_path / "openai").write_text("a key", encoding="utf-8")
    for text in (block.text for block in page if block.language == "toml"):
        file = tmp_path / "providers.toml"
        file.write_text(text.replace("/run/secrets/openai", str(tmp_path / "openai")), encoding="utf-8")
        assert "openai" in enabled_providers(Settings(providers_file=str(file)))


@dataclass(frozen=True)
class Desk:
    """What all readers have: a server of Postgres, and servers that stand in for those of others."""

    server: EmbeddedPostgres
    example: Database
    here: dict[str, str]

    @property
    def psql(self) -> str:
        return str(self.server.bin_dir / "psql")


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    """Its database `example` is what the first page leaves behind."""
    if missing := [program for program in ("bash", "curl", "openssl") if shutil.which(program) is None]:
        pytest.skip(f"the pages use {', '.join(missing)}, which this machine lacks")
    with ExitStack() as ended:
        server = ended.enter_context(running_server())
        ollama, huggingface = StandInOllama(), StandInHuggingFace()
        ollama.answer = with_a_source(ollama.answer)
        ended.enter_context(ollama.running())
        ended.enter_context(huggingface.running())
        here = {
            "http://127.0.0.1:11434": ollama.url,
            "hf_…": "hf_token",
            "token => '…'": "token => 'a-token-of-a-reader'",
            "PGEMBEDD_TASKS_HOST=huggingface": f"PGEMBEDD_TASKS_HOST={huggingface.url}",
            "min_similarity => 0.8,": "min_similarity => 0.3,",  # of the model that stands in for gte-small
            "min_similarity => 0.75": "min_similarity => 0.2",
        }
        example = ended.enter_context(fresh_database(server))
        assert pgembedd("migrate", database=example.conninfo).code == 0
        with open_directory() as folder, Reader(str(server.bin_dir / "psql"), example.conninfo, folder, here) as reader:
            reader.start("run")
            for block in blocks(FIRST):
                if block.language == "sql" and "articles" not in block.text:  # the last one drops that pipeline
                    reader.run(block)
        with example.connect() as connection:
            connection.execute("select pgembedd.configure_answers('documents', min_similarity => 0.3)")
        yield Desk(server, example, here)


def with_a_source(answer: Callable[[Received], Answer]) -> Callable[[Received], Answer]:
    """A language model that cites a source in chats."""

    def cite(asked: Received) -> Answer:
        if not asked.path.endswith("/api/chat"):
            return answer(asked)
        said = {"role": "assistant", "content": "Open the settings, then Security, then Reset [1]."}
        kind = {"content-type": "application/x-ndjson"}
        return Answer(200, kind, [line(model="mistral", message=said, done=True, done_reason="stop", eval_count=9)])

    return cite


def read(reader: Reader, page: str) -> None:
    """Runs all of a page that is not listed."""
    for block in blocks(page):
        if beginning(page, block.text, NOT_RUN) or block.language == "text":
            continue
        file = beginning(page, block.text, FILES)
        if file is not None:
            reader.save(FILES[file], block.text)
        reader.run(block, code=lambda text: None if beginning(page, text, NOT_RUN) else CODES.get((page, text[:15]), 0))


def prepare(page: str, database: Database) -> None:
    """What a reader of that page has besides."""
    with database.connect() as connection:
        if page in ("docs/how-to/answers.md", "docs/how-to/clients.md"):
            connection.execute(SUPABASE)
        if page == "docs/how-to/push.md":
            follow_guide(connection)
            process_as_the_guide(connection, "https://project.example.com")
        if page == "docs/how-to/from-pgai.md":
            install_pgai(connection)
        if page == "docs/how-to/moving.md":
            connection.execute("select pgembedd.drop_pipeline('documents', drop_vectors => true); drop table documents")
            follow_guide(connection)
            guide_table(connection, vector="halfvec(1536)")
            connection.execute("insert into documents (id, title, content) values (1, 'Passwords', 'How to reset one')")


@pytest.fixture
def no_roles_left(desk: Desk) -> Iterator[None]:
    """Drops the roles that a page made, which belong to the whole server."""
    with psycopg.connect(desk.server.conninfo(), autocommit=True) as admin:
        names = "select array_agg(rolname::text) from pg_roles"
        before = admin.execute(names).fetchone()
        yield
        for (name,) in admin.execute("select rolname::text from pg_roles where rolname <> all (%s)", before).fetchall():
            admin.execute(f'drop role "{name}"'.encode())


@contextmanager
def reading(desk: Desk, database: Database, *, named: bool = True, clients: bool = False) -> Iterator[Reader]:
    """A reader of one page, in its own folder, which is the directory of this process meanwhile."""
    with (
        open_directory() as folder,
        chdir(folder),
        Reader(desk.psql, database.conninfo, folder, desk.here, named=named, clients=clients) as reader,
    ):
        yield reader


@pytest.mark.slow
@pytest.mark.usefixtures("no_roles_left")
@pytest.mark.parametrize("page", [page for page in PAGES if "/how-to/" in page and page not in [*WITH_CLIENTS, ORMS]])
def test_a_how_to_works(desk: Desk, provider: StandInProvider, page: str) -> None:
    with fresh_database(desk.server, desk.example.name) as database:
        prepare(page, database)
        with reading(desk, database) as reader:
            if page == "docs/how-to/moving.md":  # as the reader has it from providers.md
                reader.save("key", "sk-right")
                reader.save(
                    "providers.toml", f'[openai]\nurl = "{provider.url}"\nkey_file = "{Path("key").absolute()}"\n'
                )
            if page == "docs/how-to/documents.md":
                Path("manuals").mkdir()
                line = (10, "The swift sleeps in flight, and eats there, and is seldom seen.")
                Path("manuals/birds.pdf").write_bytes(pdf([[(20, "Birds"), line], [(14, "Swifts"), line]]))
            reader.start("run")
            read(reader, page)


@pytest.mark.slow
@pytest.mark.usefixtures("no_roles_left")
def test_the_readme_works(desk: Desk) -> None:
    with fresh_database(desk.server) as database, reading(desk, database, named=False) as reader:
        read(reader, README)


@pytest.mark.slow
@pytest.mark.usefixtures("no_roles_left")
def test_the_first_pages_work(desk: Desk) -> None:
    """On a private Postgres at first, which `pgembedd up` starts; the second page describes it."""
    with fresh_database(desk.server) as database, reading(desk, database, named=False) as reader:
        Path(".pgembedd").mkdir()
        initialized(Path(".pgembedd/postgres").absolute())
        for page in PAGES:
            if "/start/" in page:
                read(reader, page)
