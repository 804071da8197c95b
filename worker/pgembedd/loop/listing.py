"""Keeps the sources of pipelines with `objects_uri` current: lists folders and buckets, by turns with other workers."""

import threading

import psycopg

from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.listings import DueListing, ListingRepository
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.log import get_logger
from pgembedd.settings import Settings

LOOK_EVERY_S = 30.0
"""At most, between two looks at what is due."""


def run_listings(settings: Settings, listings: ListingRepository, stopping: threading.Event) -> None:
    """Lists what is due until `stopping`."""
    fetcher = Fetcher(settings)
    while not stopping.is_set():
        try:
            for due in listings.due():
                if fetcher.problem(due.prefixes) is None and not stopping.is_set():
                    _list(due, fetcher, listings, stopping)
        except psycopg.Error as error:
            if is_connection_error(error):
                return
            get_logger().error("listings_failed", error=type(error).__name__, sqlstate=error.sqlstate)
        stopping.wait(min(settings.sweep_every_s, LOOK_EVERY_S))


def _list(due: DueListing, fetcher: Fetcher, listings: ListingRepository, stopping: threading.Event) -> None:
    number = listings.begin(due)
    if number is None:
        return
    found = 0
    try:
        for page in fetcher.list(due.uri, due.prefixes):
            if stopping.is_set() or not listings.add(due, number, page):
                return
            found += len(page)
        outcome = listings.finish(due, number, found)
    except FetchError as error:
        listings.fail(due, number, str(error))
        get_logger().warning("listing_failed", pipeline=due.pipeline)
        return
    except psycopg.Error as error:
        if is_connection_error(error):
            raise
        listings.fail(due, number, f"The table does not take them: {error.diag.message_primary}.")
        raise
    if outcome is not None:
        get_logger().info("listed", pipeline=due.pipeline, objects=found, written=outcome[0], deleted=outcome[1])
