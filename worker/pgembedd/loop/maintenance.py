"""Runs the sweep and retention where pg_cron does not."""

import threading

from pgembedd.database.connection_errors import log_errors
from pgembedd.database.pipelines import PipelineRepository
from pgembedd.log import get_logger
from pgembedd.settings import Settings

TICK_EVERY_S = 30.0


def run_maintenance(settings: Settings, pipelines: PipelineRepository, stopping: threading.Event) -> None:
    """Calls the maintenance, once even where it is `stopping` already; the database decides whether it is due."""
    while True:
        with log_errors("upkeep_failed"):
            if swept := pipelines.maintain(settings.sweep_every_s):
                get_logger().info("swept", queued=swept)
        if stopping.wait(min(settings.sweep_every_s, TICK_EVERY_S)):
            return
