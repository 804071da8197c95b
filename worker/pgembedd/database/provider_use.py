"""Counts what is asked of providers of embeddings, in the database, so that all processes keep one budget a day."""

import threading
from typing import Any

import psycopg

from pgembedd.database.connection import Connection
from pgembedd.database.connection_errors import is_connection_error
from pgembedd.database.sessions import Sessions
from pgembedd.errors import DatabaseUnavailableError, ProviderBusyError
from pgembedd.log import get_logger
from pgembedd.retry_policy import RetryPolicy

RETRY_S = 5.0
ONCE_AGAIN = RetryPolicy(0.0, 0.0, attempts=2)  # as the connection may have been lost long ago


class ProviderUse:
    """The counts of a database, for all threads. Nothing waits for a database that is away."""

    def __init__(self, conninfo: str, *, pooled: bool = False) -> None:
        """Connects when something is first counted; `pooled` as for a Connection."""
        at_once = threading.Event()
        at_once.set()
        self._connection = Connection(Sessions(conninfo, "provider use", pooled=pooled), at_once)
        self._lock = threading.Lock()

    def take(self, provider: str, tokens: int, tokens_per_day: int | None, requests_per_day: int | None) -> bool:
        """Counts a request; False where the budget of the day is used up.

        ProviderBusyError where there is a budget and the database cannot be asked.
        """
        values = {"tokens_per_day": tokens_per_day, "requests_per_day": requests_per_day}
        try:
            return bool(self._value("use_provider", provider=provider, tokens=tokens, **values))
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("provider_use_not_counted", provider=provider, error=type(error).__name__)
            if tokens_per_day is None and requests_per_day is None:
                return True
            raise ProviderBusyError(
                f"The budget of the provider {provider} is counted in the database, which cannot be asked now.", RETRY_S
            ) from error

    def correct(self, provider: str, tokens: int) -> None:
        """Adds to the tokens of today. What cannot be written is logged."""
        try:
            self._value("correct_provider_use", provider=provider, tokens=tokens)
        except (psycopg.Error, DatabaseUnavailableError) as error:
            get_logger().warning("provider_use_not_counted", provider=provider, error=type(error).__name__)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _value(self, name: str, **values: Any) -> Any:
        with self._lock:
            return ONCE_AGAIN.retrying(is_connection_error, before_sleep=lambda _: self._connection.close())(
                self._connection.value, name, **values
            )
