"""Keeps the sources of pipelines with `objects_uri` current: lists folders and buckets, by turns with other workers."""

import threading
from collections.abc import Sequence

import psycopg

from pgembedd.database.connection_errors import is_connection_error, log_errors
from pgembedd.database.listings import DueListing, ListingRepository
from pgembedd.fetch.errors import FetchError
from pgembedd.fetch.fetched import LONGEST_KEY
from pgembedd.fetch.fetcher import Fetcher
from pgembedd.log import get_logger
from pgembedd.settings import Settings

LOOK_EVERY_S = 30.0
"""At most, between two looks at what is due."""


def run_listings(settings: Settings, listings: ListingRepository, stopping: threading.Event) -> None:
    """Lists what is due until `stopping`."""
    fetcher = Fetcher(settings)
    while not stopping.is_set():
        with log_errors("listings_failed"):
            for due in listings.due():
                if fetcher.problem(due.prefixes) is None and not stopping.is_set():
                    _list(due, fetcher, listings, stopping)
        stopping.wait(min(settings.sweep_every_s, LOOK_EVERY_S))


def _list(due: DueListing, fetcher: Fetcher, listings: ListingRepository, stopping: threading.Event) -> None:
    number = listings.begin(due)
    if number is None:
        return
    found, too_long = 0, list[str]()
    try:
        for page in fetcher.list(due.uri, due.prefixes):
            kept = [each for each in page if len(each.uri) <= LONGEST_KEY]
            if stopping.is_set() or not listings.add(due, number, kept):
                return
            found += len(kept)
            too_long += [each.uri for each in page if len(each.uri) > LONGEST_KEY]
        outcome = listings.finish(due, number, found, _left_out(too_long))
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


def _left_out(too_long: Sequence[str]) -> str | None:
    if not too_long:
        return None
    return (
        f"Objects left out: {len(too_long):,}, as their URIs have more than {LONGEST_KEY:,} characters, "
        f"which a key cannot hold. Rename them; one begins with {too_long[0][:200]}."
    )
