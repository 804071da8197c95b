"""`pgembedd run`"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from pgembedd.cli.options import (
    FiniteRange,
    IntegerRange,
    database_option,
    http_option,
    http_options,
    open_database,
    settings_options,
)
from pgembedd.cli.process import exit_unless_drained, run_process
from pgembedd.cli.until_idle import is_idle, stops_when_idle
from pgembedd.settings import HttpSettings, Settings

if TYPE_CHECKING:
    from pgembedd.cli.ray_workers import Placement

PLACED: dict[str, Any] = {"workers": 1, "address": "auto", "cpus": 1.0, "gpus": 0.0}
"""What goes with `--on`, with its defaults."""


def placement_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of workers that another program places; the command gets `placement`, None without them."""

    @click.option("--on", type=click.Choice(["ray"]), help="Have the workers run in a cluster: of Ray.")
    @click.option("--workers", type=IntegerRange(1, 10_000), help="With --on: how many workers.  [default: 1]")
    @click.option(
        "--address", metavar="ADDRESS", help="With --on: of the cluster.  [default: RAY_ADDRESS, or this machine's]"
    )
    @click.option(
        "--cpus", type=FiniteRange(0.01, 4_096), help="With --on: CPUs of each worker, and its threads.  [default: 1]"
    )
    @click.option(
        "--gpus", type=FiniteRange(0.01, 1), help="With --on: a GPU for each worker, or a part of one; --device cuda."
    )
    @wraps(command)
    def with_placement(on: str | None, **values: Any) -> None:
        given = {name: values.pop(name) for name in PLACED}
        chosen = {name: value for name, value in given.items() if value is not None}
        if on is None:
            if chosen:
                raise click.UsageError(f"--{next(iter(chosen)).replace('_', '-')} needs --on ray.")
            return command(placement=None, **values)
        if values["with_http"]:
            raise click.UsageError("--on ray places workers, which answer no HTTP: run `pgembedd serve` beside them.")
        if values["device"] == "cuda" and "gpus" not in chosen:
            raise click.UsageError("--device cuda with --on ray needs --gpus, so that Ray gives each worker a GPU.")
        from pgembedd.cli.ray_workers import Placement

        placement = Placement(**{**PLACED, **chosen})
        return command(placement=placement, **values)

    return with_placement


@click.command("run")
@database_option
@click.option(
    "--pipeline", "pipelines", multiple=True, metavar="NAME", help="Serve only this pipeline; may be repeated."
)
@http_option
@click.option("--until-idle", is_flag=True, help="End once no work is due or leased.")
@placement_options
@settings_options()
@http_options()
def command(
    database: str | None,
    pipelines: tuple[str, ...],
    with_http: bool,
    until_idle: bool,
    placement: "Placement | None",
    settings: Settings,
    http: HttpSettings,
) -> None:
    """Run a worker until SIGTERM, which drains it; a second SIGTERM ends it at once."""
    with open_database(database, create=placement is None) as conninfo:
        if placement is None:
            drained = run_process(
                conninfo,
                settings,
                http if with_http else None,
                pipelines=pipelines,
                language=http,
                stops=stops_when_idle(conninfo, pipelines) if until_idle else None,
            )
        else:
            from pgembedd.cli.ray_workers import Work, run_on_ray

            drained = run_on_ray(Work(conninfo, settings, pipelines, http, until_idle), placement)
        if until_idle:
            is_idle(conninfo, pipelines)  # raises what ended a worker before
    exit_unless_drained(drained)
