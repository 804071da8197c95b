"""`pgembedd demo`"""

import click
from rich.console import Console


@click.command("demo")
@click.option("--answers", is_flag=True, help="Ask questions about it instead: a language model answers from the rows.")
def command(answers: bool) -> None:
    """Embed Python's own documentation on a private Postgres and search it: no server, no account."""
    from pgembedd.cli.demo_steps import Demo, check_language_server
    from pgembedd.embedded_postgres import EmbeddedPostgres, default_data_dir
    from pgembedd.log import configure_logging

    configure_logging(log_level="error")
    console = Console(highlight=False)
    if answers:
        check_language_server()
    data_dir = default_data_dir()
    with EmbeddedPostgres(data_dir) as server:
        Demo(server.conninfo(), data_dir.parent / "demo-worker.log", console).run(answers=answers)
    console.print(HOW_TO_GO_ON, soft_wrap=True)


HOW_TO_GO_ON = """
[bold]Go on from here[/]
  pgembedd search "parse dates"        ask something else
  pgembedd postgres psql               look around in SQL, for example:
      select * from pgembedd.status;
      select name from demo.documents
      order by embedding <=> (select embedding from demo.documents where name = 'csv.DictReader')
      limit 5;
  pgembedd up --http                   Postgres, a worker, and a page to look at; register tables of your own, and,
                                       from another terminal, ask in SQL:
      select name from demo.documents order by embedding <=> pgembedd.embed('parse dates') limit 5;

  make demo-answers                    questions answered by a language model from these rows
                                       (pgembedd demo --answers)

  (The command is .venv/bin/pgembedd in a checkout.)"""
