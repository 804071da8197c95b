"""`pgembedd health`"""

import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import click

from pgembedd.cli.options import http_options
from pgembedd.errors import PgembeddError
from pgembedd.settings import HttpSettings
from pgembedd.text.quantities import counted

PATHS = {"live": "/livez", "ready": "/readyz", "startup": "/startupz"}
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
WAIT_S = 10


@click.command("health")
@click.option("--probe", type=click.Choice(list(PATHS)), default="ready", show_default=True, help="What to ask.")
@http_options("http_host", "http_port")
def command(probe: str, http: HttpSettings) -> None:
    """Check the health of the HTTP service on this machine: exit code 0 when it is healthy, else 1."""
    where = local_url(http)
    status, checks, stalled = ask(where, PATHS[probe])
    for name, result in checks.items():
        click.echo(f"{name}: {result}")
    if stalled:
        click.echo(f"{counted(stalled, 'pipeline does', 'pipelines do')} not move: `pgembedd status` says why.")
    if status != 200:
        raise PgembeddError(f"The service at {where} is not healthy.")


def local_url(http: HttpSettings) -> str:
    """Returns the URL of the service for a client on this machine."""
    host = EVERYWHERE.get(http.http_host, http.http_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{http.http_port}"


def ask(where: str, path: str) -> tuple[int, dict[str, str], int]:
    """Returns the status, the checks and the number of stalled pipelines.

    PgembeddError where nothing answers, or another program does.
    """
    try:
        try:
            answer = build_opener(ProxyHandler({})).open(where + path, timeout=WAIT_S)
        except HTTPError as error:  # an answer with its status
            answer = error
        with answer:
            said = json.load(answer)
            return answer.status, said["checks"], said.get("stalled", 0)
    except (ValueError, KeyError, TypeError, HTTPException):
        raise PgembeddError(f"What answers at {where} is not pgembedd.") from None
    except OSError as error:
        raise PgembeddError(f"Nothing answers at {where}: start `pgembedd serve`, or `pgembedd run --http`.") from error
