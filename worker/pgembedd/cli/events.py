"""`pgembedd events`"""

import json
import threading
from queue import SimpleQueue

import click

from pgembedd.cli.options import database_option, open_database
from pgembedd.cli.process import check_pipelines
from pgembedd.database.connect import connect
from pgembedd.database.connection import Connection
from pgembedd.database.event_channel import CHANNEL, EVENTS, Event, EventFilter, EventLog
from pgembedd.database.listener import Listener
from pgembedd.database.rights import check_event_rights
from pgembedd.database.schema_check import check_schema
from pgembedd.database.sessions import Sessions

SHOWN = ("event", "pipeline", "pipeline_id", "at", "nth")


@click.command("events")
@database_option
@click.option("--pipeline", "pipelines", multiple=True, metavar="NAME", help="Only of this pipeline; repeatable.")
@click.option("--event", "words", multiple=True, metavar="WORD", help="Only of this kind; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Each event as the JSON object that Postgres sends.")
def command(database: str | None, pipelines: tuple[str, ...], words: tuple[str, ...], as_json: bool) -> None:
    """Show events as they happen, one line each, until Ctrl-C."""
    for word in words:
        if word not in EVENTS:
            raise click.BadParameter(
                f"There is no event {word!r}. There are: {', '.join(EVENTS)}.", param_hint="--event"
            )
    try:
        with open_database(database) as conninfo:
            with connect(conninfo) as connection:
                check_schema(connection)
                check_event_rights(connection)
                check_pipelines(connection, pipelines)
            _follow(conninfo, EventFilter.of(words, pipelines), as_json)
    except KeyboardInterrupt:
        return  # the usual end of this command


def _follow(conninfo: str, wanted: EventFilter, as_json: bool) -> None:
    heard = SimpleQueue[str | None]()
    log, listener = EventLog(Connection(Sessions(conninfo, "events"), threading.Event())), Listener(conninfo)
    try:
        log.begin()
        listener.subscribe(CHANNEL, heard.put)
        while True:
            for event in log.read([heard.get()]):
                if wanted.takes(event):
                    click.echo(event.json if as_json else line(event))
    finally:
        listener.close()
        log.close()


def line(event: Event) -> str:
    """Returns time, pipeline, word and non-empty fields; control characters are escaped."""
    at = str(event.fields.get("at", ""))[:19]
    others = [f"{name}={_on_one_line(value)}" for name, value in event.fields.items() if name not in SHOWN and value]
    return "  ".join(
        [_on_one_line(at), _on_one_line(event.pipeline or "-"), event.word, " ".join(sorted(others))]
    ).rstrip()


def _on_one_line(value: object) -> str:
    text = json.dumps(value)
    return text[1:-1] if isinstance(value, str) and " " not in value else text
